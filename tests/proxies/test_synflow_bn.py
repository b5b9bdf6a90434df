import pytest
import torch
from torch import nn

from tests import reference
from tests.checks import (
    assert_agrees_with_oracle,
    assert_close,
    assert_golden,
    goldens,
    on_networks,
    setting,
    unpacked,
)
from zeroshot.core import Batch
from zeroshot.proxies.synflow_bn import SYNFLOW_BN
from zeroshot.scoring import evaluate

ROWS = goldens("synflow_bn", but=lambda golden: golden.network == "Transformer")


def test_by_hand():
    network = nn.Sequential(
        nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(4, 1)
    )
    with torch.no_grad():
        network[0].weight.fill_(2.0)
        network[1].bias.fill_(-0.5)
        network[3].weight.fill_(-3.0)
    shown = Batch(torch.randn(2, 1, 2, 2), torch.tensor([0, 0]))
    # An image of ones is constant: only the bias leaves the normalisation, made positive.
    found = evaluate(network, shown, [SYNFLOW_BN])["synflow_bn"]
    assert found == pytest.approx(4 * 3 * 0.5)


def test_undefined_where_one_sample_has_no_statistics():
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    shown = Batch(torch.eye(2), torch.tensor([0, 1]))
    scores = evaluate(network, shown, [SYNFLOW_BN])
    assert "one sample" in scores.reasons["synflow_bn"]


# The authors' code knows convolution and linear modules only, and so leaves out the transformer's
# packed projection of queries, keys and values; the oracle on `Transformer` gives their values.
@pytest.mark.parametrize(
    "golden", [g for _, g in goldens("synflow_bn") if g.network == "Transformer"]
)
def test_the_authors_code_leaves_out_packed_projections(golden):
    module, shown = setting(golden)
    official = reference.synflow_bn(module, shown.inputs, shown.targets)
    assert_close(official, golden.value, golden.tolerance)
    assert evaluate(module, shown, [SYNFLOW_BN])["synflow_bn"] != pytest.approx(official)


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(SYNFLOW_BN, name, dtype, subject=unpacked)


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    assert_golden(SYNFLOW_BN, golden)
