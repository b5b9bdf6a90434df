import pytest
import torch
from torch import nn

from tests import networks, reference
from tests.checks import NAMES
from zeroshot.core import Batch, Cost
from zeroshot.proxies.flops import FLOPS, flops
from zeroshot.scoring import evaluate


def test_by_hand():
    assert flops(Cost(3, 5, 2)) == 5
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),  # 4 × 4 pixels, 3 · 9 weights for each of 8
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
    shown = Batch(torch.zeros(2, 3, 8, 8), torch.tensor([0, 1]))
    assert evaluate(network, shown, [FLOPS])["flops"] == 16 * 8 * 27 + 16 * 8 * 9 + 1280


def test_normalisation_of_a_single_value_does_not_matter():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False))
    shown = Batch(torch.eye(3)[:2], torch.tensor([0, 1]))
    assert evaluate(network, shown, [FLOPS])["flops"] == 12


@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_the_oracle(name):
    module, (inputs, targets) = networks.network(name), networks.batch()
    expected = reference.flops(module, inputs, targets)
    if name == "Transformer":  # the oracle leaves out query · key and weights · value
        tokens, width = 16, 16
        expected += 2 * tokens * tokens * width
    assert evaluate(module, Batch(inputs, targets), [FLOPS])["flops"] == expected
