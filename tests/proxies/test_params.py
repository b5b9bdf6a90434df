import torch
from torch import nn

from tests.checks import assert_agrees_with_oracle, on_networks
from zeroshot.core import Batch, Cost
from zeroshot.proxies.params import PARAMS, params
from zeroshot.scoring import evaluate


def test_by_hand():
    assert params(Cost(3, 5, 2)) == 3
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    shown = Batch(torch.zeros(2, 3, 3, 3), torch.tensor([0, 1]))
    assert evaluate(network, shown, [PARAMS])["params"] == (108 + 4) + (4 + 4) + (8 + 2)


def test_shared_parameters_count_once():
    one = nn.Linear(3, 3)
    shown = Batch(torch.zeros(2, 3), torch.tensor([0, 1]))
    assert evaluate(nn.Sequential(one, nn.ReLU(), one), shown, [PARAMS])["params"] == 12


def test_none():
    shown = Batch(torch.zeros(2, 3), torch.tensor([0, 1]))
    assert evaluate(nn.ReLU(), shown, [PARAMS])["params"] == 0


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(PARAMS, name, dtype)
