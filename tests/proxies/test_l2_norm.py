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
from zeroshot.proxies.l2_norm import L2_NORM, l2_norm
from zeroshot.scoring import evaluate

ROWS = goldens("l2_norm", but=lambda golden: golden.network == "Transformer")


def test_by_hand():
    weights = torch.tensor([[3.0, 4.0]]), torch.ones(2, 2)
    assert l2_norm(weights) == 5 + 2


def test_no_weights():
    shown = Batch(torch.zeros(2, 3), torch.tensor([0, 1]))
    scores = evaluate(nn.ReLU(), shown, [L2_NORM])
    assert scores.reasons == {"l2_norm": "the network has no convolution or linear weight"}


# The authors' code knows convolution and linear modules only, and so leaves out the transformer's
# packed projection of queries, keys and values; the oracle on `Transformer` gives their values.
PACKED = [g for _, g in goldens("l2_norm") if g.network == "Transformer"]


@pytest.mark.parametrize("golden", PACKED, ids=lambda golden: golden.dtype)
def test_the_authors_code_leaves_out_packed_projections(golden):
    module, shown = setting(golden)
    official = reference.l2_norm(module, shown.inputs, shown.targets)
    assert_close(official, golden.value, golden.tolerance)
    assert evaluate(module, shown, [L2_NORM])["l2_norm"] != pytest.approx(official)


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(L2_NORM, name, dtype, subject=unpacked)


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    assert_golden(L2_NORM, golden)
