import math

import pytest
import torch
from torch import nn

from tests import networks
from tests.checks import NAMES, assert_agrees_with_oracle, batch, of_space, on_networks
from zeroshot.core import Batch
from zeroshot.passes import Grads
from zeroshot.proxies.intrain import INTRAIN, intrain
from zeroshot.scoring import evaluate


def test_by_hand():
    # Gradients 1, −1 have deviation √2, cut to 1; 2, 0, 0, 0 have 1 of 2; one number has none.
    grads = tuple(map(torch.tensor, ([1.0, -1.0], [2.0, 0.0, 0.0, 0.0], [5.0])))
    found = intrain(torch.tensor([2.0, 4.0]).double(), Grads(grads, grads))
    expected = math.log(8) * (1 + 1 + 0.5) / math.log(3)
    assert float(found) == pytest.approx(expected, rel=1e-8)


def test_gradients_of_zero_are_no_health():
    zero = (torch.zeros(3),)
    assert float(intrain(torch.tensor([math.e]).double(), Grads(zero, zero))) == pytest.approx(
        1 / math.log(2)
    )


def test_the_worst_where_a_layer_answers_the_same_everywhere():
    assert evaluate(of_space("disconnected"), batch(), [INTRAIN])["intrain"] == -math.inf


# Attention's projections are weights, but no layers that run; the oracle knows layers alone.
@on_networks([name for name in NAMES if name != "Transformer"])
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(INTRAIN, name, dtype)


def test_a_transformer_has_a_score():
    assert 0 < evaluate(networks.network("Transformer"), batch(), [INTRAIN])["intrain"] < math.inf


def test_undefined_for_layers_of_one_channel():
    network = nn.Sequential(nn.Flatten(), nn.Linear(768, 1))
    shown = Batch(torch.randn(4, 3, 16, 16), torch.zeros(4, dtype=torch.long))
    assert "one channel" in evaluate(network, shown, [INTRAIN]).reasons["intrain"]
