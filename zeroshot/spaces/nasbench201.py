"""NAS-Bench-201: cells of 4 nodes, 6 edges and 5 operations; 15,625 networks."""

import random
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import NamedTuple, NoReturn

from torch import Tensor, nn

from zeroshot.core import Cost
from zeroshot.errors import ZeroshotError
from zeroshot.spaces.mixed import Mixed
from zeroshot.spaces.space import Arch, Axis, Space, Task

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = tuple((i, j) for j in range(1, 4) for i in range(j))  # 0→1, 0→2, 1→2, 0→3, 1→3, 2→3
NONE, SKIP, CONV1, CONV3, POOL = range(len(OPS))

# What a node computes: how often each term (operation, what it is applied to) enters its sum.
Sum = frozenset[tuple[object, int]]


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
        return _positions()[arch.genes]

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
            found = text[where : where + 14] or "the end"
            raise ZeroshotError(
                f"{text!r} is no nasbench201 architecture: at character {where + 1} expected "
                f"{expected}, found {found!r}"
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


def smallest_cells(operations: int, *, reducing: bool = False) -> dict[Sum, tuple[int, ...]]:
    """For every function, its lexicographically smallest cell of so many kinds of operation."""
    smallest: dict[Sum, tuple[int, ...]] = {}
    triples = tuple(product(range(operations), repeat=3))
    for first in triples:  # the edges to nodes 1 and 2
        nodes = _nodes(first, reducing)
        for last in triples:
            smallest.setdefault(_summed(nodes, last, reducing), first + last)
    return smallest


def function(genes: tuple[int, ...], *, reducing: bool = False) -> Sum:
    """What the output node computes, as a nested multiset; empty if it is zero.

    In a `reducing` cell a skip from the input has to change the map, so is an operation like any.
    """
    return _nodes(genes, reducing)[-1]


def _nodes(genes: tuple[int, ...], reducing: bool) -> list[Sum]:
    """What the input and each node compute to which the genes give operations."""
    nodes: list[Sum] = [frozenset({("input", 1)})]
    while genes:
        ops, genes = genes[: len(nodes)], genes[len(nodes) :]
        nodes.append(_summed(nodes, ops, reducing))
    return nodes


def _summed(nodes: list[Sum], ops: tuple[int, ...], reducing: bool) -> Sum:
    """What a node computes that sums the nodes before it, each by its operation."""
    terms: dict[object, int] = {}
    for source, (op, node) in enumerate(zip(ops, nodes, strict=True)):
        if op == NONE or not node:
            continue
        passed = node if op == SKIP and (source or not reducing) else (((op, node), 1),)
        for term, count in passed:
            terms[term] = terms.get(term, 0) + count
    return frozenset(terms.items())


class Conv(NamedTuple):
    """A convolution without bias, as it counts."""

    fan_in: int
    outward: int
    side: int  # of what it answers
    norm: bool = True  # whether batch norm follows

    @property
    def weights(self) -> int:
        """How many weights it has."""
        return self.fan_in * self.outward


def total(convolutions: Iterable[Conv], width: int, task: Task) -> Cost:
    """What convolutions, their batch norms and a classifier of `width` channels cost together."""
    convolutions = tuple(convolutions)
    return Cost(
        params=sum(conv.weights + 2 * conv.norm * conv.outward for conv in convolutions)
        + (width + 1) * task.classes,
        macs=sum(conv.weights * conv.side**2 for conv in convolutions) + width * task.classes,
        tensors=len(convolutions) + 1,
    )


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


class Operations:
    """The operations of edges of one cell; pooling and the first ReLU are one for all.

    Spaces with cells of the same nodes and edges inherit it where theirs differ.
    """

    def __init__(self, inward: int, outward: int, stride: int = 1) -> None:
        self.inward, self.outward, self.stride = inward, outward, stride
        self.relu = nn.ReLU()
        self.pool = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)

    def mixed(self, options: tuple[int, ...]) -> Mixed:
        """What lies on an edge with these options open."""
        return Mixed({OPS[op]: self.operation(op) for op in options})

    def operation(self, op: int) -> nn.Module | None:
        """One operation; None for zero."""
        if op == NONE:
            return None
        if op == SKIP:
            return self.skip()
        if op == POOL:
            return self.pool
        kernel = 3 if op == CONV3 else 1
        return ReluConvBn(self.inward, self.outward, kernel, self.stride, self.relu)

    def skip(self) -> nn.Module:
        """The skip connection."""
        return nn.Identity()

    def zero(self, inputs: Tensor) -> Tensor:
        """Zero in the shape of the output, but in the graph: gradients are zero, not missing."""
        return inputs * 0.0


class Cell(nn.Module):
    """Nodes are sums over the edges that lead to them; a node without any is zero."""

    def __init__(
        self, open_: tuple[tuple[int, ...], ...], first: Operations, rest: Operations
    ) -> None:
        """`first`: the operations of the edges that leave the input; `rest`: of all others."""
        super().__init__()
        chosen = [
            (e, options) for e, options in zip(EDGES, open_, strict=True) if options != (NONE,)
        ]
        self.edges = [edge for edge, _ in chosen]
        self.mixtures = nn.ModuleDict(
            {f"{i}->{j}": (rest if i else first).mixed(options) for (i, j), options in chosen}
        )
        self.is_mixed = any(len(options) > 1 for _, options in chosen)
        self.zero = first.zero

    def forward(self, inputs: Tensor) -> Tensor:
        """The last node."""
        nodes: dict[int, Tensor] = {0: inputs}
        # In a network every operation stands for itself: its activations count one by one.
        shared = [{} if self.is_mixed else None for _ in range(3)]
        for i, j in self.edges:  # ordered by target
            if i in nodes:
                term = self.mixtures[f"{i}->{j}"](nodes[i], shared[i])
                nodes[j] = nodes[j] + term if j in nodes else term
        return nodes[3] if 3 in nodes else self.zero(inputs)


def plain_cell(open_: tuple[tuple[int, ...], ...], channels: int) -> Cell:
    """A cell that changes neither size nor channels."""
    operations = Operations(channels, channels)
    return Cell(open_, operations, operations)


class Reduction(nn.Module):
    """The residual block between stages: half the size, twice the channels."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        self.conv_a = ReluConvBn(inward, outward, 3, stride=2)
        self.conv_b = ReluConvBn(outward, outward, 3)
        self.downsample = nn.Sequential(
            nn.AvgPool2d(2, stride=2), nn.Conv2d(inward, outward, 1, bias=False)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """The sum of both paths."""
        return self.downsample(inputs) + self.conv_b(self.conv_a(inputs))


class Head(nn.Sequential):
    """BN-ReLU, global average pooling, classifier."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, classes),
        )


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
