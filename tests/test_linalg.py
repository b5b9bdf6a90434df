import numpy as np
import pytest
import torch

from zeroshot.errors import Undefined
from zeroshot.linalg import BLOCK, agreements, correlations, crossed


def rows(n=6, d=40, dtype=torch.float64):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=dtype)


class TestCorrelations:
    def test_numpy(self):
        given = rows() * torch.logspace(-6, 30, 6)[:, None] + 1
        assert np.allclose(correlations(rows()), np.corrcoef(rows()), rtol=1e-12)
        assert np.allclose(correlations(given), np.corrcoef(given), rtol=1e-6, atol=1e-9)

    def test_range(self):
        twice = torch.cat([rows(), rows(), -rows()])
        found = correlations(twice)
        assert float(found.max()) == 1
        assert float(found.min()) == -1
        assert found.dtype == torch.float64

    def test_one_row(self):
        assert correlations(rows(1)).item() == pytest.approx(1)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("constant", [0.0, 0.1, 1e30])
    @pytest.mark.parametrize("d", [1, 7, 3072])
    def test_a_constant_row(self, constant, d, dtype):
        given = rows(d=d, dtype=dtype)
        given[2] = constant
        with pytest.raises(Undefined, match="constant"):
            correlations(given)

    @pytest.mark.parametrize("bad", [torch.nan, torch.inf])
    def test_not_finite(self, bad):
        given = rows()
        given[2, 3] = bad
        with pytest.raises(Undefined, match="not finite"):
            correlations(given)


class TestAgreements:
    def test_counts(self):
        codes = rows() > 0
        expected = [[int((a == b).sum()) for b in codes] for a in codes]
        assert agreements(codes).tolist() == expected

    def test_exact_beyond_float32(self):
        codes = torch.ones(2, 2**24 + 3, dtype=torch.bool)
        codes[1, :2] = False
        assert agreements(codes).tolist() == [[2**24 + 3, 2**24 + 1], [2**24 + 1, 2**24 + 3]]

    def test_codes_that_do_not_lie_in_order(self):
        codes = (rows(40, 6) > 0).T
        expected = [[int((a == b).sum()) for b in codes] for a in codes]
        assert agreements(codes).tolist() == expected


class TestCrossed:
    @pytest.mark.parametrize("m", [1, BLOCK - 1, BLOCK, 3 * BLOCK + 5])
    def test_is_the_product(self, m):
        one, other = rows(m, 4), rows(m, 3) + 1
        found = crossed(one, other)
        torch.testing.assert_close(found, one.T @ other, rtol=1e-12, atol=1e-9)
        single = crossed(one.float(), other.float())
        assert single.dtype == torch.float64
        assert float((single - found).abs().max()) < 1e-6 * float((one.abs().T @ other.abs()).max())

    @pytest.mark.parametrize("columns", [(1, 1), (3, 4), (8, 2), (5, 16), (17, 1)])
    @pytest.mark.parametrize("count", [5, BLOCK, 3 * BLOCK + 7])
    def test_few_columns(self, columns, count):
        one, other = (rows(count, c).float() + 1 for c in columns)
        found = crossed(one, other.T.contiguous().T)
        expected = one.double().T @ other.double()
        assert found.shape == columns
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * count)

    @pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e25, 1e38])
    def test_beyond_the_range_of_float32(self, scale):
        one = (rows(2000, 3) * scale / 10).float()
        expected = one.double().T @ one.double()
        torch.testing.assert_close(crossed(one, one), expected, rtol=1e-6, atol=0)

    def test_zero_and_not_finite(self):
        assert not crossed(torch.zeros(9, 2), torch.ones(9, 2)).any()
        assert crossed(torch.full((9, 2), torch.nan), torch.ones(9, 2)).isnan().all()
