import math

import pytest
import torch
from torch import nn

from tests import networks, reference
from tests.checks import NAMES, assert_agrees_with_oracle, batch, on_networks
from zeroshot.passes import Map
from zeroshot.proxies.meco import MECO, least, meco
from zeroshot.scoring import evaluate


def test_by_hand():
    # Correlations ±1/2 of two channels: eigenvalues 1/2 and 3/2.
    rows = torch.tensor([[1.0, -1.0, 0.0], [1.0, 0.0, -1.0]])
    assert float(least(rows)) == pytest.approx(0.5)
    other = Map(torch.tensor([[1.0, -1.0], [3.0, 5.0]]), 2)  # opposite channels
    assert float(meco((Map(rows, 2), other))) == pytest.approx(0.5)


def test_a_constant_channel_makes_zero():
    rows = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    assert float(least(rows)) > 0
    rows[1] = 0.1
    assert float(least(rows)) == 0


@on_networks([name for name in NAMES if name != "Transformer"])
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(MECO, name, dtype)


def test_nothing_where_channels_outnumber_positions():
    module, shown = networks.network("Transformer"), batch()
    found = evaluate(module, shown, [MECO])["meco"]
    assert found == pytest.approx(reference.meco(module, shown.inputs, shown.targets), abs=1e-12)
    assert found == pytest.approx(0, abs=1e-12)


def test_undefined_without_maps():
    scores = evaluate(nn.Sequential(nn.Flatten(), nn.Linear(768, 10)).double(), batch(), [MECO])
    assert math.isnan(scores["meco"])
    assert "more than one position" in scores.reasons["meco"]
