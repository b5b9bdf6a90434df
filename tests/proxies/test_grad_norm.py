import math

import pytest
import torch

from tests import reference
from tests.checks import (
    assert_agrees_with_oracle,
    assert_close,
    assert_golden,
    goldens,
    on_networks,
    on_pair,
    setting,
    unpacked,
)
from zeroshot.passes import Grads
from zeroshot.proxies.grad_norm import GRAD_NORM, grad_norm
from zeroshot.scoring import evaluate

ROWS = goldens("grad_norm", but=lambda golden: golden.network == "Transformer")


def test_by_hand():
    grads = torch.tensor([3.0, 4.0]), torch.tensor([12.0])
    assert grad_norm(Grads(grads, grads)) == 5 + 12
    assert on_pair(GRAD_NORM) == pytest.approx(math.sqrt(2) / 4)


def test_zero_if_nothing_reaches_the_logits():
    assert grad_norm(Grads((torch.ones(2),), (torch.zeros(2),))) == 0


# The authors' code knows convolution and linear modules only, and so leaves out the transformer's
# packed projection of queries, keys and values; the oracle on `Transformer` gives their values.
@pytest.mark.parametrize(
    "golden", [g for _, g in goldens("grad_norm") if g.network == "Transformer"]
)
def test_the_authors_code_leaves_out_packed_projections(golden):
    module, shown = setting(golden)
    official = reference.grad_norm(module, shown.inputs, shown.targets)
    assert_close(official, golden.value, golden.tolerance)
    assert evaluate(module, shown, [GRAD_NORM])["grad_norm"] != pytest.approx(official)


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(GRAD_NORM, name, dtype, subject=unpacked)


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    assert_golden(GRAD_NORM, golden)
