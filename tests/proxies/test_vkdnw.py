import math

import pytest
import torch

from tests import reference
from tests.checks import assert_close, batch, of_space
from tests.networks import network
from zeroshot.passes import Information
from zeroshot.proxies.vkdnw import VKDNW, vkdnw
from zeroshot.scoring import evaluate


def test_by_hand():
    even = Information(torch.eye(3, dtype=torch.float64), tensors=7)
    assert float(vkdnw(even)) == pytest.approx(7 + math.log(9))


def test_undefined_where_the_entropy_is():
    assert "nine in ten" in evaluate(of_space("disconnected"), batch(), [VKDNW]).reasons["vkdnw"]


@pytest.mark.parametrize("name", ["Plain", "NoNorm", "Transformer"])
def test_agrees_with_the_oracle(name):
    shown = batch(n=6)
    expected = reference.vkdnw(network(name), shown.inputs, shown.targets)
    assert_close(evaluate(network(name), shown, [VKDNW])["vkdnw"], expected, 1e-8)
