import pytest
import torch
from torch import nn

from tests.checks import NAMES, batch
from tests.networks import network
from zeroshot.core import Batch
from zeroshot.proxies.memory import MEMORY
from zeroshot.proxies.memory_train import MEMORY_TRAIN, memory_train
from zeroshot.scoring import evaluate


def found(module, shown):
    return evaluate(module, shown, [MEMORY_TRAIN])["memory_train"]


def test_by_hand():
    assert memory_train(7) == 7


def test_keeps_what_the_backward_run_needs():
    """Each hyperbolic tangent's output is alive until its gradient is known."""
    shown = Batch(torch.ones(3, 1), torch.tensor([0, 1, 0]))
    sizes = [
        found(nn.Sequential(nn.Linear(1, 400), *(nn.Tanh() for _ in range(depth))), shown)
        for depth in (5, 6, 7)
    ]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] == 4 * 3 * 400


def test_gradients_lie_beside_the_weights():
    shown = Batch(torch.ones(2, 100), torch.tensor([0, 1]))
    layers = [nn.Linear(100, 100, bias=False) for _ in range(3)]
    two, three = (found(nn.Sequential(*layers[:depth]), shown) for depth in (2, 3))
    assert three - two == 4 * 2 * 100 * 100  # at the last gradient, all that was kept is gone


@pytest.mark.parametrize("name", NAMES)
def test_more_than_inference(name):
    scores = evaluate(network(name), batch(), [MEMORY, MEMORY_TRAIN])
    assert scores["memory_train"] > scores["memory"]


def test_without_anything_to_learn():
    assert found(nn.Flatten(), batch()) > 0


def test_undefined_without_classes():
    scores = evaluate(nn.Conv2d(3, 4, 1).double(), batch(), [MEMORY_TRAIN])
    assert "no cross-entropy" in scores.reasons["memory_train"]
