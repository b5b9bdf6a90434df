"""Mobile networks: stages of inverted residuals, each with kernel, expansion, depth, squeeze."""

import math
import re
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import NamedTuple, NoReturn

from torch import Tensor, nn

from zeroshot.core import Cost
from zeroshot.errors import ZeroshotError, cut
from zeroshot.spaces.space import Arch, Axis, Space, Task

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
}


class Stage(NamedTuple):
    """Blocks of one width, and what can be chosen for all of them together.

    A space that decides block by block, as ProxylessNAS does, has stages of one block each. Its
    `layers` may be 0 where a block neither strides nor changes the width: that is a skip.
    """

    channels: int
    stride: int  # of the first block
    expansions: tuple[float | int, ...] = (
        1,
        4,
        6,
    )  # channels within a block, for each that it gets
    kernels: tuple[int, ...] = (3, 5)  # of the depthwise convolution
    layers: tuple[int, ...] = (1, 2, 3)  # number of blocks
    squeezes: tuple[int, ...] = (0, 1)  # without or with squeeze-excite
    activation: str | None = None  # of the blocks; by default the space's


MNASNET = (
    Stage(16, 1),
    Stage(24, 2),
    Stage(40, 2),
    Stage(80, 2),
    Stage(112, 1),
    Stage(192, 2, layers=(1, 2, 3, 4)),
    Stage(320, 1),
)


@dataclass(frozen=True)
class MobileNet(Space):
    """Stem, stages of inverted residuals, a 1×1 convolution, global average pooling, classifier.

    By default the space of Accel-NASBench (MnasNet's skeleton of seven stages with EfficientNet's
    blocks), in which EfficientNet-B0 is a point. Other spaces of the family are values of the same
    class: `MOBILENETV2`, `MOBILENETV3`, `PROXYLESSNAS` and `FBNET`, to be used as
    'zeroshot.spaces.mobilenet:PROXYLESSNAS'.

    Parameters and multiply-adds are those of the network that is meant, of full width and on images
    of `resolution` pixels. What is built to rank it may be narrower and is shown smaller images.
    The parameter counts of Accel-NASBench are met exactly (1,500 rows were compared). Its macs_M
    count more than multiply-adds, 4 to 14 % of the whole: with 4 for each value out of a batch
    norm, 1 for each that squeeze-excite and the last pooling average, and 1 for each average, they
    are met exactly too.

    Left out are dropout and stochastic depth, which only matter in training.

    Attributes:
        stages: in forward order.
        stem: channels of the first convolution, which has stride 2.
        head: channels of the 1×1 convolution, then of linear layers before the classifier.
        activation: of stem and head: relu, relu6, silu or hardswish.
        hard_sigmoid: squeeze-excite of MobileNetV3: it squeezes the channels within the block to a
            quarter, with ReLU and a hard sigmoid. Otherwise EfficientNet's: to a quarter of the
            channels that the block gets, with the block's activation and a sigmoid.
        width: multiplies all channels, rounded to multiples of 8. That of `head` too: the published
            MobileNetV2 keeps 1,280 there for widths below 1.
        depth: multiplies the number of blocks of a stage, rounded up.
        resolution: size of the images that the cost is counted for.
        images: size of the images that the networks are shown by default.
        narrow: multiplies the channels of what is built, not of what is counted.
    """

    stages: tuple[Stage, ...] = MNASNET
    stem: int = 32
    head: tuple[int, ...] = (1280,)
    activation: str = "silu"
    hard_sigmoid: bool = False
    width: float = 1.0
    depth: float = 1.0
    resolution: int = 224
    images: int = 64
    narrow: float = 1.0

    name = "mobilenet"
    source = "arXiv:1807.11626"
    channels_last = True

    def __post_init__(self) -> None:
        for field in ("width", "depth", "resolution", "images", "narrow", "stem"):
            if getattr(self, field) <= 0:
                raise ZeroshotError(
                    f"{field} {getattr(self, field)}: mobilenet needs a positive number"
                )
        if not self.stages or not self.head:
            raise ZeroshotError("mobilenet needs at least one stage and one width of the head")
        before = self.stem
        for number, stage in enumerate(self.stages, start=1):
            options = (stage.expansions, stage.kernels, stage.layers, stage.squeezes)
            if not all(options) or stage.stride not in (1, 2):
                raise ZeroshotError(
                    f"stage {number} of mobilenet needs options of every kind and stride 1 or 2, "
                    f"not {stage}"
                )
            if any(kernel % 2 == 0 for kernel in stage.kernels):
                raise ZeroshotError(
                    f"stage {number} of mobilenet: kernels {stage.kernels}; expected odd numbers"
                )
            if 0 in stage.layers and (stage.stride != 1 or stage.channels != before):
                raise ZeroshotError(
                    f"stage {number} of mobilenet cannot have 0 layers: it changes the map from "
                    f"{before} channels to {stage.channels} with stride {stage.stride}"
                )
            before = stage.channels
        for name in (self.activation, *(stage.activation for stage in self.stages)):
            if name is not None and name not in ACTIVATIONS:
                raise ZeroshotError(
                    f"activation {name!r} of mobilenet: expected {', '.join(ACTIVATIONS)}"
                )

    @property
    def axes(self) -> tuple[Axis, ...]:  # type: ignore[override]
        """Expansion, kernel, number of layers and squeeze-excite of each stage."""
        return _axes(self.stages)

    @property
    def task(self) -> Task:  # type: ignore[override]
        """ImageNet's classes, on smaller images."""
        return Task(size=self.images, classes=1000)

    def scaled(self, phi: float | int) -> "MobileNet":
        """EfficientNet's compound scaling: about 2^φ times the multiply-adds.

        Width grows by 1.1^φ, depth by 1.2^φ and resolution by 1.15^φ. The published B1 to B7 round
        these: give their three numbers as fields instead, B3 as width=1.2, depth=1.4,
        resolution=300.
        """
        return replace(
            self,
            width=self.width * 1.1**phi,
            depth=self.depth * 1.2**phi,
            resolution=round(self.resolution * 1.15**phi),
        )

    @property
    def small(self) -> "MobileNet":
        """Networks a quarter as wide."""
        return replace(self, narrow=self.narrow / 4)

    # -- notation ------------------------------------------------------------------------------

    def spell(self, arch: Arch) -> str:
        """Stage by stage expansion, kernel, layers, squeeze-excite, as in e1k3l1se0/e6k3l2se1/…."""
        pairs = zip(self.axes, arch.genes, strict=True)
        options = tuple(axis.options[gene] for axis, gene in pairs)
        return "/".join(f"e{e}k{k}l{n}se{s}" for e, k, n, s in _by_stage(options))

    def parse_native(self, text: str) -> Arch:
        """Read that, or the columns e, k, l and se of Accel-NASBench: 4 lists with commas between.

        '6 1 4 4 1 4 1,5 3 3 3 3 3 5,2 3 3 2 1 4 2,0 0 1 1 1 1 0' is such a row.
        """

        def wrong(expected: str) -> NoReturn:
            shown = cut(text)
            raise ZeroshotError(f"{shown!r} is no mobilenet architecture: expected {expected}")

        count = len(self.stages)
        if text.count(",") == 3:
            columns = [column.split() for column in text.split(",")]
            if {len(column) for column in columns} != {count}:
                wrong(f"{count} numbers, one for each stage, between commas")
            parts = [list(part) for part in zip(*columns, strict=True)]
        else:
            found = [_PART.fullmatch(part) for part in text.split("/")]
            if len(found) != count or None in found:
                wrong(f"{count} stages such as e6k3l2se1, with / between")
            parts = [list(part.groups()) for part in found if part]
        genes = []
        for axis, value in zip(self.axes, (value for part in parts for value in part), strict=True):
            if value not in axis.options:
                wrong(f"{axis.name} {' or '.join(axis.options)}, found {value!r}")
            genes.append(axis.options.index(value))
        return self.arch(*genes)

    # -- what an architecture is ---------------------------------------------------------------

    def canonical(self, arch: Arch) -> Arch:
        """Stages of 0 layers take the first options; so do numbers that `depth` makes the same."""
        genes: list[int] = []
        for stage, chosen in zip(self.stages, _by_stage(arch.genes), strict=True):
            count = self._blocks_of(stage, chosen)
            layers = next(
                n for n, option in enumerate(stage.layers) if self._scaled_depth(option) == count
            )
            genes += (*chosen[:2], layers, chosen[3]) if count else (0, 0, layers, 0)
        return self.arch(*genes)

    def cost(self, arch: Arch, task: Task | None = None) -> Cost:
        """Parameters, multiply-adds and weight tensors, for images of `resolution` pixels."""
        task = task or self.task
        size = _halved(self.resolution)
        params = macs = tensors = 0

        def add(weights: int, area: int, others: int) -> None:
            nonlocal params, macs, tensors
            params += weights + others
            macs += weights * area
            tensors += 1

        stem = _rounded(self.stem * self.width)
        add(9 * task.channels * stem, size**2, 2 * stem)
        width = stem
        for block in self._plan(arch, self.width):
            if block.within != block.inward:
                add(block.inward * block.within, size**2, 2 * block.within)
            size = _halved(size) if block.stride == 2 else size
            add(block.kernel**2 * block.within, size**2, 2 * block.within)
            if block.squeezed:
                add(block.within * block.squeezed, 1, block.squeezed)
                add(block.within * block.squeezed, 1, block.within)
            add(block.within * block.outward, size**2, 2 * block.outward)
            width = block.outward
        last, *hidden = (_rounded(channels * self.width) for channels in self.head)
        add(width * last, size**2, 2 * last)
        for outward in (*hidden, task.classes):
            add(last * outward, 1, outward)
            last = outward
        return Cost(params, macs, tensors)

    # -- networks ------------------------------------------------------------------------------

    def build(self, arch: Arch, task: Task) -> nn.Module:
        """The network, for images of any size."""
        width = self.width * self.narrow
        stem, *head = (_rounded(channels * width) for channels in (self.stem, *self.head))
        return _Network(self, stem, self._plan(arch, width), head, task)

    def blocks(self, module: nn.Module) -> tuple[str, ...]:
        """The inverted residuals."""
        assert isinstance(module, _Network)
        return tuple(f"body.{i}" for i in range(len(module.body)))

    def _plan(self, arch: Arch, width: float) -> tuple["_Plan", ...]:
        """What every block is, in forward order."""
        plan: list[_Plan] = []
        inward = _rounded(self.stem * width)
        for stage, chosen in zip(self.stages, _by_stage(arch.genes), strict=True):
            expansion, kernel = stage.expansions[chosen[0]], stage.kernels[chosen[1]]
            squeeze = stage.squeezes[chosen[3]]
            outward = _rounded(stage.channels * width)
            for number in range(self._blocks_of(stage, chosen)):
                within = _rounded(inward * expansion)
                quarter = _rounded(within / 4) if self.hard_sigmoid else max(inward // 4, 1)
                plan.append(
                    _Plan(
                        inward,
                        within,
                        outward,
                        kernel,
                        stage.stride if number == 0 else 1,
                        quarter if squeeze else 0,
                        stage.activation or self.activation,
                    )
                )
                inward = outward
        return tuple(plan)

    def _blocks_of(self, stage: Stage, chosen: tuple[int, ...]) -> int:
        return self._scaled_depth(stage.layers[chosen[2]])

    def _scaled_depth(self, layers: int) -> int:
        return math.ceil(layers * self.depth)


class _Plan(NamedTuple):
    """One inverted residual in numbers."""

    inward: int
    within: int
    outward: int
    kernel: int
    stride: int
    squeezed: int  # channels that squeeze-excite leaves; 0 without
    activation: str


_PART = re.compile(r"e([\d.]+)k(\d+)l(\d+)se([01])", re.ASCII)


@cache
def _axes(stages: tuple[Stage, ...]) -> tuple[Axis, ...]:
    return tuple(
        Axis(f"stage {number} {name}", tuple(f"{option:g}" for option in options))
        for number, stage in enumerate(stages, start=1)
        for name, options in (
            ("expansion", stage.expansions),
            ("kernel", stage.kernels),
            ("layers", stage.layers),
            ("squeeze-excite", stage.squeezes),
        )
    )


def _by_stage(values: tuple) -> list[tuple]:
    """What belongs to each stage: four values, in the order of its axes."""
    return [values[start : start + 4] for start in range(0, len(values), 4)]


def _rounded(channels: float | int) -> int:
    """The nearest multiple of 8, unless that takes away more than a tenth."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def _halved(size: int) -> int:
    return (size + 1) // 2


# -- networks ------------------------------------------------------------------------------------


def _conv_bn(
    inward: int, outward: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    padding = kernel // 2
    return [
        nn.Conv2d(inward, outward, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outward),
    ]


class _SqueezeExcite(nn.Module):
    """Scale each channel by what the means of all say about it."""

    def __init__(self, channels: int, squeezed: int, inner: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            inner,
            nn.Conv2d(squeezed, channels, 1),
            gate,
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * self.gate(inputs)


class _InvertedResidual(nn.Module):
    """Expand, convolve depthwise, scale channels, project; with a shortcut where shapes agree."""

    def __init__(self, plan: _Plan, *, hard_sigmoid: bool) -> None:
        super().__init__()
        activation = ACTIVATIONS[plan.activation]
        layers: list[nn.Module] = []
        if plan.within != plan.inward:
            layers += [*_conv_bn(plan.inward, plan.within), activation()]
        layers += _conv_bn(plan.within, plan.within, plan.kernel, plan.stride, plan.within)
        layers.append(activation())
        if plan.squeezed:
            inner, gate = (
                (nn.ReLU(), nn.Hardsigmoid()) if hard_sigmoid else (activation(), nn.Sigmoid())
            )
            layers.append(_SqueezeExcite(plan.within, plan.squeezed, inner, gate))
        self.layers = nn.Sequential(*layers, *_conv_bn(plan.within, plan.outward))
        self.has_shortcut = plan.stride == 1 and plan.inward == plan.outward

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self.layers(inputs)
        return inputs + outputs if self.has_shortcut else outputs


class _Network(nn.Module):
    def __init__(
        self, space: MobileNet, stem: int, plan: tuple[_Plan, ...], head: list[int], task: Task
    ) -> None:
        super().__init__()
        activation = ACTIVATIONS[space.activation]
        self.stem = nn.Sequential(*_conv_bn(task.channels, stem, 3, 2), activation())
        self.body = nn.Sequential(
            *(_InvertedResidual(block, hard_sigmoid=space.hard_sigmoid) for block in plan)
        )
        last = plan[-1].outward if plan else stem
        layers = [*_conv_bn(last, head[0]), activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        for inward, outward in pairwise(head):
            layers += [nn.Linear(inward, outward), activation()]
        self.head = nn.Sequential(*layers, nn.Linear(head[-1], task.classes))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.body(self.stem(inputs)))


# -- other spaces of the family ------------------------------------------------------------------


def _one_by_one(
    channels: int,
    stride: int,
    count: int,
    expansions: tuple[float | int, ...],
    kernels: tuple[int, ...],
) -> tuple[Stage, ...]:
    """Blocks that are chosen one by one; all but the first may be skipped."""
    first = Stage(channels, stride, expansions, kernels, (1,), (0,))
    return (first, *(first._replace(stride=1, layers=(0, 1)),) * (count - 1))


MOBILENETV2 = MobileNet(
    stages=(
        Stage(16, 1, (1,), (3,), (1,), (0,)),
        *(
            Stage(channels, stride, (3, 6), (3, 5, 7), (1, 2, 3, 4), (0,))
            for channels, stride in ((24, 2), (32, 2), (64, 2), (96, 1), (160, 2), (320, 1))
        ),
    ),
    activation="relu6",
)

# Block by block, for the published networks have expansions of their own almost everywhere.
MOBILENETV3 = MobileNet(
    stages=tuple(
        Stage(channels, stride, expansions, (3, 5, 7), layers, (0, 1), activation)
        for channels, stride, expansions, layers, activation in (
            (16, 1, (1,), (1,), "relu"),
            (24, 2, (3, 4, 6), (1,), "relu"),
            (24, 1, (3, 4, 6), (0, 1), "relu"),
            (40, 2, (3, 4, 6), (1,), "relu"),
            *((40, 1, (3, 4, 6), (0, 1), "relu"),) * 2,
            (80, 2, (2.3, 2.5, 3, 4, 6), (1,), "hardswish"),
            *((80, 1, (2.3, 2.5, 3, 4, 6), (0, 1), "hardswish"),) * 3,
            (112, 1, (3, 4, 6), (1,), "hardswish"),
            (112, 1, (3, 4, 6), (0, 1), "hardswish"),
            (160, 2, (3, 4, 6), (1,), "hardswish"),
            *((160, 1, (3, 4, 6), (0, 1), "hardswish"),) * 2,
        )
    ),
    stem=16,
    head=(960, 1280),
    activation="hardswish",
    hard_sigmoid=True,
)

PROXYLESSNAS = MobileNet(
    stages=(
        Stage(16, 1, (1,), (3,), (1,), (0,)),
        *_one_by_one(32, 2, 4, (3, 6), (3, 5, 7)),
        *_one_by_one(40, 2, 4, (3, 6), (3, 5, 7)),
        *_one_by_one(80, 2, 4, (3, 6), (3, 5, 7)),
        *_one_by_one(96, 1, 4, (3, 6), (3, 5, 7)),
        *_one_by_one(192, 2, 4, (3, 6), (3, 5, 7)),
        *_one_by_one(320, 1, 1, (3, 6), (3, 5, 7)),
    ),
    activation="relu6",
)

# Without its blocks of grouped 1×1 convolutions; and blocks that do not expand have one 1×1
# convolution here, where its own have two.
FBNET = MobileNet(
    stages=(
        *_one_by_one(16, 1, 1, (1, 3, 6), (3, 5)),
        *_one_by_one(24, 2, 4, (1, 3, 6), (3, 5)),
        *_one_by_one(32, 2, 4, (1, 3, 6), (3, 5)),
        *_one_by_one(64, 2, 4, (1, 3, 6), (3, 5)),
        *_one_by_one(112, 1, 4, (1, 3, 6), (3, 5)),
        *_one_by_one(184, 2, 4, (1, 3, 6), (3, 5)),
        *_one_by_one(352, 1, 1, (1, 3, 6), (3, 5)),
    ),
    stem=16,
    head=(1984,),
    activation="relu",
)
