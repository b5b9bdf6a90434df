"""What several spaces are built of."""

import pytest
import torch
from torch import nn

from zeroshot.spaces.layers import Conv2d


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("stride", [1, 2, 3, (2, 1)])
@pytest.mark.parametrize(("padding", "groups", "bias"), [(0, 1, False), (1, 2, True)])
@pytest.mark.parametrize("size", [8, 9])
def test_a_convolution_is_pytorchs(kernel, stride, padding, groups, bias, size):
    how = {"padding": padding, "groups": groups, "bias": bias, "dtype": torch.float64}
    ours, theirs = (kind(4, 6, kernel, stride, **how) for kind in (Conv2d, nn.Conv2d))
    theirs.load_state_dict(ours.state_dict())
    inputs = torch.randn(2, 4, size, size, dtype=torch.float64, requires_grad=True)
    found = []
    for conv in (ours, theirs):
        answers = conv(inputs)
        told = torch.linspace(-1, 1, answers.numel(), dtype=torch.float64).view_as(answers)
        needed = (inputs, *conv.parameters())
        found.append((answers, *torch.autograd.grad(answers, needed, told)))
    torch.testing.assert_close(*found)
