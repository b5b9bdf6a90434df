import math

import pytest
import torch
from torch import nn

from tests import networks
from tests.checks import (
    CELLS,
    TASK,
    TINY,
    assert_agrees_with_oracle,
    assert_golden,
    batch,
    goldens,
    on_networks,
)
from zeroshot.core import Batch
from zeroshot.errors import Undefined
from zeroshot.proxies.jacob_cov import JACOB_COV, jacob_cov
from zeroshot.scoring import evaluate

ROWS = goldens("jacob_cov")


K = 1e-5


def test_by_hand():
    apart = torch.tensor([[1.0, -1, 0, 0], [0, 0, 1, -1]])  # correlation 0: eigenvalues 1, 1
    assert float(jacob_cov(apart)) == pytest.approx(-2 * (math.log1p(K) + 1 / (1 + K)))
    along = torch.tensor([[1.0, 2, 3], [3, 5, 7]])  # correlation 1: eigenvalues 0, 2
    expected = -(math.log(K) + 1 / K + math.log(2 + K) + 1 / (2 + K))
    assert float(jacob_cov(along)) == pytest.approx(expected)


def test_undefined_for_a_constant_gradient():
    network = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(1, 2))
    shown = Batch(torch.randn(2, 1, 4, 4), torch.tensor([0, 1]))
    scores = evaluate(network, shown, [JACOB_COV])
    assert math.isnan(scores["jacob_cov"])
    assert "constant" in scores.reasons["jacob_cov"]


def test_the_worst_where_the_logits_ignore_the_input():
    """As those of a disconnected cell do; not only one sample, or the gradient would be wrong."""
    assert float(jacob_cov(torch.zeros(3, 4))) == -math.inf
    arch = TINY.arch(*CELLS["disconnected"])
    scores = evaluate(TINY.network(arch, TASK), batch(torch.float32), [JACOB_COV])
    assert scores["jacob_cov"] == -math.inf
    with pytest.raises(Undefined, match="ignore a sample"):
        jacob_cov(torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]]))


def test_undefined_for_classes_of_whole_numbers():
    network = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(12, 2))
    shown = Batch(torch.arange(6).reshape(2, 3) % 5, torch.tensor([0, 1]))
    assert "no gradient" in evaluate(network, shown, [JACOB_COV]).reasons["jacob_cov"]


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(JACOB_COV, name, dtype)


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    assert_golden(JACOB_COV, golden)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sum_of_logits_that_batch_normalisation_makes_constant(dtype):
    """What autograd gives is rounding then, and would depend on the order of the samples."""
    layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    constant = networks.fill(nn.Sequential(*layers, *head)).to(dtype)
    assert evaluate(constant, batch(dtype), [JACOB_COV])["jacob_cov"] == -torch.inf
    bent = networks.fill(nn.Sequential(*layers, nn.ReLU(), *head)).to(dtype)
    assert evaluate(bent, batch(dtype), [JACOB_COV])["jacob_cov"] > -torch.inf
    small = networks.fill(nn.Sequential(*layers, nn.ReLU(), *head)).to(dtype)
    with torch.no_grad():  # a small gradient is one all the same
        small[-1].weight.mul_(1e-12)
        small[-1].bias.fill_(1.0)
    one, other = (evaluate(net, batch(dtype), [JACOB_COV])["jacob_cov"] for net in (small, bent))
    assert one == pytest.approx(other, rel=1e-4)
