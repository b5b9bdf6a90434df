import math

import pytest
import torch
from torch import nn

from tests.checks import assert_agrees_with_oracle, batch, of_space, on_networks
from zeroshot.core import Batch
from zeroshot.proxies.ntk_trace import NTK_TRACE, ntk_trace
from zeroshot.scoring import evaluate


def test_by_hand():
    assert ntk_trace(torch.diag(torch.tensor([1.0, 7.0], dtype=torch.float64))) == 2
    # One output: a sample's gradient is the sample; they are 3 and 4 long.
    shown = Batch(torch.tensor([[3.0, 0], [0, 4]], dtype=torch.float64), torch.tensor([0, 0]))
    found = evaluate(nn.Linear(2, 1).double(), shown, [NTK_TRACE])["ntk_trace"]
    assert found == pytest.approx(math.sqrt(25 / 2))


def test_zero_if_all_that_reaches_the_logits_is_zero():
    assert evaluate(of_space("disconnected"), batch(), [NTK_TRACE])["ntk_trace"] == 0


def test_undefined_if_no_weight_reaches_the_logits():
    scores = evaluate(nn.Flatten(), batch(), [NTK_TRACE])
    assert scores.reasons == {"ntk_trace": "no weight reaches the logits"}


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(NTK_TRACE, name, dtype)
