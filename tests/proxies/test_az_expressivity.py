import math

import pytest
import torch
from torch import nn

from tests import networks, reference
from tests.checks import DTYPES, TOLERANCE, assert_close, batch, goldens, of_space, on_networks, toy
from zeroshot.core import Net
from zeroshot.proxies.az_expressivity import AZ_EXPRESSIVITY, az_expressivity
from zeroshot.scoring import evaluate

ROWS = goldens("az_expressivity")


def test_by_hand():
    even, single, shared = [1.0, 1.0, 0.0], [0.0, 0.0, 7.0], [3.0, 1.0]
    spectra = tuple(torch.tensor(s, dtype=torch.float64) for s in (even, single, shared))
    quarters = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert float(az_expressivity(spectra)) == pytest.approx(math.log(2) + 0 + quarters)


@on_networks(networks.BLOCKS)
def test_agrees_with_the_oracle(name, dtype):
    net, shown = toy(name, dtype), batch(dtype)
    expected = reference.az_expressivity(net.module, shown.inputs, net.blocks)
    found = evaluate(net, shown, [AZ_EXPRESSIVITY])["az_expressivity"]
    assert_close(found, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    net, shown = toy(golden.network, DTYPES[golden.dtype]), batch(DTYPES[golden.dtype])
    found = evaluate(net, shown, [AZ_EXPRESSIVITY])["az_expressivity"]
    assert_close(found, golden.value, golden.tolerance)


def test_at_most_the_logarithm_of_the_channels():
    net = of_space("convolutions")
    found = evaluate(net, batch(), [AZ_EXPRESSIVITY])["az_expressivity"]
    assert 0 < found <= sum(math.log(c) for c in (4, 4, 8, 8, 16, 16))


def test_tokens_and_maps_alike():
    """A map of positions, and the same positions as tokens."""
    conv = nn.Conv2d(3, 8, 3).double()
    maps = nn.Sequential(conv, nn.Flatten())
    tokens = nn.Sequential(conv, nn.Flatten(2), Transposed(), nn.Flatten())
    one = evaluate(Net(maps, blocks=("0",)), batch(), [AZ_EXPRESSIVITY])
    other = evaluate(Net(tokens, blocks=("2",)), batch(), [AZ_EXPRESSIVITY])
    assert one["az_expressivity"] == pytest.approx(other["az_expressivity"])


class Transposed(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


@pytest.mark.parametrize("bias", [0.0, 0.1])
def test_minus_infinity_if_features_are_constant(bias):
    conv = nn.Conv2d(3, 8, 3)
    nn.init.zeros_(conv.weight)
    nn.init.constant_(conv.bias, bias)
    net = Net(nn.Sequential(conv, nn.Flatten()), blocks=("0",))
    assert evaluate(net, batch(), [AZ_EXPRESSIVITY])["az_expressivity"] == -math.inf


class Pair(nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize(
    ("module", "blocks", "reason"),
    [
        (nn.Flatten(), (), "names no blocks"),
        (nn.Sequential(nn.Flatten(), Pair()), ("1",), "block 1 did not run, or answers no tensor"),
    ],
)
def test_undefined_without_blocks(module, blocks, reason):
    scores = evaluate(Net(module, blocks=blocks), batch(), [AZ_EXPRESSIVITY])
    assert reason in scores.reasons["az_expressivity"]


class Concatenates(nn.Module):
    """Two convolutions side by side, each of as many channels as the maps are wide."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 16, 1), nn.Conv2d(3, 16, 3, padding=1)

    def forward(self, x):
        return torch.cat([self.one(x), self.other(x)], dim=1)


def test_channels_of_maps_side_by_side():
    torch.manual_seed(0)
    body = nn.Sequential(Concatenates(), nn.ReLU(), nn.Flatten(), nn.Linear(8192, 10)).double()
    shown = batch()
    net = Net(body, blocks=("0",))
    assert shown.inputs.shape[3] == 16
    found = evaluate(net, shown, [AZ_EXPRESSIVITY])["az_expressivity"]
    rows = body[0](shown.inputs).detach().movedim(1, -1).flatten(0, -2)
    share = torch.linalg.eigvalsh(torch.cov(rows.T))
    share = share[share > 1e-9 * share[-1]] / share.sum()
    assert_close(found, float(-(share * share.log()).sum()), 1e-6)
