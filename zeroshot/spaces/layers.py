"""Layers that several spaces are built of."""

import torch
from torch import Tensor, nn


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
            nn.Conv2d(inward, outward, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outward),
        )


class FactorizedReduce(nn.Module):
    """Half the size by two 1×1 convolutions with stride 2, the second one pixel further on."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.here = nn.Conv2d(inward, outward - outward // 2, 1, bias=False)
        self.further = nn.Conv2d(inward, outward // 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(outward)

    def forward(self, inputs: Tensor) -> Tensor:
        """Both convolutions, side by side."""
        active = self.relu(inputs)
        moved = nn.functional.pad(active, (0, 1, 0, 1))[:, :, 1:, 1:]  # zeros only where odd
        # Strided 1×1 convolutions of few channels overwrite foreign memory on CPUs: PyTorch 2.15,
        # in the gradients of large maps laid out channels last. So the pixels are picked before.
        here, further = (maps[:, :, ::2, ::2] for maps in (active, moved))
        return self.norm(torch.cat([self.here(here), self.further(further)], dim=1))


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
