"""NATS-Bench, size search space: five numbers of channels, 8 to 64 each; 32,768 networks."""

import re
from dataclasses import dataclass, replace
from itertools import pairwise

from torch import Tensor, nn

from zeroshot.core import Cost
from zeroshot.errors import ZeroshotError, cut
from zeroshot.spaces.cells import (
    CONV3,
    SKIP,
    Cell,
    Conv,
    Head,
    Operations,
    Reduction,
    total,
)
from zeroshot.spaces.space import Arch, Axis, Space, Task

CHANNELS = tuple(str(channels) for channels in range(8, 65, 8))
LAYERS = ("stem and cell 1", "reduction 1", "cell 2", "reduction 2", "cell 3")
# |nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|
CELL = ((CONV3,), (CONV3,), (CONV3,), (SKIP,), (CONV3,), (CONV3,))


@dataclass(frozen=True)
class NatsBenchSize(Space):
    """Networks of one topology and different width: NAS-Bench-201's, with one fixed cell.

    Stem, cell, residual block, cell, residual block, cell, BN-ReLU, global average pooling,
    classifier; the residual blocks halve the size. Each of the five may have 8, 16 … 64 channels,
    the stem as many as the first cell. A cell whose input has other channels changes them on the
    edges that leave its input, where the skip is a 1×1 convolution and BN, without ReLU.

    Index, string and parameters are the benchmark's own. Its multiply-adds also count the
    classifier's bias: they are as many more as there are classes.

    Attributes:
        divisor: by what all channels are divided, for networks that are scored faster.
    """

    divisor: int = 1

    name = "natsbench_size"
    axes = tuple(Axis(layer, CHANNELS) for layer in LAYERS)
    source = "arXiv:2009.00437"
    channels_last = True

    def __post_init__(self) -> None:
        if self.divisor not in (1, 2, 4, 8):
            raise ZeroshotError(f"divisor {self.divisor}: natsbench_size expects 1, 2, 4 or 8")

    def spell(self, arch: Arch) -> str:
        """The official string: 64:64:64:64:64, whatever `divisor` is."""
        return ":".join(CHANNELS[gene] for gene in arch.genes)

    def parse_native(self, text: str) -> Arch:
        """Read the official string."""
        parts = text.split(":")
        if len(parts) != len(LAYERS) or not all(re.fullmatch("[0-9]+", part) for part in parts):
            shown = repr(cut(text))
            raise ZeroshotError(
                f"{shown} is no natsbench_size architecture: expected {len(LAYERS)} numbers of "
                "channels, as in '64:64:64:64:64'"
            )
        for layer, part in zip(LAYERS, parts, strict=True):
            if part not in CHANNELS:
                raise ZeroshotError(
                    f"{part} channels in {layer}: natsbench_size has {', '.join(CHANNELS)}"
                )
        return self.arch(*map(CHANNELS.index, parts))

    def cost(self, arch: Arch, task: Task | None = None) -> Cost:
        """Parameters, multiply-adds of convolutions and classifier, and weight tensors."""
        task = task or self.task
        widths, side = self._widths(arch), task.size
        convolutions = [Conv(9 * task.channels, widths[0], side)]
        for place, (inward, outward) in enumerate(pairwise((widths[0], *widths))):
            if place % 2:
                side = (side + 1) // 2
                convolutions.append(Conv(9 * inward, outward, side))
                convolutions.append(Conv(9 * outward, outward, side))
                convolutions.append(Conv(inward, outward, side, norm=False))
            else:
                convolutions += [Conv(9 * inward, outward, side)] * 2
                convolutions += [Conv(9 * outward, outward, side)] * 3
                convolutions += [Conv(inward, outward, side)] * (inward != outward)
        cost = total(convolutions, widths[-1], task)
        return cost._replace(params=cost.params + 2 * widths[-1])  # the last batch norm

    @property
    def small(self) -> "NatsBenchSize":
        """A quarter of the channels; with an eighth some layers would have a single one."""
        return replace(self, divisor=4)

    def build(self, arch: Arch, task: Task) -> nn.Module:
        """The benchmark's network."""
        return _Network(self._widths(arch), task)

    def blocks(self, module: nn.Module) -> tuple[str, ...]:
        """The stem, and every cell and residual block."""
        return ("stem", *(f"body.{i}" for i in range(len(LAYERS))))

    def _widths(self, arch: Arch) -> tuple[int, ...]:
        return tuple(int(CHANNELS[gene]) // self.divisor for gene in arch.genes)


class _Widening(Operations):
    """The operations of a cell whose input has other channels."""

    def skip(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(self.inward, self.outward, 1, bias=False), nn.BatchNorm2d(self.outward)
        )


def _cell(inward: int, outward: int) -> Cell:
    rest = Operations(outward, outward)
    return Cell(CELL, rest if inward == outward else _Widening(inward, outward), rest)


class _Network(nn.Module):
    def __init__(self, widths: tuple[int, ...], task: Task) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(task.channels, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0])
        )
        steps = pairwise((widths[0], *widths))
        self.body = nn.Sequential(
            *(
                (Reduction if place % 2 else _cell)(inward, outward)
                for place, (inward, outward) in enumerate(steps)
            )
        )
        self.head = Head(widths[-1], task.classes)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.body(self.stem(inputs)))
