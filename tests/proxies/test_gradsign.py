import dataclasses

import pytest
import torch
from torch import nn

from tests import reference
from tests.checks import (
    assert_close,
    assert_golden,
    batch,
    goldens,
    of_space,
    on_networks,
    unpacked,
)
from tests.networks import network
from zeroshot.core import Batch, Net
from zeroshot.errors import Undefined
from zeroshot.passes import Forward, SignSums
from zeroshot.proxies.gradsign import GRADSIGN, gradsign
from zeroshot.scoring import evaluate

ROWS = goldens("gradsign")
OFFICIAL = dataclasses.replace(GRADSIGN, needs=(SignSums(fidelity="official"),))


def test_by_hand():
    assert gradsign((torch.tensor([2.0, -2.0]), torch.tensor([[0.0, 1.0]]))) == 5
    # The gradient is (p − target) · input with 0 < p < 1. By sample its sign for the first input
    # is −, − and + in class 0, +, + and − in class 1; the second input is 0.
    net = Net(nn.Linear(2, 2))
    shown = Batch(torch.tensor([[1.0, 0], [2, 0], [3, 0]]), torch.tensor([0, 0, 1]))
    (found,) = SignSums().run(net, shown, Forward().run(net, shown))
    assert torch.equal(found, torch.tensor([[-1.0, 0], [1, 0]]))


def test_zero_if_no_weight_reaches_the_logits():
    assert evaluate(of_space("disconnected"), batch(), [GRADSIGN])["gradsign"] == 0


def test_undefined_without_weights():
    scores = evaluate(nn.Flatten(), batch(), [GRADSIGN])
    assert "no convolution or linear weight" in scores.reasons["gradsign"]


def test_official_needs_more_than_one_value_to_normalise():
    pooled = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4), nn.Flatten()
    )
    net, shown = Net(pooled.double()), batch(classes=4)
    trace = Forward().run(net, shown)
    assert gradsign(SignSums().run(net, shown, trace)) > 0
    with pytest.raises(Undefined, match="one sample with one value per channel"):
        SignSums(fidelity="official").run(net, shown, trace)


@pytest.mark.parametrize("name", ["Residual", "Transformer", "Disconnected"])
def test_chunks_change_nothing(name):
    net, shown = Net(network(name)), batch()
    trace = Forward().run(net, shown)
    expected = SignSums(chunk=1).run(net, shown, trace)
    for chunk in (3, 16, 100):
        found = SignSums(chunk=chunk).run(net, shown, trace)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("proxy", [GRADSIGN, OFFICIAL], ids=["together", "alone"])
@on_networks()
def test_agrees_with_the_oracle(name, proxy, dtype):
    shown = batch(dtype)
    subject = unpacked(network(name, dtype))
    expected = reference.gradsign(subject, shown.inputs, shown.targets, alone=proxy is OFFICIAL)
    found = evaluate(network(name, dtype), shown, [proxy])["gradsign"]
    assert_close(found, expected, 1e-3)  # rounding may turn the sign of what is almost zero


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    assert_golden(OFFICIAL, golden)


def test_half_precision_counts_all():
    net = nn.Linear(1, 2, bias=False).bfloat16()
    shown = Batch(torch.ones(300, 1), torch.zeros(300, dtype=torch.long))
    assert evaluate(net, shown, [GRADSIGN])["gradsign"] == 600
