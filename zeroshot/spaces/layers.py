"""Layers that several spaces are built of."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Conv2d(nn.Conv2d):
    """PyTorch's convolution; if a 1×1 kernel takes steps, its pixels are picked beforehand.

    PyTorch's own (2.14, oneDNN 3.12) overwrites foreign memory where such a convolution has fewer
    than eight channels, laid out channels last: in its weight's gradient, on CPUs without AVX-512.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as PyTorch has it
        """The same convolution."""
        if self.kernel_size != (1, 1) or self.stride == (1, 1) or self.padding != (0, 0):
            return super().forward(input)
        down, right = self.stride
        picked = input[:, :, ::down, ::right]
        return F.conv2d(picked, self.weight, self.bias, groups=self.groups)


class ReluConvBn(nn.Sequential):
    """ReLU, convolution, batch norm."""

    def __init__(
        self,
        inward: int,
        outward: int,
        kernel: int,
        stride: int = 1,
        relu: nn.Module | None = None,
    ) -> None:
        super().__init__(
            relu or nn.ReLU(),
            Conv2d(inward, outward, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outward),
        )


class FactorizedReduce(nn.Module):
    """Half the size by two 1×1 convolutions with stride 2, the second one pixel further on."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.here = Conv2d(inward, outward - outward // 2, 1, stride=2, bias=False)
        self.further = Conv2d(inward, outward // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(outward)

    def forward(self, inputs: Tensor) -> Tensor:
        """Both convolutions, side by side."""
        active = self.relu(inputs)
        moved = F.pad(active, (0, 1, 0, 1))[:, :, 1:, 1:]  # zeros only where odd
        return self.norm(torch.cat([self.here(active), self.further(moved)], dim=1))


def separable(channels: int, kernel: int, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    """A depthwise convolution, a 1×1 convolution, batch norm."""
    padding = dilation * (kernel // 2)
    return [
        nn.Conv2d(
            channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False
        ),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    ]
