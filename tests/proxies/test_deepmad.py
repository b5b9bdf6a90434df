import math

import pytest
import torch
from torch import nn

from tests import networks
from tests.checks import batch, of_space, toy
from zeroshot.core import Batch, Net
from zeroshot.passes import Forward
from zeroshot.proxies.deepmad import DEEPMAD, deepmad
from zeroshot.scoring import evaluate

BY_HAND = {
    # 16×16 from 3 to 8 channels; 8×8 from 8 to 16 channels, then once more.
    "Plain": math.log(256 * 8) * math.log(27) + 8 * math.log(64 * 16) * math.log(27 * 72 * 144),
    # A stem and a block of two at 16×16; at 8×8 a block of two and its shortcut.
    "Residual": math.log(256 * 8) * math.log(27 * 72 * 72)
    + 8 * math.log(64 * 16) * math.log(27 * 72 * 72 * 72 * 144 * 8),
    # 16 tokens throughout: patches of 4×4, the hidden layer and the layer behind it.
    "Transformer": 8 * math.log(16 * 16) * math.log(48 * 16 * 32),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name):
    assert evaluate(toy(name), batch(), [DEEPMAD])["deepmad"] == pytest.approx(BY_HAND[name])


def test_grouped_convolutions_see_their_group_only():
    module = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.Conv2d(8, 8, 1, groups=8))
    shown = Batch(torch.zeros(2, 4, 5, 5), torch.tensor([0, 1]))
    trace = Forward().run(Net(module), shown)
    assert deepmad(trace, last=1.0) == pytest.approx(math.log(9 * 8) * math.log(2 * 9))


def test_a_scale_that_comes_again_is_the_last():
    """4×4, 2×2 and, at the end, 4×4 once more."""
    module = nn.Sequential(
        nn.Conv2d(2, 3, 1), nn.Conv2d(3, 5, 2, stride=2), nn.ConvTranspose2d(5, 7, 2, stride=2)
    )
    shown = Batch(torch.zeros(2, 2, 4, 4), torch.tensor([0, 1]))
    first, second, third = math.log(2), math.log(2 * 3 * 4), math.log(2 * 3 * 4 * 5 * 4)
    found = deepmad(Forward().run(Net(module), shown))
    assert found == pytest.approx(math.log(4 * 5) * second + 8 * math.log(16 * 7) * third)
    assert first < second  # the first layer adds to both, and is no scale of its own


def test_deeper_and_wider_is_more():
    small, wide = (
        evaluate(networks.network("Plain", width=width), batch(), [DEEPMAD])["deepmad"]
        for width in (8, 16)
    )
    deep = evaluate(networks.network("Residual"), batch(), [DEEPMAD])["deepmad"]
    assert small < wide
    assert small < deep


def test_weights_do_not_matter():
    net = of_space("convolutions")
    before = evaluate(net, batch(), [DEEPMAD])["deepmad"]
    for p in net.module.parameters():
        nn.init.zeros_(p)
    assert evaluate(net, batch(), [DEEPMAD])["deepmad"] == before


def test_undefined_without_maps():
    module = nn.Sequential(nn.Flatten(), nn.Linear(768, 10)).double()
    assert "more than one position" in evaluate(module, batch(), [DEEPMAD]).reasons["deepmad"]
