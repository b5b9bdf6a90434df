"""The tangent kernel against backward runs written out."""

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import grad

from tests.checks import CELLS, NAMES, NETS, TASK, TINY, batch
from zeroshot.core import Net
from zeroshot.errors import Undefined
from zeroshot.passes import Forward, TangentKernel


def slow(output: Tensor, leaves, cotangents: Tensor) -> list[Tensor | None]:
    """A backward run for each cotangent."""
    runs = [grad(output, leaves, one, retain_graph=True, allow_unused=True) for one in cotangents]
    return [None if rows[0] is None else torch.stack(rows) for rows in zip(*runs, strict=True)]


class TestTangentKernel:
    @pytest.mark.parametrize("name", [*NAMES, *(f"nasbench201-{name}" for name in CELLS)])
    def test_is_the_product_of_rows_found_one_by_one(self, name):
        net, shown = dict(NETS)[name](torch.float64), batch()
        trace = Forward().run(net, shown)
        weights = [leaf for title, leaf in trace.leaves.items() if "weight" in title]
        summed = trace.logits.flatten(1).sum(1)
        parts = slow(summed, weights, torch.eye(16).double())
        jacobian = torch.cat([part.flatten(1) for part in parts if part is not None], dim=1)
        expected = jacobian @ jacobian.T
        for chunk in (None, 5, 16):
            found = TangentKernel(chunk).run(net, shown)
            torch.testing.assert_close(
                found, expected, rtol=1e-9, atol=1e-9 * float(expected.max())
            )

    def test_of_a_supernet(self):
        arch = TINY.prunable
        net, shown = TINY.searched.network(arch, TASK), batch(torch.float32)
        trace = Forward().run(net, shown)
        weights = [leaf for title, leaf in trace.leaves.items() if "weight" in title]
        parts = slow(trace.logits.sum(1), weights, torch.eye(16))
        jacobian = torch.cat([part.flatten(1) for part in parts if part is not None], dim=1)
        expected = jacobian.double() @ jacobian.double().T
        found = TangentKernel().run(net, shown)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))

    def test_undefined_where_no_weight_counts(self):
        net = Net(nn.Flatten())
        with pytest.raises(Undefined, match="no weight reaches the logits"):
            TangentKernel().run(net, batch())
