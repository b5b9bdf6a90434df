import torch
from torch import nn

from tests.checks import batch
from tests.networks import network
from zeroshot.core import Batch
from zeroshot.proxies.memory import MEMORY, memory
from zeroshot.scoring import evaluate

SHOWN = Batch(torch.ones(3, 4), torch.tensor([0, 1, 0]))


def found(module, shown=SHOWN):
    return evaluate(module, shown, [MEMORY])["memory"]


def test_by_hand():
    assert memory(7) == 7
    # Weights and biases, the input, and the layer's output: 4 bytes each.
    linear = nn.Linear(4, 8)
    assert found(linear) == 4 * (4 * 8 + 8 + 3 * 4 + 3 * 8)
    # While the rectifier works, its input and output are alive; a view costs nothing.
    assert found(nn.Sequential(linear, nn.ReLU(), nn.Flatten())) == found(linear) + 4 * 3 * 8
    assert found(nn.Sequential(linear, nn.ReLU(inplace=True))) == found(linear)


def test_what_is_gone_is_not_counted():
    deep = nn.Sequential(*(nn.Tanh() for _ in range(10)))
    assert found(deep) == 4 * 3 * 4 * 3  # the input, and a layer's own input and output


def test_shared_weights_count_once():
    layer = nn.Linear(4, 4, bias=False)
    assert found(nn.Sequential(layer, layer)) == 4 * (4 * 4 + 3 * 3 * 4)


def test_grows_in_proportion_to_the_batch():
    module = network("Residual")
    few, some, many = (found(module, batch(n=n)) for n in (4, 8, 12))
    assert many - some == some - few > 0


def test_half_as_much_in_half_the_precision():
    module, half = network("NoNorm"), network("NoNorm", torch.float32)
    assert found(module, batch()) == 2 * found(half, batch(torch.float32))


def test_normalises_one_value_per_channel():
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3), nn.Flatten()).double()
    assert found(module, batch()) > 0
