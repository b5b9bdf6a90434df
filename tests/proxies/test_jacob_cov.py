import math

import pytest
import torch
from torch import nn

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
