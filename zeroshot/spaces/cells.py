"""Cells of 4 nodes and 6 edges, of which NAS-Bench-201 and its kin are built."""

from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

from torch import Tensor, nn

from zeroshot.core import Cost
from zeroshot.spaces.layers import ReluConvBn
from zeroshot.spaces.mixed import Mixed
from zeroshot.spaces.space import Task

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = tuple((i, j) for j in range(1, 4) for i in range(j))  # 0→1, 0→2, 1→2, 0→3, 1→3, 2→3
NONE, SKIP, CONV1, CONV3, POOL = range(len(OPS))

# What a node computes: how often each term (operation, what it is applied to) enters its sum.
Sum = frozenset[tuple[object, int]]


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
