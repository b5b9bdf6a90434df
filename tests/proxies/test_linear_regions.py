import pytest
import torch

from tests import networks, reference
from tests.checks import (
    CELLS,
    NAMES,
    assert_agrees_with_oracle,
    assert_golden,
    batch,
    goldens,
    of_space,
    on_networks,
)
from zeroshot.passes import Patterns
from zeroshot.proxies.linear_regions import LINEAR_REGIONS, linear_regions
from zeroshot.scoring import evaluate

ROWS = goldens("linear_regions")


def test_by_hand():
    assert linear_regions(torch.tensor([[1, 2], [3, 2], [1, 2]], dtype=torch.uint8)) == 2


@on_networks([name for name in NAMES if name != "ReluFree"])
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(LINEAR_REGIONS, name, dtype)


def test_undefined_without_activations():  # where the oracle counts one region
    scores = evaluate(networks.network("ReluFree"), batch(), [LINEAR_REGIONS])
    assert scores.reasons == {"linear_regions": "no ReLU-like activation was seen"}


@pytest.mark.parametrize("cell", CELLS)
def test_on_a_space_the_thin_network_and_crops(cell):
    """The protocol once more: 3,000 crops of one channel, 1,000 a run, one code a crop."""
    net, shown = of_space(cell), batch()
    crops = Patterns()._crops(net, shown.inputs)
    assert crops.shape == (3000, 1, 3, 3)
    windows = shown.inputs.unfold(2, 3, 1).unfold(3, 3, 1).reshape(-1, 9)
    known = {row.numpy().tobytes() for row in windows}
    assert all(crop.numpy().tobytes() in known for crop in crops.reshape(-1, 9)[::50])
    codes = [
        reference.codes(net.thin(), part.requires_grad_(), reached=False)
        for part in crops.split(1000)
    ]
    expected = len({row.tobytes() for part in codes for row in part})
    found = evaluate(net, shown, [LINEAR_REGIONS])["linear_regions"]
    assert found == expected


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    assert_golden(LINEAR_REGIONS, golden)
