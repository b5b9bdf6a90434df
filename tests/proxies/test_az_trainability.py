import math

import pytest
import torch
from torch import nn

from tests import networks, reference
from tests.checks import DTYPES, TOLERANCE, assert_close, batch, goldens, of_space, on_networks, toy
from zeroshot.core import Batch, Net
from zeroshot.passes import Forward, Handover
from zeroshot.passes.activations import BlockHandover
from zeroshot.proxies.az_trainability import AZ_TRAINABILITY, az_trainability
from zeroshot.scoring import evaluate

ROWS = goldens("az_trainability")
CONNECTED = tuple(name for name in networks.BLOCKS if name != "Disconnected")


def seen(norms, unchanged):
    return Handover(torch.tensor(norms, dtype=torch.float64), torch.tensor(unchanged))


def test_by_hand():
    assert az_trainability(seen([2.0, 0.5, 1.0], [False] * 3)) == (-0.5 - 0.5 + 0) / 3
    assert az_trainability(seen([1.0, 1.0], [False, True])) == -math.inf
    assert az_trainability(seen([1.0, 0.0], [False, False])) == -math.inf


def handover(module, *blocks, shown=None):
    net, shown = Net(module.double(), blocks=blocks), shown or batch()
    return BlockHandover().run(net, shown, Forward().run(net, shown))


def test_a_scaled_identity_has_its_scale():
    """One channel: B = scale · R, and R² is 1 everywhere."""
    first, second = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)
    nn.init.constant_(second.weight, -3.0)
    shown = Batch(torch.randn(4, 1, 5, 5, dtype=torch.float64), torch.zeros(4, dtype=torch.long))
    found = handover(nn.Sequential(first, second, nn.Flatten()), "0", "1", shown=shown)
    assert found.norms.tolist() == pytest.approx([3.0])
    assert found.unchanged.tolist() == [False]


def test_four_gradients_side_by_side():
    """Pooling hands each of four positions a quarter: B = (R, R, R, R) / 4."""
    shown = Batch(torch.randn(4, 1, 6, 6, dtype=torch.float64), torch.zeros(4, dtype=torch.long))
    module = nn.Sequential(nn.Conv2d(1, 1, 1), nn.AvgPool2d(2), nn.Flatten())
    found = handover(module, "0", "1", shown=shown)
    assert found.norms.tolist() == pytest.approx([math.sqrt(4 / 16)])


@pytest.mark.parametrize("size", [5, 7, 16])
@pytest.mark.parametrize("padding", [0, 1])
def test_maps_need_not_shrink_by_a_whole_number(size, padding):
    inputs = torch.randn(4, 3, size, size, dtype=torch.float64)
    shown = Batch(inputs, torch.zeros(4, dtype=torch.long))
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, 2, padding), nn.Flatten())
    assert bool((handover(module, "0", "1", shown=shown).norms > 0).all())


def test_maps_may_grow():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Upsample(scale_factor=2), nn.Flatten())
    # Each position is handed the sum of four signs; B beside R is (r₁ + … + r₄) · (r₁, …, r₄).
    assert handover(module, "0", "1").norms.tolist() == pytest.approx([2.0], rel=0.1)


@on_networks(CONNECTED)
def test_agrees_with_the_oracle(name, dtype):
    net, shown = toy(name, dtype), batch(dtype)
    signs = net.generator("handover")
    expected = reference.az_trainability(net.module, shown.inputs, net.blocks, signs)
    found = evaluate(net, shown, [AZ_TRAINABILITY])["az_trainability"]
    assert_close(found, expected, 10 * TOLERANCE[dtype])  # 2 − σ − 1/σ is flat at 1


class OfficialDraws(Net):
    """Random numbers as the authors' script draws them after `torch.manual_seed(0)`."""

    def generator(self, purpose):
        return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    net, shown = toy(golden.network, DTYPES[golden.dtype]), batch(DTYPES[golden.dtype])
    scores = evaluate(OfficialDraws(net.module, net.blocks), shown, [AZ_TRAINABILITY])
    assert_close(scores["az_trainability"], golden.value, golden.tolerance)


def test_minus_infinity_where_no_gradient_comes_back():
    for net in (toy("Disconnected"), of_space("disconnected")):
        assert evaluate(net, batch(), [AZ_TRAINABILITY])["az_trainability"] == -math.inf


def test_minus_infinity_for_a_bare_shortcut():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Identity(), nn.Flatten())
    net = Net(module.double(), blocks=("0", "1"))
    assert evaluate(net, batch(), [AZ_TRAINABILITY])["az_trainability"] == -math.inf


@pytest.mark.parametrize(
    ("blocks", "reason"), [(("relu1",), "one block"), (("relu1", "head"), "answers 16 positions")]
)
def test_undefined(blocks, reason):
    scores = evaluate(Net(networks.network("Plain"), blocks), batch(), [AZ_TRAINABILITY])
    assert reason in scores.reasons["az_trainability"]
