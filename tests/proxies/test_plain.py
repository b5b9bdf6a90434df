import math

import pytest
import torch

from tests import networks, reference
from tests.checks import (
    assert_agrees_with_oracle,
    assert_close,
    assert_golden,
    batch,
    goldens,
    on_networks,
    on_pair,
    setting,
    unpacked,
)
from zeroshot.core import Net
from zeroshot.passes import Forward, Grads, LossBackward
from zeroshot.proxies.plain import PLAIN, plain
from zeroshot.scoring import evaluate

ROWS = goldens("plain", but=lambda golden: golden.network == "Transformer")


def test_by_hand():
    at = Grads((torch.tensor([1.0, -2.0]),), (torch.tensor([3.0, 0.5]),))
    assert plain(at) == 3 - 1
    assert on_pair(PLAIN) == pytest.approx(math.log(3) / 4)


def test_only_rounding_before_batch_normalisation():
    found = networks.network("Plain"), batch()
    trace = Forward().run(Net(found[0]), found[1])
    grads = LossBackward().run(Net(found[0]), found[1], trace).grads
    assert abs(float((grads.weights[0] * grads.grads[0]).sum())) < 1e-4


# The authors' code knows convolution and linear modules only, and so leaves out the transformer's
# packed projection of queries, keys and values; the oracle on `Transformer` gives their values.
PACKED = [g for _, g in goldens("plain") if g.network == "Transformer"]


@pytest.mark.parametrize("golden", PACKED, ids=lambda golden: golden.dtype)
def test_the_authors_code_leaves_out_packed_projections(golden):
    module, shown = setting(golden)
    official = reference.plain(module, shown.inputs, shown.targets)
    assert_close(official, golden.value, golden.tolerance)
    assert evaluate(module, shown, [PLAIN])["plain"] != pytest.approx(official)


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(PLAIN, name, dtype, subject=unpacked)


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    assert_golden(PLAIN, golden)
