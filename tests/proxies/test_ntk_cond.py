import math

import pytest
import torch
from torch import nn

from tests import networks
from tests.checks import assert_agrees_with_oracle, assert_golden, batch, goldens, on_networks
from zeroshot.core import Batch
from zeroshot.proxies.ntk_cond import NTK_COND, ntk_cond
from zeroshot.scoring import evaluate

ROWS = goldens("ntk_cond")


def test_by_hand():
    assert ntk_cond(torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64))) == 4
    # One output: a sample's gradient is the sample, so the kernel is diag(1, 4).
    shown = Batch(torch.tensor([[1.0, 0], [0, 2]], dtype=torch.float64), torch.tensor([0, 0]))
    network = nn.Linear(2, 1).double()
    assert evaluate(network, shown, [NTK_COND])["ntk_cond"] == pytest.approx(4)


def test_infinite_if_singular():
    assert ntk_cond(torch.ones(3, 3, dtype=torch.float64)) == math.inf
    almost = torch.diag(torch.tensor([1.0, 1e-17], dtype=torch.float64))
    assert ntk_cond(almost) == math.inf


def test_undefined_for_gradients_that_overflow():
    network = networks.network("NoNorm")
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(1e80)
    scores = evaluate(network, batch(), [NTK_COND])
    assert scores.reasons == {"ntk_cond": "the gradients of the logits overflow"}


def test_undefined_if_nothing_reaches_the_logits():
    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(768, 10).double()

        def forward(self, x):
            return self.layer(x.flatten(1)).detach()

    scores = evaluate(Detached(), batch(), [NTK_COND])
    assert scores.reasons == {"ntk_cond": "no weight reaches the logits"}


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(NTK_COND, name, dtype)


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    assert_golden(NTK_COND, golden)
