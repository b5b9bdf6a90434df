import pytest
import torch
from torch import nn

from tests import reference
from tests.checks import (
    assert_agrees_with_oracle,
    assert_close,
    assert_golden,
    goldens,
    on_networks,
    setting,
    unpacked,
)
from zeroshot.core import Batch
from zeroshot.passes import Grads
from zeroshot.proxies.snip import SNIP
from zeroshot.proxies.synflow import SYNFLOW, synflow
from zeroshot.scoring import evaluate

ROWS = goldens("synflow", but=lambda golden: golden.network == "Transformer")


def test_by_hand():
    at = Grads((torch.tensor([1.0, 2.0]),), (torch.tensor([3.0, -0.5]),))
    assert synflow(at) == 3 + 1
    network = nn.Sequential(nn.Linear(2, 1, bias=False), nn.BatchNorm1d(1), nn.Linear(1, 1))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, -2.0]]))
        network[1].weight.fill_(7.0)  # skipped
        network[2].weight.fill_(-3.0)
        network[2].bias.fill_(-5.0)  # added to the sum, but no weight's part
    shown = Batch(torch.randn(2, 2), torch.tensor([0, 0]))
    # R = 3 (1 + 2) + 5; the first layer's weights carry 3 and 6 of it, the second's 9.
    assert evaluate(network, shown, [SYNFLOW])["synflow"] == 9 + 9


def test_biases_are_made_positive_too():
    network = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1))
    with torch.no_grad():
        for p, value in zip(network.parameters(), (2.0, -4.0, 3.0, -9.0), strict=True):
            p.fill_(value)
    shown = Batch(torch.randn(2, 1), torch.tensor([0, 0]))
    assert evaluate(network, shown, [SYNFLOW])["synflow"] == 3 * 2 + 3 * (2 + 4)


def test_float64_whatever_the_network_is():
    deep = nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(150)))
    with torch.no_grad():
        for p in deep.parameters():
            p.fill_(1.0)
    shown = Batch(torch.randn(2, 2), torch.tensor([0, 1]))
    assert evaluate(deep, shown, [SYNFLOW])["synflow"] == 150 * 2.0**151


def test_undefined_alone_for_a_network_that_insists_on_its_precision():
    class Insists(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return self.layer(x.float())

    shown = Batch(torch.eye(2), torch.tensor([0, 1]))
    scores = evaluate(Insists(), shown, [SYNFLOW, SNIP])
    assert scores.reasons.keys() == {"synflow"}
    assert scores.reasons["synflow"].startswith("the network fails in pass Synflow")


# The authors' code knows convolution and linear modules only, and so leaves out the transformer's
# packed projection of queries, keys and values; the oracle on `Transformer` gives their values.
PACKED = [g for _, g in goldens("synflow") if g.network == "Transformer"]


@pytest.mark.parametrize("golden", PACKED, ids=lambda golden: golden.dtype)
def test_the_authors_code_leaves_out_packed_projections(golden):
    module, shown = setting(golden)
    official = reference.synflow(module, shown.inputs, shown.targets)
    assert_close(official, golden.value, golden.tolerance)
    assert evaluate(module, shown, [SYNFLOW])["synflow"] != pytest.approx(official)


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(SYNFLOW, name, dtype, subject=unpacked)


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    assert_golden(SYNFLOW, golden)
