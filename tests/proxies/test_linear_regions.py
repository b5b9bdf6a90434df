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
from zeroshot.passes.footprint import counting_memory
from zeroshot.proxies.linear_regions import LINEAR_REGIONS, distinct, linear_regions, mixed
from zeroshot.scoring import evaluate

ROWS = goldens("linear_regions")


def test_by_hand():
    assert linear_regions(torch.tensor([[1, 2], [3, 2], [1, 2]], dtype=torch.uint8)) == 2


class TestDistinct:
    @staticmethod
    def rows(n: int, width: int, kinds: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(width)
        drawn = torch.randint(0, 256, (kinds, width), generator=generator, dtype=torch.uint8)
        return drawn[torch.randint(0, kinds, (n,), generator=generator)]

    @pytest.mark.parametrize("width", [1, 7, 8, 9, 40])
    @pytest.mark.parametrize("n", [1, 2, 500])
    def test_is_the_size_of_the_set(self, n, width):
        given = self.rows(n, width, 60)
        assert distinct(given) == len({tuple(row) for row in given.tolist()})

    @pytest.mark.parametrize("bad", [lambda rows: rows[:, 0].long() * 0, lambda r: r[:, 0].long()])
    def test_exact_whatever_the_hash(self, bad):
        given = self.rows(400, 9, 40)
        given[::3, 0] = 7
        expected = len({tuple(row) for row in given.tolist()})
        assert distinct(given, bad) == expected == distinct(given)

    def test_rows_that_differ_in_one_bit(self):
        given = torch.zeros(17 * 8 + 1, 17, dtype=torch.uint8)
        for bit in range(17 * 8):
            given[bit, bit // 8] = 1 << bit % 8
        assert distinct(given) == len(given)
        assert len(mixed(given).unique()) == len(given)

    def test_rows_whose_difference_a_plain_product_would_lose(self):
        given = torch.zeros(2, 16, dtype=torch.uint8)
        given[1, 7] = given[1, 15] = 128  # the highest bit of both words
        assert len(mixed(given).unique()) == 2

    def test_a_hundred_thousand_rows_take_no_square_of_them(self):
        given = self.rows(100_000, 24, 90_000)
        expected = len({row.tobytes() for row in given.numpy()})
        with counting_memory([given]) as memory:
            assert distinct(given) == expected
        assert memory.peak < 20 * given.nbytes


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
