"""Convolutions of few channels, as supernets have them, at the speed that their size allows."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = 8  # up to which the CPU's kernels are slower; with 1 channel, up to twenty times
PIXELS = 64  # of a map, from which it is worth the effort


class Conv2d(nn.Conv2d):
    """`nn.Conv2d`, computed in another order on the CPU if it has few channels.

    The CPU's kernels lay channels side by side in a vector register, which few channels leave
    mostly empty. Here a narrow depthwise convolution is one of all samples' channels side by side,
    and a narrow 1×1 convolution is a matrix product. The numbers are the same but for rounding.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        narrow = max(self.in_channels, self.out_channels) <= CHANNELS
        narrow &= self.bias is None and self.padding_mode == "zeros"
        single = self.kernel_size == (1, 1) and self.padding == (0, 0)
        self.is_product = narrow and single and self.groups == 1
        self.is_depthwise = narrow and self.groups == self.in_channels == self.out_channels

    def forward(self, inputs: Tensor) -> Tensor:
        """The convolution of (n, channels, height, width)."""
        quick = (self.is_product or self.is_depthwise) and inputs.device.type == "cpu"
        # What is exported stays one convolution, whose groups do not depend on the batch.
        if not quick or torch.compiler.is_compiling() or inputs.shape[2:].numel() < PIXELS:
            return super().forward(inputs)
        if self.is_product:
            down, across = self.stride
            pixels = inputs[:, :, ::down, ::across]
            return torch.einsum("oc,nchw->nohw", self.weight[:, :, 0, 0], pixels)
        geometry = self.stride, self.padding, self.dilation
        n, channels, *size = inputs.shape
        side_by_side = inputs.reshape(1, n * channels, *size)
        weight = self.weight.repeat(n, 1, 1, 1)
        output = F.conv2d(side_by_side, weight, None, *geometry, n * channels)  # pyright: ignore
        return output.view(n, channels, *output.shape[2:])
