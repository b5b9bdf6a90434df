import math

import pytest
import torch
from torch import nn

from tests.checks import (
    assert_agrees_with_oracle,
    assert_golden,
    goldens,
    on_networks,
    on_pair,
    unpacked,
)
from zeroshot.core import Batch
from zeroshot.proxies.grasp import GRASP, grasp
from zeroshot.scoring import evaluate

ROWS = goldens("grasp")


def test_by_hand():
    assert grasp(torch.tensor([3.0, -1.0])) == -(3 - 1)
    assert on_pair(GRASP) == pytest.approx(-math.log(3) * 3 / 32)


def test_undefined_without_a_second_derivative():
    network = nn.Sequential(nn.Linear(3, 2), nn.Hardsigmoid())
    shown = Batch(torch.eye(3)[:2] * 0.1, torch.tensor([0, 1]))
    scores = evaluate(network, shown, [GRASP])
    assert math.isnan(scores["grasp"])
    assert scores.reasons["grasp"].startswith("no second derivative: ")


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(GRASP, name, dtype, subject=unpacked)


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    assert_golden(GRASP, golden)
