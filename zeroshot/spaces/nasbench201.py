"""NAS-Bench-201: cells of 4 nodes, 6 edges and 5 operations; 15,625 networks."""

import random
import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import NoReturn

from torch import Tensor, nn

from zeroshot.core import Cost
from zeroshot.errors import ZeroshotError
from zeroshot.spaces.cells import (
    CONV1,
    CONV3,
    EDGES,
    OPS,
    Head,
    Reduction,
    Sum,
    function,
    plain_cell,
    smallest_cells,
)
from zeroshot.spaces.space import Arch, Axis, Space, Task


@dataclass(frozen=True)
class NasBench201(Space):
    """The macro skeleton of the benchmark around one cell, repeated.

    Stem, three stages of `cells` cells with `channels`, 2·`channels` and 4·`channels` channels,
    a residual block with stride 2 between stages, BN-ReLU, global average pooling, classifier.

    Index and string are the benchmark's own. Parameters and multiply-adds are those of the
    benchmark, which counts operations that cannot reach the output; the network leaves them out.
    """

    channels: int = 16
    cells: int = 5

    name = "nasbench201"
    axes = tuple(Axis(f"{i}->{j}", OPS) for i, j in EDGES)
    source = "arXiv:2001.00326"
    mixable = True
    channels_last = True

    # -- notation ------------------------------------------------------------------------------

    def at(self, index: int) -> Arch:
        """The architecture of the benchmark's index."""
        self._check_index(index)
        return self.arch(*_order()[index])

    def index(self, arch: Arch) -> int:
        """The benchmark's index of an architecture."""
        return _positions()[self.genes(arch)]

    def spell(self, arch: Arch) -> str:
        """The official string: |op~0|+|op~0|op~1|+|op~0|op~1|op~2|."""
        ops = iter(arch.genes)
        nodes = (
            "".join(f"|{OPS[next(ops)]}~{source}" for source in range(node)) + "|"
            for node in range(1, 4)
        )
        return "+".join(nodes)

    def parse_native(self, text: str) -> Arch:
        """Read the official string; the error names the place and what was expected there."""
        where, genes = 0, []

        def wrong(expected: str) -> NoReturn:
            rest = text[where : where + 14]
            raise ZeroshotError(
                f"{text!r} is no nasbench201 architecture: at character {where + 1} expected "
                f"{expected}, found {repr(rest) if rest else 'the end'}"
            )

        for node in range(1, 4):
            if node > 1:
                if text[where : where + 1] != "+":
                    wrong(f"'+' before the operations of node {node}")
                where += 1
            for source in range(node):
                if text[where : where + 1] != "|":
                    wrong(f"'|' before an operation of edge {source}->{node}")
                where += 1
                found = re.compile(r"[^~|+]*").match(text, where)
                assert found is not None
                if found[0] not in OPS:
                    wrong(f"one of {', '.join(OPS)} for edge {source}->{node}")
                genes.append(OPS.index(found[0]))
                where = found.end()
                if text[where : where + 2] != f"~{source}":
                    wrong(f"'~{source}'")
                where += 2
            if text[where : where + 1] != "|":
                wrong(f"'|' after the last operation of node {node}")
            where += 1
        if where != len(text):
            wrong("the end")
        return self.arch(*genes)

    # -- what an architecture is ---------------------------------------------------------------

    def canonical(self, arch: Arch) -> Arch:
        """The smallest cell with the same function at initialisation.

        A node is the multiset of the terms it sums: 'none' adds no term, 'skip_connect' the terms
        of its source, any other operation one term, unless its source is zero (convolution, batch
        norm with β = 0 and pooling all map zero to zero). Equal multisets at the output make equal
        networks up to the order of floating-point sums. That gives 4,930 classes where the
        literature has 6,466 strings, for these neither flatten sums reached through skips in
        different order nor drop the zeros they mark.
        """
        return self.arch(*_representatives()[function(arch.genes)])

    def connected(self, arch: Arch) -> bool:
        """Whether some path of operations other than 'none' leads from input to output."""
        return bool(function(arch.genes))

    def cost(self, arch: Arch, task: Task | None = None) -> Cost:
        """Parameters, multiply-adds of convolutions and classifier, and weight tensors."""
        task = task or self.task
        ops = Counter(arch.genes)
        widths = [self.channels * 2**stage for stage in range(3)]
        areas = [_halved(task.size, times) ** 2 for times in range(3)]
        parameters = 9 * task.channels * widths[0] + 2 * widths[0]  # stem
        macs = 9 * task.channels * widths[0] * areas[0]
        for width, area in zip(widths, areas, strict=True):
            weights = width**2 * (9 * ops[CONV3] + ops[CONV1])
            parameters += self.cells * (weights + 2 * width * (ops[CONV3] + ops[CONV1]))
            macs += self.cells * weights * area
        for before, width, area in zip(widths, widths[1:], areas[1:], strict=False):
            weights = 9 * before * width + 9 * width**2 + before * width
            parameters += weights + 4 * width
            macs += weights * area
        parameters += 2 * widths[-1] + (widths[-1] + 1) * task.classes
        macs += widths[-1] * task.classes
        tensors = 1 + 3 * self.cells * (ops[CONV3] + ops[CONV1]) + 2 * 3 + 1
        return Cost(parameters, macs, tensors)

    @property
    def prunable(self) -> Arch:
        """All options but 'none', as in TE-NAS: 4,096 networks."""
        return Arch(self.name, tuple(tuple(range(1, len(OPS))) for _ in EDGES))

    @property
    def searched(self) -> "NasBench201":
        """TE-NAS' supernet: 3 channels, one cell per stage."""
        return replace(self, channels=3, cells=1)

    @property
    def small(self) -> "NasBench201":
        """4 channels, three cells per stage: depth matters more than width (reproductions.md)."""
        return replace(self, channels=4, cells=3)

    # -- networks ------------------------------------------------------------------------------

    def build(self, arch: Arch, task: Task) -> nn.Module:
        """The benchmark's network, an edge being the mean of the operations open on it.

        `arch` should be canonical if it is a network, or dead operations are computed.
        """
        return _Network(arch.open, self.channels, self.cells, task)

    def thin(self, arch: Arch, task: Task) -> nn.Module:
        """TE-NAS' `network_thin`: one cell on one raw channel, BN, ReLU, pooling, classifier."""
        return nn.Sequential(plain_cell(arch.open, 1), Head(1, task.classes))

    def blocks(self, module: nn.Module) -> tuple[str, ...]:
        """The stem, and every cell and reduction."""
        return ("stem", *(f"body.{i}" for i in range(3 * self.cells + 2)))


def _halved(size: int, times: int) -> int:
    for _ in range(times):
        size = (size + 1) // 2  # convolution 3×3, stride 2, padding 1
    return size


@lru_cache(maxsize=1)
def _order() -> tuple[tuple[int, ...], ...]:
    """The benchmark's order: all cells, shuffled by Python's generator with seed 88."""
    genes = list(product(range(len(OPS)), repeat=len(EDGES)))
    random.Random(88).shuffle(genes)
    return tuple(genes)


@lru_cache(maxsize=1)
def _positions() -> dict[tuple[int, ...], int]:
    return {genes: index for index, genes in enumerate(_order())}


@lru_cache(maxsize=1)
def _representatives() -> dict[Sum, tuple[int, ...]]:
    """Function -> its lexicographically smallest cell, which has no dead operation."""
    return smallest_cells(len(OPS))


class _Network(nn.Module):
    def __init__(
        self, open_: tuple[tuple[int, ...], ...], channels: int, cells: int, task: Task
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(task.channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        body: list[nn.Module] = []
        for stage in range(3):
            width = channels * 2**stage
            if stage:
                body.append(Reduction(width // 2, width))
            body += [plain_cell(open_, width) for _ in range(cells)]
        self.body = nn.Sequential(*body)
        self.head = Head(width, task.classes)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.body(self.stem(inputs)))
