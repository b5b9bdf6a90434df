import math

import pytest
import torch
from torch import nn

from tests import networks, reference
from tests.checks import NAMES as ALL
from tests.checks import TOLERANCE, assert_close, batch, goldens, on_networks, setting
from zeroshot.core import Net
from zeroshot.errors import Undefined
from zeroshot.passes import Perturbation, Perturbed
from zeroshot.proxies.zen import ZEN, zen
from zeroshot.scoring import evaluate

NAMES = tuple(name for name in ALL if name != "Transformer")  # it has no global pooling


def test_by_hand():
    seen = Perturbation(
        clean=torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
        perturbed=torch.tensor([[2.0, 2.0], [3.0, 1.0]]),
        variances=(torch.tensor([1.0, 3.0]),),
    )
    # Samples move by 1 and 3, on average by 2; the only layer's variance is 2 on average.
    assert float(zen(seen)) == pytest.approx(math.log(2) + 0.5 * math.log(2))


def test_minus_infinity_if_features_ignore_the_input():
    still = torch.ones(2, 3)
    assert zen(Perturbation(still, still, ())) == -math.inf


def features(module, x):
    """What goes into the last pooling."""
    seen, pool = [], nn.functional.adaptive_avg_pool2d

    def spy(given, size):
        seen.append(given)
        return pool(given, size)

    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(nn.functional, "adaptive_avg_pool2d", spy)
        module(x)
    return seen[-1]


@pytest.mark.parametrize("fidelity", ["paper", "official"])
@on_networks(NAMES)
def test_agrees_with_the_oracle(name, fidelity, dtype):
    net, shown = Net(networks.network(name, dtype), seed=3), batch(dtype)
    for part in net.module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
    weights, *noises = reference.gaussian_draws(
        net.module, shown.inputs.shape, net.generator("perturbed")
    )
    expected = reference.zen(
        net.module,
        [(weights, *(noise.to(dtype) for noise in noises))],
        features,
        scale="batch" if fidelity == "paper" else "running",
    )
    found = zen(Perturbed(fidelity=fidelity).run(net, shown))
    assert_close(float(found), expected, TOLERANCE[dtype])


class OfficialDraws(Net):
    """Random numbers as the authors' script draws them after `torch.manual_seed(0)`."""

    def generator(self, purpose):
        return torch.Generator().manual_seed(0)


# Rows of three repeats are left out: the package draws once, and says so under "Differs".
ONCE = goldens("zen", but=lambda golden: golden.options["repeat"] != 1)


@pytest.mark.parametrize("golden", [g for _, g in ONCE], ids=[name for name, _ in ONCE])
def test_agrees_with_the_authors_code(golden):
    module, shown = setting(golden)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
    seen = Perturbed(gamma=golden.options["gamma"], fidelity="official").run(
        OfficialDraws(module), shown
    )
    assert_close(float(zen(seen)), golden.value, golden.tolerance)


def test_the_same_draws_in_every_precision():
    single = evaluate(networks.network("Plain", torch.float32), batch(torch.float32), [ZEN])["zen"]
    assert single == pytest.approx(evaluate(networks.network("Plain"), batch(), [ZEN])["zen"])


def test_shared_weights_are_drawn_once():
    first, second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
    second.weight = first.weight
    network = nn.Sequential(
        first, second, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10)
    ).double()
    assert math.isfinite(evaluate(network, batch(), [ZEN])["zen"])


def test_scales_of_group_normalisation_are_reset_too():
    norm = nn.GroupNorm(2, 4)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).double()
    before = evaluate(network, batch(), [ZEN])["zen"]
    nn.init.constant_(norm.weight, 3.0)
    nn.init.constant_(norm.bias, 1.0)
    assert evaluate(network, batch(), [ZEN])["zen"] == before


def test_a_classifier_of_maps_of_one_pixel_is_behind_the_pooling():
    """Its answers, whose channels come last, are no maps."""

    class Permuted(nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1)

    network = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        Permuted(),
        nn.Linear(4, 10),
        nn.Flatten(),
    ).double()
    assert math.isfinite(evaluate(network, batch(), [ZEN])["zen"])


def test_undefined_without_global_pooling():
    scores = evaluate(networks.network("Transformer"), batch(), [ZEN])
    assert "no global pooling" in scores.reasons["zen"]


def test_official_variances_need_to_be_tracked():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.AdaptiveAvgPool2d(1)
    )
    with pytest.raises(Undefined, match="running variances"):
        Perturbed(fidelity="official").run(Net(network.double()), batch())


def test_a_pooling_inside_is_none_of_the_features():
    class Squeezes(nn.Module):
        def __init__(self, last):
            super().__init__()
            self.first, self.squeeze = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
            self.second, self.last = nn.Conv2d(8, 16, 3, stride=2), last
            self.head = nn.LazyLinear(10)

        def forward(self, x):
            x = self.first(x).relu()
            x = x * self.squeeze(nn.functional.adaptive_avg_pool2d(x, 1)).sigmoid()
            return self.head(self.last(self.second(x).relu()).flatten(1))

    shown = batch(torch.float32)
    for last, defined in ((nn.Identity(), False), (nn.AdaptiveAvgPool2d(1), True)):
        net = Squeezes(last)
        net(shown.inputs)
        scores = evaluate(net, shown, [ZEN])
        assert ("no global pooling" not in scores.reasons.get("zen", "")) is defined
    assert Perturbed().run(Net(net), shown).clean.shape[1] == 16
