import math

import pytest
import torch
from torch import nn

from tests import networks, reference
from tests.checks import DTYPES, TOLERANCE, assert_close, batch, goldens, of_space, on_networks, toy
from zeroshot.core import Batch, Net
from zeroshot.proxies.wrcor import WRCOR, wrcor
from zeroshot.scoring import evaluate

ROWS = goldens("wrcor")
OUT_OF_PLACE = ("Plain", "Residual", "NoNorm", "Disconnected", "Transformer", "Activations")


def test_by_hand():
    # 1 · [[2, 1], [1, 2]] + 2 · [[1, 0], [0, 1]] = [[4, 1], [1, 4]], of determinant 15.
    found = torch.tensor([[[2.0, 1.0], [1.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]]]).double()
    assert float(wrcor(found)) == pytest.approx(math.log(15))


@on_networks(OUT_OF_PLACE)
def test_agrees_with_the_oracle(name, dtype):
    net, shown = toy(name, dtype), batch(dtype)
    expected = reference.wrcor(net.module, shown.inputs, shown.targets, net.blocks)
    assert_close(evaluate(net, shown, [WRCOR])["wrcor"], expected, TOLERANCE[dtype])


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    net, shown = toy(golden.network, DTYPES[golden.dtype]), batch(DTYPES[golden.dtype])
    assert_close(evaluate(net, shown, [WRCOR])["wrcor"], golden.value, golden.tolerance)


class InPlace(nn.Module):
    """Counts on its ReLU to overwrite what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.head = nn.Conv2d(3, 4, 3), nn.ReLU(True), nn.Linear(4, 10)

    def forward(self, x):
        x = self.conv(x)
        self.relu(x)
        return self.head(x.mean((2, 3)))


class OutOfPlace(InPlace):
    def forward(self, x):
        return self.head(self.conv(x).relu().mean((2, 3)))


def test_in_place_or_not_the_same():
    one, other = (networks.fill(kind().double()) for kind in (InPlace, OutOfPlace))
    found = [evaluate(Net(m, blocks=("conv",)), batch(), [WRCOR])["wrcor"] for m in (one, other)]
    assert math.isfinite(found[0])
    assert found[0] == found[1]


def test_minus_infinity_if_disconnected():
    assert evaluate(of_space("disconnected"), batch(), [WRCOR])["wrcor"] == -math.inf


def test_undefined():
    def reason(net, shown):
        return evaluate(net, shown, [WRCOR]).reasons["wrcor"]

    assert "names no blocks" in reason(networks.network("Plain"), batch())
    assert reason(toy("ReluFree"), batch()) == "no ReLU-like activation was seen"
    words = nn.Sequential(nn.Embedding(5, 8), nn.Flatten(), nn.ReLU(), nn.Linear(24, 10))
    shown = Batch(torch.arange(6).reshape(2, 3) % 5, torch.tensor([0, 1]))
    assert "int64 have no gradient" in reason(Net(words, blocks=("0",)), shown)
