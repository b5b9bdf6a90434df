import math

import pytest
import torch
from torch import nn

from tests import reference
from tests.checks import (
    assert_agrees_with_oracle,
    assert_close,
    assert_golden,
    batch,
    goldens,
    of_space,
    on_networks,
    unpacked,
)
from tests.networks import network
from zeroshot.core import Net
from zeroshot.passes import SplitGrads
from zeroshot.proxies.zico import ZICO, zico
from zeroshot.scoring import evaluate

ROWS = goldens("zico")


def test_by_hand():
    layer = torch.tensor([[1.0, 1.0, 3.0], [3.0, -1.0, 3.0]])
    # Means 2, 1 and 3; deviations 1, 1 and 0, so that the third weight is left out.
    assert float(zico((layer, layer))) == pytest.approx(2 * math.log(2 / 1 + 1 / 1))


def test_layers_without_deviation_add_nothing():
    moved, still = torch.tensor([[1.0], [3.0]]), torch.ones(2, 4)
    assert zico((moved, still, torch.zeros(2, 4))) == zico((moved,))
    assert zico((still,)) == 0


def test_gradients_that_overflow_are_not_left_out():
    assert math.isnan(zico((torch.tensor([[1.0, math.inf], [3.0, math.inf]]),)))


def test_zero_if_no_weight_reaches_the_logits():
    assert evaluate(of_space("disconnected"), batch(), [ZICO])["zico"] == 0


def test_undefined_for_a_batch_that_cannot_be_cut():
    scores = evaluate(network("Plain"), batch(n=3), [ZICO])
    assert scores.reasons == {"zico": "3 samples cannot be cut into 2 parts of 2 or more"}


def test_undefined_without_weights():
    scores = evaluate(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(768)).double(), batch(), [ZICO])
    assert "no convolution or linear weight" in scores.reasons["zico"]


@pytest.mark.parametrize("parts", [2, 3])
def test_halves_and_uneven_thirds(parts):
    module, shown = network("Residual"), batch()
    found = SplitGrads(parts).run(Net(module), shown)
    assert {len(layer) for layer in found} == {parts}
    expected = reference.zico(module, shown.inputs, shown.targets, parts=parts)
    assert_close(float(zico(found)), expected, 1e-9)


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(ZICO, name, dtype, subject=unpacked)


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    assert_golden(ZICO, golden)
