import pytest
import torch
import torch.nn.utils.prune
from torch import nn

from tests.checks import TASK, TINY, batch
from zeroshot.errors import ZeroshotError
from zeroshot.initial import INITS


def network():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(16, 64, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.Flatten(), nn.Linear(400, 300)
    )


def initialised(name, seed=0):
    module = network()
    INITS[name](module, torch.Generator().manual_seed(seed))
    return module


@pytest.mark.parametrize("name", INITS)
class TestEveryInit:
    def test_depends_on_the_generator_alone(self, name):
        one = initialised(name).state_dict()
        state = torch.get_rng_state()
        module = network()
        torch.set_rng_state(state)
        INITS[name](module, torch.Generator().manual_seed(0))
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(t, one[key]) for key, t in module.state_dict().items())

    def test_two_seeds_are_two_networks(self, name):
        one, other = (
            TINY.network(TINY.at(1), TASK, init=name, seed=seed).module for seed in (0, 1)
        )
        assert not torch.equal(one(batch(torch.float32).inputs), other(batch(torch.float32).inputs))
        weights = zip(one.parameters(), other.parameters(), strict=True)
        assert all(not torch.equal(a, b) for a, b in weights if a.ndim > 1)

    def test_has_a_docstring(self, name):
        assert INITS[name].__doc__

    def test_leaves_normalisation_alone(self, name):
        norm = initialised(name)[1]
        assert torch.equal(norm.weight, torch.ones(64))
        assert torch.equal(norm.bias, torch.zeros(64))


@pytest.mark.parametrize(
    ("name", "convolution", "linear"),
    [
        ("kaiming_normal", 2 / (16 * 9), 2 / 400),
        ("kaiming_normal_fan_out", 2 / (64 * 9), 2 / 300),
        ("xavier_normal", 2 / (80 * 9), 2 / 700),
        ("gaussian", 1, 1),
    ],
)
def test_variances(name, convolution, linear):
    module = initialised(name)
    assert float(module[0].weight.detach().var()) == pytest.approx(convolution, rel=0.05)
    assert float(module[4].weight.detach().var()) == pytest.approx(linear, rel=0.05)
    assert not module[0].bias.any()
    assert not module[4].bias.any()


def test_default_is_pytorchs():
    expected = network().state_dict()
    found = initialised("default").state_dict()
    assert all(torch.equal(t, expected[key]) for key, t in found.items())


@pytest.mark.parametrize(
    "reparametrise",
    [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm],
)
def test_goes_through_parametrisations(reparametrise):
    plain, layer = nn.Conv2d(3, 4, 3), reparametrise(nn.Conv2d(3, 4, 3)).eval()
    for one in (plain, layer):
        INITS["gaussian"](one, torch.Generator().manual_seed(0))
    ratio = (layer.weight / plain.weight).detach()
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio))
    assert not layer.bias.any()


def test_refuses_weights_that_take_no_values():
    layer = nn.utils.prune.l1_unstructured(nn.Linear(3, 4), "weight", amount=1)
    with pytest.raises(ZeroshotError, match=r"^0\.weight is computed from other tensors"):
        INITS["gaussian"](nn.Sequential(layer), torch.Generator())
    INITS["default"](nn.Sequential(layer), torch.Generator())


@pytest.mark.parametrize("groups", [1, 2])
def test_fans_of_transposed_convolutions(groups):
    """At a stride of 1 an output sums 64 / groups · 9 inputs; PyTorch takes 32 · 9 for that."""
    drawn = {}
    for name in ("kaiming_normal", "kaiming_normal_fan_out", "xavier_normal"):
        layer = nn.ConvTranspose2d(64, 32, 3, groups=groups, bias=False)
        INITS[name](layer, torch.Generator().manual_seed(0))
        drawn[name] = float(layer.weight.detach().std())
    fan_in, fan_out = 64 // groups * 9, 32 * 9
    assert drawn["kaiming_normal"] == pytest.approx((2 / fan_in) ** 0.5, rel=0.03)
    assert drawn["kaiming_normal_fan_out"] == pytest.approx((2 / fan_out) ** 0.5, rel=0.03)
    assert drawn["xavier_normal"] == pytest.approx((2 / (fan_in + fan_out)) ** 0.5, rel=0.03)
