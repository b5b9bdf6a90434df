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
from zeroshot.proxies.snip import SNIP, snip

ROWS = goldens("snip")


def test_by_hand():
    at = Grads((torch.tensor([1.0, -2.0]),), (torch.tensor([3.0, 0.5]),))
    assert snip(at) == 3 + 1
    assert on_pair(SNIP) == pytest.approx(math.log(3) / 4)


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(SNIP, name, dtype, subject=unpacked)


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    assert_golden(SNIP, golden)
