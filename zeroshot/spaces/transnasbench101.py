"""TransNAS-Bench-101: 4,096 cells (micro) and 3,256 stacks of residual blocks (macro)."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from torch import Tensor, nn

from zeroshot.core import Cost
from zeroshot.errors import ZeroshotError, cut
from zeroshot.spaces.cells import (
    CONV1,
    CONV3,
    EDGES,
    SKIP,
    Cell,
    Conv,
    Head,
    Operations,
    Sum,
    function,
    plain_cell,
    smallest_cells,
    total,
)
from zeroshot.spaces.constrained import Constrained
from zeroshot.spaces.layers import Conv2d, FactorizedReduce, ReluConvBn
from zeroshot.spaces.space import Arch, Axis, Space, Task, tupled

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")  # the first of NAS-Bench-201
MICRO_MODULES = "41414"
MODULES = ("1", "2", "3", "4")  # plain, twice the channels, half the size, both
LEAST_MODULES, MOST_MODULES = 4, 6
SCENES = Task(size=64, classes=47)


@dataclass(frozen=True)
class TransNasBench101Micro(Space):
    """The benchmark's cell-level space: one cell of 4 nodes and 6 edges, repeated.

    The nodes and edges are those of NAS-Bench-201, with the operations zero, skip, 1×1 and 3×3
    convolution (0 to 3 in the benchmark's strings). A stem of two convolutions that divides the
    size by 4, then modules 41414 of `cells` cells each: the first cell of a module 4 halves the
    size and doubles the channels on the edges that leave its input, where a skip is two 1×1
    convolutions. Global average pooling, classifier.

    The task is scene classification, 47 classes. The benchmark's images have 256 × 256 pixels;
    ours have 64 × 64 by default, to be scored on a CPU: a sixteenth of the multiply-adds. The
    classifier is that of the benchmark's classification tasks, its convolutions draw their weights
    as `init` says. Parameters are counted as the benchmark does, with operations that cannot reach
    the output; the network leaves them out.

    Attributes:
        channels: after the stem; even, for half of them are between its two convolutions.
        cells: of each module.
    """

    channels: int = 64
    cells: int = 2

    name = "transnasbench101_micro"
    axes = tuple(Axis(f"{i}->{j}", OPS) for i, j in EDGES)
    source = "arXiv:2105.11871"
    task = SCENES
    mixable = True

    def __post_init__(self) -> None:
        _check(self)

    def spell(self, arch: Arch) -> str:
        """The benchmark's string, 64-41414-a_bc_def, whatever `channels` is."""
        a, b, c, d, e, f = arch.genes
        return f"64-{MICRO_MODULES}-{a}_{b}{c}_{d}{e}{f}"

    def parse_native(self, text: str) -> Arch:
        """Read the benchmark's string, or its six operations as in '(1, 0, 2, 3, 3, 3)'."""
        found = re.fullmatch(rf"64-{MICRO_MODULES}-([0-3])_([0-3]{{2}})_([0-3]{{3}})", text)
        digits = "".join(found.groups()) if found else tupled(text)
        if not re.fullmatch("[0-3]{6}", digits):
            raise ZeroshotError(
                f"{_shown(text)} is no {self.name} architecture: expected "
                f"'64-{MICRO_MODULES}-a_bc_def' with an operation from 0 ({OPS[0]}) to 3 "
                f"({OPS[3]}) for each letter, as in '64-{MICRO_MODULES}-1_02_333'"
            )
        return self.arch(*map(int, digits))

    def canonical(self, arch: Arch) -> Arch:
        """The smallest cell with the same function at initialisation.

        As in `NasBench201`, but that in cells which halve the size a skip from the input is an
        operation like others.
        """
        return self.arch(*_representatives()[function(arch.genes, reducing=True)])

    def connected(self, arch: Arch) -> bool:
        """Whether some path of operations other than 'none' leads from input to output."""
        return bool(function(arch.genes))

    def cost(self, arch: Arch, task: Task | None = None) -> Cost:
        """Parameters, multiply-adds of convolutions and classifier, and weight tensors."""
        task = task or self.task
        convolutions = []
        for block, side in _sized(MICRO_MODULES, self, task):
            for (source, _), op in zip(EDGES, arch.genes, strict=True):
                inward = block.outward if source else block.inward
                if op in (CONV1, CONV3):
                    area = 9 if op == CONV3 else 1
                    convolutions.append(Conv(area * inward, block.outward, side))
                elif op == SKIP and block.stride == 2 and not source:
                    convolutions += [Conv(inward, block.outward // 2, side)] * 2
        return _total(MICRO_MODULES, convolutions, self, task)

    @property
    def prunable(self) -> Arch:
        """All options but 'none', as TE-NAS has it on NAS-Bench-201: 729 networks."""
        return Arch(self.name, (tuple(range(1, len(OPS))),) * len(EDGES))

    @property
    def searched(self) -> "TransNasBench101Micro":
        """4 channels, one cell per module."""
        return replace(self, channels=4, cells=1)

    @property
    def small(self) -> "TransNasBench101Micro":
        """8 channels, one cell per module."""
        return replace(self, channels=8, cells=1)

    def build(self, arch: Arch, task: Task) -> nn.Module:
        """The benchmark's network, an edge being the mean of the operations open on it.

        `arch` should be canonical if it is a network, or dead operations are computed.
        """

        def cell(block: _Block) -> nn.Module:
            if block.stride == 1:
                return plain_cell(arch.open, block.outward)
            rest = Operations(block.outward, block.outward)
            return Cell(arch.open, _Reducing(block.inward, block.outward, block.stride), rest)

        return _Network(MICRO_MODULES, self.channels, self.cells, cell, task)

    def thin(self, arch: Arch, task: Task) -> nn.Module:
        """As on NAS-Bench-201: one cell on one raw channel, BN, ReLU, pooling, classifier."""
        return nn.Sequential(plain_cell(arch.open, 1), Head(1, task.classes))

    def blocks(self, module: nn.Module) -> tuple[str, ...]:
        """The stem and every cell."""
        return _block_names(module)


@dataclass(frozen=True)
class TransNasBench101Macro(Constrained):
    """The benchmark's macro space: 4 to 6 modules of residual blocks.

    A module leaves things as they are (1), doubles the channels (2), halves the size (3) or does
    both (4). In all 1 to 4 modules halve the size and 1 to 3 double the channels, which gives the
    published 3,256 networks. Stem, classifier and task are those of `TransNasBench101Micro`.

    The first four axes are the first four modules; the fifth and sixth may be missing. The order is
    that of these axes, not the benchmark's.

    Attributes:
        channels: after the stem; even, for half of them are between its two convolutions.
        cells: residual blocks of each module; the first changes size and channels.
    """

    channels: int = 64
    cells: int = 2

    name = "transnasbench101_macro"
    axes = tuple(
        Axis(f"module {place + 1}", MODULES if place < LEAST_MODULES else ("none", *MODULES))
        for place in range(MOST_MODULES)
    )
    source = "arXiv:2105.11871"
    task = SCENES

    def __post_init__(self) -> None:
        _check(self)

    # -- which points there are ----------------------------------------------------------------

    def flaw(self, genes: tuple[int, ...]) -> str | None:
        """What is wrong with the modules, or with how often they change size and channels."""
        kinds = [axis.options[gene] for axis, gene in zip(self.axes, genes, strict=True)]
        if kinds[-2] == "none" and kinds[-1] != "none":
            return "there is a sixth module but no fifth"
        halved = sum(kind in ("3", "4") for kind in kinds)
        doubled = sum(kind in ("2", "4") for kind in kinds)
        if not 1 <= halved <= 4:
            return f"{halved} modules (3 or 4) halve the size; expected 1 to 4"
        if not 1 <= doubled <= 3:
            return f"{doubled} modules (2 or 4) double the channels; expected 1 to 3"
        return None

    @property
    def size(self) -> int:
        """3,256."""
        return len(_macros(self))

    def count(self, arch: Arch) -> int:
        """How many networks a supernet holds."""
        return sum(1 for _ in self.subspace(arch))

    def subspace(self, arch: Arch) -> Iterator[Arch]:
        """The networks that a supernet holds."""
        return (self.arch(*g) for g in product(*arch.open) if self.flaw(g) is None)

    def at(self, index: int) -> Arch:
        """The architecture of an index, in the order of `subspace`."""
        self._check_index(index)
        return _macros(self)[index]

    def index(self, arch: Arch) -> int:
        """The index of an architecture: the inverse of `at`."""
        return _macros(self).index(self.arch(*self.genes(arch)))

    # -- notation ------------------------------------------------------------------------------

    def spell(self, arch: Arch) -> str:
        """The benchmark's string, 64-1234-basic, whatever `channels` is."""
        return f"64-{self._modules(arch)}-basic"

    def parse_native(self, text: str) -> Arch:
        """Read the benchmark's string, or NASLib's kinds of modules, with zeros at the end."""
        found = re.fullmatch(r"64-([1-4]+)-basic", text)
        digits = found[1] if found else tupled(text).rstrip("0")
        if not re.fullmatch(rf"[1-4]{{{LEAST_MODULES},{MOST_MODULES}}}", digits):
            raise ZeroshotError(
                f"{_shown(text)} is no {self.name} architecture: expected '64-MODULES-basic' with "
                f"{LEAST_MODULES} to {MOST_MODULES} digits from 1 to 4, as in '64-1234-basic'"
            )
        kinds = (*digits, *("none",) * (MOST_MODULES - len(digits)))
        pairs = zip(self.axes, kinds, strict=True)
        return self.arch(*(axis.options.index(kind) for axis, kind in pairs))

    # -- what an architecture is ---------------------------------------------------------------

    def cost(self, arch: Arch, task: Task | None = None) -> Cost:
        """Parameters, multiply-adds of convolutions and classifier, and weight tensors."""
        task = task or self.task
        modules = self._modules(arch)
        convolutions = []
        for block, side in _sized(modules, self, task):
            convolutions.append(Conv(9 * block.inward, block.outward, side))
            convolutions.append(Conv(9 * block.outward, block.outward, side))
            if block.changes:
                convolutions.append(Conv(block.inward, block.outward, side))
        return _total(modules, convolutions, self, task)

    @property
    def small(self) -> "TransNasBench101Macro":
        """8 channels, one block per module."""
        return replace(self, channels=8, cells=1)

    # -- networks ------------------------------------------------------------------------------

    def build(self, arch: Arch, task: Task) -> nn.Module:
        """The benchmark's network."""
        return _Network(self._modules(arch), self.channels, self.cells, _Residual, task)

    def blocks(self, module: nn.Module) -> tuple[str, ...]:
        """The stem and every residual block."""
        return _block_names(module)

    def _modules(self, arch: Arch) -> str:
        pairs = zip(self.axes, arch.genes, strict=True)
        return "".join(axis.options[gene] for axis, gene in pairs).replace("none", "")


def _check(space: TransNasBench101Micro | TransNasBench101Macro) -> None:
    if space.channels < 2 or space.channels % 2:
        raise ZeroshotError(f"channels {space.channels}: {space.name} needs an even number")
    if space.cells < 1:
        raise ZeroshotError(f"cells {space.cells}: {space.name} needs at least 1")


def _shown(text: str) -> str:
    return repr(cut(text))


def _halved(size: int) -> int:
    return (size + 1) // 2


@lru_cache(maxsize=1)
def _representatives() -> dict[Sum, tuple[int, ...]]:
    """Function -> its lexicographically smallest cell, which has no dead operation."""
    return smallest_cells(len(OPS), reducing=True)


@lru_cache(maxsize=4)
def _macros(space: TransNasBench101Macro) -> tuple[Arch, ...]:
    return tuple(space.subspace(space.whole))


# -- networks ------------------------------------------------------------------------------------


class _Block(NamedTuple):
    """What a block changes."""

    inward: int
    outward: int
    stride: int

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return self.stride != 1 or self.inward != self.outward


def _blocks(modules: str, channels: int, cells: int) -> Iterator[_Block]:
    """All blocks of a network, the first of each module changing size and channels."""
    for kind in modules:
        outward = 2 * channels if kind in "24" else channels
        yield _Block(channels, outward, 2 if kind in "34" else 1)
        yield from [_Block(outward, outward, 1)] * (cells - 1)
        channels = outward


def _width(modules: str, channels: int) -> int:
    """The channels behind all modules."""
    return channels * 2 ** sum(kind in "24" for kind in modules)


def _sized(
    modules: str, shape: TransNasBench101Micro | TransNasBench101Macro, task: Task
) -> Iterator[tuple[_Block, int]]:
    """All blocks of a network, with the side of the maps they answer."""
    side = _halved(_halved(task.size))
    for block in _blocks(modules, shape.channels, shape.cells):
        side = _halved(side) if block.stride == 2 else side
        yield block, side


def _total(
    modules: str,
    convolutions: list[Conv],
    shape: TransNasBench101Micro | TransNasBench101Macro,
    task: Task,
) -> Cost:
    """The cost of a network whose blocks have these convolutions."""
    half, side = shape.channels // 2, _halved(task.size)
    stem = (
        Conv(9 * task.channels, half, side),
        Conv(9 * half, shape.channels, _halved(side)),
    )
    return total((*stem, *convolutions), _width(modules, shape.channels), task)


class _Reducing(Operations):
    """The operations that halve the size."""

    def skip(self) -> nn.Module:
        return FactorizedReduce(self.inward, self.outward)

    def zero(self, inputs: Tensor) -> Tensor:
        smaller = inputs[:, :, :: self.stride, :: self.stride] * 0.0
        return smaller.repeat(1, self.outward // self.inward, 1, 1)


class _Residual(nn.Module):
    """ResNet's basic block, with ReLU before the convolutions."""

    def __init__(self, block: _Block) -> None:
        super().__init__()
        self.conv_a = ReluConvBn(block.inward, block.outward, 3, block.stride)
        self.conv_b = ReluConvBn(block.outward, block.outward, 3)
        self.downsample = (
            nn.Sequential(
                Conv2d(block.inward, block.outward, 1, block.stride, bias=False),
                nn.BatchNorm2d(block.outward, eps=1.0),  # as trained, if by a slip
            )
            if block.changes
            else nn.Identity()
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return self.downsample(inputs) + self.conv_b(self.conv_a(inputs))


class _Network(nn.Module):
    def __init__(
        self,
        modules: str,
        channels: int,
        cells: int,
        make: Callable[[_Block], nn.Module],
        task: Task,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(task.channels, channels // 2, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels // 2),
            ReluConvBn(channels // 2, channels, 3, stride=2),
        )
        self.body = nn.Sequential(*map(make, _blocks(modules, channels, cells)))
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(_width(modules, channels), task.classes),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.body(self.stem(inputs)))


def _block_names(module: nn.Module) -> tuple[str, ...]:
    body = module.get_submodule("body")
    return ("stem", *(f"body.{name}" for name, _ in body.named_children()))
