import math

import pytest
import torch
from torch import nn

from tests import networks, reference
from tests.checks import (
    assert_agrees_with_oracle,
    assert_close,
    assert_golden,
    batch,
    goldens,
    on_networks,
    on_pair,
)
from zeroshot.core import Net
from zeroshot.passes import Forward, Saliency
from zeroshot.proxies.fisher import FISHER, fisher
from zeroshot.proxies.snip import SNIP
from zeroshot.scoring import evaluate

ROWS = goldens("fisher")


def test_by_hand():
    # Two samples, two channels of five weights each.
    layer = Saliency(torch.tensor([[1.0, 0.0], [3.0, 2.0]]), 5)
    assert fisher((layer,)) == 0.5 * (1 + 9) / 2 * 5 + 0.5 * (0 + 4) / 2 * 5
    assert on_pair(FISHER) == pytest.approx(math.log(3) ** 2 * 5 / 128)


class Sequence(nn.Module):
    """Tokens with samples first, with tokens first, or in windows of some tokens each."""

    def __init__(self, order):
        super().__init__()
        self.order, self.project, self.head = order, nn.Linear(8, 12), nn.Linear(12, 10)
        networks.fill(self.double())

    def forward(self, x):
        n = len(x)
        x = x.reshape(n, -1, 8)[:, :60]  # no axis but the samples' is as long as that
        if self.order == "tokens first":
            return self.head(self.project(x.transpose(0, 1)).relu().mean(0))
        if self.order == "windows":
            x = x.reshape(n * 3, 20, 8)
        return self.head(self.project(x).relu().reshape(n, 60, 12).mean(1))


def test_the_layout_of_sequences_does_not_matter():
    orders = "samples first", "tokens first", "windows"
    first, *others = (evaluate(Sequence(order), batch(), [FISHER])["fisher"] for order in orders)
    assert_close(first, reference.fisher(Sequence(orders[0]), *networks.batch()), 1e-9)
    for other in others:
        assert_close(other, first, 1e-9)


class Frames(nn.Module):
    """Samples that no axis of a layer's output holds."""

    def __init__(self):
        super().__init__()
        self.project = networks.fill(nn.Linear(8, 10).double())

    def forward(self, x):
        return self.project(x.reshape(len(x), -1, 8)[:, :31].reshape(31, -1, 8)[None]).reshape(
            len(x), 31, 10
        )[:, 0]


def test_undefined_alone_where_samples_are_not_found():
    scores = evaluate(Frames(), batch(), [FISHER, SNIP])
    assert scores.reasons.keys() == {"fisher"}
    assert "16 samples are not found" in scores.reasons["fisher"]


def test_undefined_if_no_layer_runs_as_a_module():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(768, 10).double()

        def forward(self, x):
            return nn.functional.linear(x.flatten(1), self.layer.weight)

    scores = evaluate(Functional(), batch(), [FISHER, SNIP])
    assert scores.reasons == {"fisher": "no convolution or linear layer ran as a module"}


def test_a_channel_of_a_transposed_convolution_has_the_weights_that_lead_to_it():
    network = nn.Sequential(nn.ConvTranspose2d(3, 4, 2), nn.Flatten(), nn.Linear(4 * 17 * 17, 10))
    net = Net(networks.fill(network.double()))
    layers = Forward().run(net, batch()).layers
    assert [layer.fan_in for layer in layers] == [3 * 4, 4 * 17 * 17]


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(FISHER, name, dtype)


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    assert_golden(FISHER, golden)
