import math

import pytest
import torch

from tests.checks import (
    assert_agrees_with_oracle,
    assert_golden,
    goldens,
    on_networks,
    on_pair,
    unpacked,
)
from zeroshot.passes import Grads
from zeroshot.proxies.logsynflow import LOGSYNFLOW, logsynflow

ROWS = goldens("logsynflow")


def test_by_hand():
    at = Grads((torch.tensor([1.0, 2.0]),), (torch.tensor([math.e - 1, 1 - math.e]),))
    assert float(logsynflow(at)) == pytest.approx(1 + 2)
    assert on_pair(LOGSYNFLOW) == pytest.approx(math.log(3) * math.log(2))


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(LOGSYNFLOW, name, dtype, subject=unpacked)


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    assert_golden(LOGSYNFLOW, golden)
