import math

import pytest
import torch

from tests import networks, reference
from tests.checks import (
    assert_agrees_with_oracle,
    assert_close,
    assert_golden,
    goldens,
    on_networks,
)
from zeroshot.core import Batch
from zeroshot.proxies.epe_nas import EPE_NAS, epe_nas
from zeroshot.scoring import evaluate

ROWS = goldens("epe_nas")


K = 1e-5


def test_by_hand():
    rows = torch.tensor([[1.0, 2, 3], [3, 5, 7], [1, 0, 0]])
    targets = torch.tensor([4, 4, 7])
    # Class 4: four correlations of 1; class 7: one.
    assert float(epe_nas(rows, targets)) == pytest.approx(4 * math.log1p(K) + math.log1p(K))
    apart = torch.tensor([[1.0, -1, 0, 0], [0, 0, 1, -1]])
    expected = abs(2 * math.log1p(K) + 2 * math.log(K))
    assert float(epe_nas(apart, torch.tensor([0, 0]))) == pytest.approx(expected)


def test_more_than_100_classes():
    module = networks.network("NoNorm", classes=101)
    inputs, targets = networks.batch(n=150, h=4, w=4, classes=101)
    found = evaluate(module, Batch(inputs, targets), [EPE_NAS])["epe_nas"]
    assert_close(found, reference.epe_nas_many(module, inputs, targets), 1e-9)


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(EPE_NAS, name, dtype)


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    assert_golden(EPE_NAS, golden)
