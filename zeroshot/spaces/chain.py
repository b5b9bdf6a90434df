"""Chains: layer by layer a convolution or pooling, its width, stride and skip; dense layers."""

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from zeroshot.core import Cost
from zeroshot.errors import ZeroshotError, cut
from zeroshot.spaces.layers import Conv2d
from zeroshot.spaces.space import Arch, Axis, Space, Task

OPS = ("none", "conv1x1", "conv3x3", "conv5x5", "conv7x7", "max_pool3x3", "max_pool5x5")
SKIPS = ("none", "2", "3")  # how many layers back
NONE = 0


@dataclass(frozen=True)
class Chain(Space):
    """Convolutions and poolings one after another, global average pooling, dense layers.

    A global space: every layer is chosen for itself, as in MetaQNN and by Zoph and Le
    (arXiv:1611.01578). Of each layer the axes say what it is, its stride, its width, and its skip:
    what else it reads, beside the layer before, side by side with it (concatenated, as Zoph and Le
    do). 'none' leaves a layer out, so that a product of axes holds chains of every length up to
    `layers`. A skip counts those layers only that are there, the image being the first thing to
    read; one that leads beyond the image is none.

    Differs: convolutions are followed by batch norm and ReLU, which MetaQNN has not. A map that is
    larger than the one beside it loses the rows and columns that stride 2 skips; Zoph and Le fill
    up the smaller one with zeros. Dense layers follow a global pooling, so that networks fit images
    of any size. There are no fixed rules such as MetaQNN's against pooling twice.

    Attributes:
        layers: convolutions and poolings, at most.
        widths: options of a convolution's channels.
        dense_layers: dense layers before the classifier, at most.
        dense: options of their width.
        narrow: multiplies all widths of what is built, not of what is counted.
    """

    layers: int = 10
    widths: tuple[int, ...] = (32, 64, 128, 256)
    dense_layers: int = 2
    dense: tuple[int, ...] = (128, 256, 512)
    narrow: float = 1.0

    name = "chain"
    source = "arXiv:1611.02167"
    channels_last = True

    def __post_init__(self) -> None:
        for field, least in (("layers", 1), ("dense_layers", 0)):
            if getattr(self, field) < least:
                raise ZeroshotError(f"{field} {getattr(self, field)}: chain needs at least {least}")
        for field in ("widths", "dense"):
            options = getattr(self, field)
            if not options or min(options) <= 0 or len(set(options)) < len(options):
                raise ZeroshotError(
                    f"{field} {options}: chain needs different positive numbers to choose from"
                )
        if self.narrow <= 0:
            raise ZeroshotError(f"narrow {self.narrow}: chain needs a positive number")

    @property
    def axes(self) -> tuple[Axis, ...]:  # type: ignore[override]
        """Operation, stride, width and skip of each layer, then the width of each dense layer."""
        return _axes(self.layers, self.widths, self.dense_layers, self.dense)

    @property
    def small(self) -> "Chain":
        """Networks an eighth as wide."""
        return replace(self, narrow=self.narrow / 8)

    # -- notation ------------------------------------------------------------------------------

    def spell(self, arch: Arch) -> str:
        """MetaQNN's notation, as in C(64,3,1) P(3,2) C(128,5,1)+2 GAP FC(512).

        C(width, kernel, stride) is a convolution, P(kernel, stride) a max-pooling, FC(width) a
        dense layer; +2 is a skip. Architectures that are not canonical are spelled by their
        options, for their notation would not say what was chosen for absent layers.
        """
        if self.canonical(arch) != arch:
            return super().spell(arch)
        layers, dense = self._plan(arch)
        words = [str(layer) for layer in layers]
        return " ".join((*words, "GAP", *(f"FC({width})" for width in dense)))

    def parse_native(self, text: str) -> Arch:
        """Read that notation; commas may stand between the layers."""

        def wrong(expected: str) -> NoReturn:
            shown = cut(text)
            raise ZeroshotError(f"{shown!r} is no chain architecture: expected {expected}")

        words = re.split(r",?\s+|(?<=\)),", text)
        if words.count("GAP") != 1:
            wrong("layers, GAP, dense layers: something like 'C(64,3,1) P(3,2) GAP FC(128)'")
        middle = words.index("GAP")
        genes: list[int] = []

        def choose(axis: Axis, option: str) -> None:
            if option not in axis.options:
                wrong(f"{axis.name} {' or '.join(axis.options)}, found {option[:40]}")
            genes.append(axis.options.index(option))

        if middle > self.layers or len(words) - middle - 1 > self.dense_layers:
            wrong(f"at most {self.layers} layers and {self.dense_layers} dense layers")
        for number, word in enumerate(words[:middle]):
            operation, stride, width, skip = self.axes[4 * number :][:4]
            found = _LAYER.fullmatch(word)
            if not found:
                wrong(f"C(width,kernel,stride) or P(kernel,stride), found {word[:40]!r}")
            kernel = f"{found['kernel']}x{found['kernel']}"
            choose(operation, f"conv{kernel}" if found["width"] else f"max_pool{kernel}")
            choose(stride, found["stride"])
            choose(width, found["width"] or width.options[0])
            choose(skip, found["skip"] or "none")
        genes += [0] * (4 * (self.layers - middle))
        for axis, word in zip(self.axes[4 * self.layers :], words[middle + 1 :], strict=False):
            found = re.fullmatch(r"FC\((\d+)\)", word, re.ASCII)
            choose(axis, found[1] if found else word)
        return self.arch(*genes, *(0,) * (len(self.axes) - len(genes)))

    # -- what an architecture is ---------------------------------------------------------------

    def canonical(self, arch: Arch) -> Arch:
        """Absent layers come last; what says nothing takes the first option.

        That is all of an absent layer, the width of a pooling, a skip from beyond the image.
        """
        genes: list[int] = []
        for operation, stride, width, skip in _fours(arch.genes[: 4 * self.layers]):
            if operation != NONE:
                reached = skip if skip <= len(genes) // 4 else NONE
                is_pool = OPS[operation].startswith("max_pool")
                genes += (operation, stride, 0 if is_pool else width, reached)
        genes += [0] * (4 * self.layers - len(genes))
        dense = [gene for gene in arch.genes[4 * self.layers :] if gene != NONE]
        return self.arch(*genes, *dense, *(0,) * (self.dense_layers - len(dense)))

    def cost(self, arch: Arch, task: Task | None = None) -> Cost:
        """Parameters, multiply-adds and weight tensors of the network of full width."""
        return Space.cost(replace(self, narrow=1.0), arch, task)

    # -- networks ------------------------------------------------------------------------------

    def build(self, arch: Arch, task: Task) -> nn.Module:
        """The network, for images of any size."""
        layers, dense = self._plan(self.canonical(arch))
        layers = [layer._replace(width=self._narrowed(layer.width)) for layer in layers]
        return _Network(layers, [self._narrowed(width) for width in dense], task)

    def blocks(self, module: nn.Module) -> tuple[str, ...]:
        """The convolutions and poolings."""
        assert isinstance(module, _Network)
        return tuple(f"body.{i}" for i in range(len(module.body)))

    def _plan(self, arch: Arch) -> tuple[list["_Layer"], list[int]]:
        """The layers that a canonical architecture has, and the widths of its dense layers."""
        layers = [
            _Layer(
                OPS[operation].startswith("conv"),
                int(OPS[operation][-1]),
                1 + stride,
                self.widths[width],
                int(SKIPS[skip]) if skip else 0,
            )
            for operation, stride, width, skip in _fours(arch.genes[: 4 * self.layers])
            if operation != NONE
        ]
        return layers, [self.dense[gene - 1] for gene in arch.genes[4 * self.layers :] if gene]

    def _narrowed(self, width: int) -> int:
        return max(round(width * self.narrow), 1)


class _Layer(NamedTuple):
    """A convolution or pooling in numbers."""

    is_conv: bool
    kernel: int
    stride: int
    width: int
    skip: int  # how many layers back; 0 without

    def __str__(self) -> str:
        kind = f"C({self.width},{self.kernel}" if self.is_conv else f"P({self.kernel}"
        return f"{kind},{self.stride}){f'+{self.skip}' if self.skip else ''}"


_LAYER = re.compile(
    r"(?:C\((?P<width>\d+),|P\()(?P<kernel>\d+),(?P<stride>\d+)\)(?:\+(?P<skip>\d+))?", re.ASCII
)


@cache
def _axes(
    layers: int, widths: tuple[int, ...], dense_layers: int, dense: tuple[int, ...]
) -> tuple[Axis, ...]:
    return (
        *(
            Axis(f"layer {number} {name}", options)
            for number in range(1, layers + 1)
            for name, options in (
                ("operation", OPS),
                ("stride", ("1", "2")),
                ("width", tuple(map(str, widths))),
                ("skip", SKIPS),
            )
        ),
        *(
            Axis(f"dense layer {number}", ("none", *map(str, dense)))
            for number in range(1, dense_layers + 1)
        ),
    )


def _fours(genes: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    """What belongs to each layer: four genes, in the order of its axes."""
    return list(zip(genes[::4], genes[1::4], genes[2::4], genes[3::4], strict=True))


# -- networks ------------------------------------------------------------------------------------


class _Network(nn.Module):
    def __init__(self, layers: list[_Layer], dense: list[int], task: Task) -> None:
        super().__init__()
        body: list[nn.Module] = []
        widths, strides = [task.channels], [1]  # of the image and of every layer's map
        self.reads: list[tuple[int, int]] = []  # layers back, and every how manieth pixel
        for layer in layers:
            inward, step = widths[-1], 0
            if layer.skip:
                inward += widths[-layer.skip]
                step = strides[-1] // strides[-layer.skip]
            self.reads.append((layer.skip, step))
            if layer.is_conv:
                conv = Conv2d(
                    inward, layer.width, layer.kernel, layer.stride, layer.kernel // 2, bias=False
                )
                body.append(nn.Sequential(conv, nn.BatchNorm2d(layer.width), nn.ReLU()))
            else:
                body.append(nn.MaxPool2d(layer.kernel, layer.stride, layer.kernel // 2))
            widths.append(layer.width if layer.is_conv else inward)
            strides.append(strides[-1] * layer.stride)
        self.body = nn.ModuleList(body)
        inward = widths[-1]
        head: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        for width in dense:
            head += [nn.Linear(inward, width), nn.ReLU()]
            inward = width
        self.head = nn.Sequential(*head, nn.Linear(inward, task.classes))

    def forward(self, inputs: Tensor) -> Tensor:
        maps = [inputs]
        for layer, (back, step) in zip(self.body, self.reads, strict=True):
            found = maps[-1]
            if back:
                found = torch.cat([found, maps[-back][:, :, ::step, ::step]], dim=1)
            maps.append(layer(found))
        return self.head(maps[-1])
