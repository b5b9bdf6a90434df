import numpy as np
import pytest
import torch

from zeroshot.errors import Undefined
from zeroshot.linalg import agreements, correlations


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
