import math

import pytest
import torch
from torch import nn

from tests import networks
from tests.checks import (
    NAMES,
    assert_agrees_with_oracle,
    assert_golden,
    batch,
    goldens,
    on_networks,
)
from zeroshot.proxies.linear_regions import LINEAR_REGIONS
from zeroshot.proxies.naswot import NASWOT, naswot
from zeroshot.proxies.snip import SNIP
from zeroshot.scoring import evaluate

ROWS = goldens("naswot", but=lambda golden: golden.network == "Disconnected")


def test_by_hand():
    # They agree on one of two units, each with itself on both: det [[2, 1], [1, 2]] = 3.
    codes = torch.tensor([[True, False], [True, True]])
    assert float(naswot((codes,))) == pytest.approx(math.log(3))
    assert float(naswot((codes[:, :1], codes[:, 1:]))) == pytest.approx(math.log(3))


@pytest.mark.parametrize("n", [2, 33, 64, 128])
def test_a_shared_code_is_seen_whatever_the_rounding(n):
    generator = torch.Generator().manual_seed(n)
    codes = torch.rand(n, 500, generator=generator) > 0.5
    codes[0] = codes[n // 2]
    assert float(naswot((codes,))) == -math.inf


# All activations that are computed count; the authors' code takes those that a backward run visits.
@on_networks([name for name in NAMES if name != "ReluFree"])
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(NASWOT, name, dtype, reached=False)
    if name != "Disconnected":
        assert_agrees_with_oracle(NASWOT, name, dtype, reached=True)


def test_disconnected_activations_count():
    found = evaluate(networks.network("Disconnected"), batch(), [NASWOT])["naswot"]
    assert found == pytest.approx(127.2323, abs=1e-4)  # as the golden value's remark says


def test_undefined_without_activations():  # where the oracle gives −∞, the determinant of nothing
    scores = evaluate(networks.network("ReluFree"), batch(), [NASWOT])
    assert scores.reasons == {"naswot": "no ReLU-like activation was seen"}


class Table(nn.Module):
    """An activation that all samples share, or one whose samples cannot be told."""

    def __init__(self, *shape):
        super().__init__()
        self.table = nn.Parameter(torch.ones(shape))
        self.layer = nn.Linear(768, 10)

    def forward(self, x):
        return self.layer(x.flatten(1)).relu() * self.table.relu().mean()


def test_an_activation_that_all_samples_share_does_not_count():
    torch.manual_seed(0)
    network = Table(1, 5, 7).double()
    logits = network.layer(batch().inputs.flatten(1))
    found = evaluate(network, batch(), [NASWOT, LINEAR_REGIONS])
    assert found["naswot"] == float(naswot((logits > 0,)))
    assert found["linear_regions"] == len((logits > 0).unique(dim=0))


def test_undefined_alone_where_samples_are_not_found():
    scores = evaluate(Table(7).double(), batch(), [NASWOT, SNIP])
    assert scores.reasons.keys() == {"naswot"}
    assert "(7,)" in scores.reasons["naswot"]


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    assert_golden(NASWOT, golden)


def test_fewer_units_than_samples():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(768, 4), nn.ReLU(), nn.Linear(4, 10)).double()
    shown = batch(n=16)
    assert evaluate(net, shown, [NASWOT])["naswot"] == -math.inf
