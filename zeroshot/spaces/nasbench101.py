"""NAS-Bench-101: cells of up to 7 vertices, 9 edges and 3 operations; 423,624 networks."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import md5
from itertools import accumulate, permutations, product
from math import isqrt, prod
from typing import NamedTuple, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from zeroshot.core import Cost
from zeroshot.errors import ZeroshotError, cut
from zeroshot.spaces.constrained import Constrained
from zeroshot.spaces.space import Arch, Axis, Task, tupled

OPS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
CONV3, CONV1, POOL = range(len(OPS))
VERTICES = 7  # at most; 0 is the input, the last the output
MOST_EDGES = 9
EDGES = tuple((i, j) for j in range(1, VERTICES) for i in range(j))  # ordered by target


@dataclass(frozen=True)
class NasBench101(Constrained):
    """The stacked network of the benchmark around one cell, repeated.

    Stem, `stacks` stacks of `modules` cells, global average pooling, classifier. Before every stack
    but the first a max-pooling halves the size, and its cells have twice the channels.

    The axes are the 21 possible edges between 7 vertices and the operations of the 5 interior ones;
    in smaller cells the last of these have the operation 'none'. The points of the space are the
    1,293,208 matrices and operations that the benchmark's authors enumerate: of at most 9 edges,
    with every vertex on a path from input to output. On average three of them are orders of the
    vertices of one cell: the 423,624 of the literature are the values of `canonical` and of
    `module_hash`. A sample is drawn from the points. It is close to one of different cells, unlike
    a sample of all 7 × 7 matrices, most of which the benchmark prunes to very few vertices.

    Attributes:
        channels: of the first stack; at least 4, for so many vertices may share them.
        stacks: how often the cells are repeated with another number of channels.
        modules: cells of a stack.
    """

    channels: int = 128
    stacks: int = 3
    modules: int = 3

    name = "nasbench101"
    axes = (
        *(Axis(f"{i}->{j}", ("none", "edge")) for i, j in EDGES),
        *(Axis(str(vertex), ("none", *OPS)) for vertex in range(1, VERTICES - 1)),
    )
    source = "arXiv:1902.09635"
    channels_last = True

    def __post_init__(self) -> None:
        for field, least in (("channels", 4), ("stacks", 1), ("modules", 1)):
            if getattr(self, field) < least:
                raise ZeroshotError(
                    f"{field} {getattr(self, field)}: nasbench101 needs at least {least}"
                )

    # -- which points there are ----------------------------------------------------------------

    def flaw(self, genes: tuple[int, ...]) -> str | None:
        """What is wrong with the vertices, or with the number of edges."""
        ops = genes[len(EDGES) :]
        there = len(ops) - ops.count(0)
        if 0 in ops[:there]:
            return f"vertex {ops.index(0) + 1} has operation none, but a later one has another"
        for gene, edge in zip(genes, EDGES, strict=False):
            for vertex in edge:
                if gene and there < vertex < VERTICES - 1:
                    return f"vertex {vertex} has an edge, but operation none"
        cell = _cell(genes)
        lost = sorted(set(range(cell.vertices)) - cell.on_paths())
        if lost:
            listed = ", ".join(map(str, lost))
            last = cell.vertices - 1
            return f"of vertices 0 to {last} these lie on no path from first to last: {listed}"
        if cell.edges.bit_count() > MOST_EDGES:
            return f"{cell.edges.bit_count()} edges; expected at most {MOST_EDGES}"
        return None

    @property
    def size(self) -> int:
        """How many points there are: 1,293,208."""
        return _starts()[-1]

    def count(self, arch: Arch) -> int:
        """How many points a supernet holds."""
        return sum(prod(map(len, ops)) for _, ops in _within(arch))

    def subspace(self, arch: Arch) -> Iterator[Arch]:
        """The points that a supernet holds."""
        return (
            self.arch(*_genes(_Cell(shape.vertices, shape.edges, chosen)))
            for shape, ops in _within(arch)
            for chosen in product(*ops)
        )

    def at(self, index: int) -> Arch:
        """The architecture of an index, in the order in which the authors enumerate the cells."""
        self._check_index(index)
        number = bisect_right(_starts(), index) - 1
        index -= _starts()[number]
        shape, ops = _shapes()[number], list[int]()
        for _ in range(shape.vertices - 2):
            index, op = divmod(index, len(OPS))
            ops.insert(0, op)
        return self.arch(*_genes(shape._replace(ops=tuple(ops))))

    def index(self, arch: Arch) -> int:
        """The index of an architecture: the inverse of `at`."""
        cell = _cell(self.arch(*self.genes(arch)).genes)
        labels = 0
        for op in cell.ops:
            labels = labels * len(OPS) + op
        return _starts()[bisect_left(_shapes(), cell._replace(ops=()))] + labels

    def neighbours(self, arch: Arch) -> list[Arch]:
        """All cells with one other operation, one edge more or less, or one vertex more or less.

        A vertex comes and goes with two edges, one in and one out.
        """
        around = dict.fromkeys(_around(_cell(self.genes(arch))))
        return [self.arch(*_genes(cell)) for cell in around]

    # -- notation ------------------------------------------------------------------------------

    def spell(self, arch: Arch) -> str:
        """The adjacency matrix row by row, a dash, the number of each interior vertex's operation.

        As the benchmark numbers them: 0 conv3x3-bn-relu, 1 conv1x1-bn-relu, 2 maxpool3x3.
        """
        cell = _cell(arch.genes)
        each = range(cell.vertices)
        matrix = "".join(str(int(i in cell.sources(j))) for i in each for j in each)
        return f"{matrix}-{''.join(map(str, cell.ops))}"

    def parse_native(self, text: str) -> Arch:
        """Read matrix and operations; in between a dash, a comma or blanks.

        Of 2 to 7 vertices: '010001000-0' is one convolution between input and output. As in the
        benchmark vertices on no path from input to output are left out. Or NASLib's tuple: the
        matrix, then the operation of every vertex, 0 for the input, 1 for the output, and 2, 3 and
        4 for what the benchmark numbers 2, 1 and 0.
        """

        def wrong(expected: str) -> NoReturn:
            shown = cut(text)
            raise ZeroshotError(f"{shown!r} is no nasbench101 architecture: expected {expected}")

        text = _from_naslib(text)
        found = re.fullmatch(r"([01]+)(?:\s*[-,]\s*|\s+)([0-9]*)", text, re.ASCII)
        if not found:
            wrong(
                "an adjacency matrix of 0 and 1, row by row, a dash and a digit for the operation "
                "of each interior vertex, as in '010001000-0'"
            )
        matrix, digits = found.groups()
        vertices = isqrt(len(matrix))
        if vertices**2 != len(matrix) or not 2 <= vertices <= VERTICES:
            wrong(
                f"n × n digits for the n = 2 to {VERTICES} vertices of the matrix, "
                f"found {len(matrix)}"
            )
        if len(digits) != vertices - 2 or any(int(op) >= len(OPS) for op in digits):
            wrong(
                f"{vertices - 2} operations for {vertices} vertices, each 0 ({OPS[0]}), "
                f"1 ({OPS[1]}) or 2 ({OPS[2]}); found {digits!r}"
            )
        edges = [divmod(place, vertices) for place, digit in enumerate(matrix) if digit == "1"]
        for i, j in edges:
            if i >= j:
                wrong(f"edges to later vertices only, found one from {i} to {j}")
        cell = _Cell(vertices, sum(_bit(i, j) for i, j in edges), tuple(map(int, digits)))
        live = cell.on_paths()
        if not live:
            wrong(f"a path from vertex 0, the input, to {vertices - 1}, the output")
        return self.arch(*_genes(cell.only(sorted(live))))

    def module_hash(self, arch: Arch) -> str:
        """The benchmark's key: equal for two architectures if and only if their cells are the same.

        32 hexadecimal digits. Vertices begin with the hash of their degrees and operation; as often
        as there are vertices each is hashed anew with its neighbours, before and after; all
        together give the hash. ZeroshotError for a supernet.
        """
        cell = _cell(arch.genes)
        before = [cell.sources(vertex) for vertex in range(cell.vertices)]
        after = [
            [other for other in range(cell.vertices) if vertex in before[other]]
            for vertex in range(cell.vertices)
        ]
        labels = (-1, *cell.ops, -2)
        hashes = [
            _md5(str((len(targets), len(sources), label)))
            for targets, sources, label in zip(after, before, labels, strict=True)
        ]
        for _ in range(cell.vertices):
            hashes = [
                _md5(
                    "|".join(
                        (
                            "".join(sorted(hashes[other] for other in before[vertex])),
                            "".join(sorted(hashes[other] for other in after[vertex])),
                            hashes[vertex],
                        )
                    )
                )
                for vertex in range(cell.vertices)
            ]
        return _md5(str(sorted(hashes)))

    # -- what an architecture is ---------------------------------------------------------------

    def canonical(self, arch: Arch) -> Arch:
        """Of all with the same `module_hash` the first that the benchmark's authors enumerate.

        Of 3,000 random rows of the benchmark 97 % hold this very cell, the others one with as many
        parameters. Where channels do not divide evenly the first vertices get one more, so that the
        members of a class can differ by a few channels if built as they are.
        """
        return self.arch(*_genes(_first(_cell(arch.genes))))

    def cost(self, arch: Arch, task: Task | None = None) -> Cost:
        """Parameters, multiply-adds and weight tensors of the canonical cell.

        Parameters are the trainable ones that the benchmark states for every hash.
        """
        task = task or self.task
        cell = _first(_cell(arch.genes))
        parameters = 9 * task.channels * self.channels + 2 * self.channels  # stem
        macs = 9 * task.channels * self.channels * task.size**2
        tensors = 2  # stem and classifier
        inward, size = self.channels, task.size
        for stack in range(self.stacks):
            outward = self.channels * 2**stack
            size = size if stack == 0 else (size + 1) // 2
            for _ in range(self.modules):
                for before, after, kernel in _convolutions(cell, inward, outward):
                    parameters += kernel**2 * before * after + 2 * after
                    macs += kernel**2 * before * after * size**2
                    tensors += 1
                inward = outward
        return Cost(parameters + (inward + 1) * task.classes, macs + inward * task.classes, tensors)

    @property
    def small(self) -> "NasBench101":
        """8 channels, two cells per stack: more channels rank worse, fewer cells a little."""
        return replace(self, channels=8, modules=2)

    # -- networks ------------------------------------------------------------------------------

    def build(self, arch: Arch, task: Task) -> nn.Module:
        """The benchmark's network, its vertices in the order given."""
        return _Network(_cell(arch.genes), self, task)

    def blocks(self, module: nn.Module) -> tuple[str, ...]:
        """The stem and every cell."""
        body = module.get_submodule("body").named_children()
        return ("stem", *(f"body.{name}" for name, part in body if isinstance(part, _Module)))


# -- cells -----------------------------------------------------------------------------------------


class _Cell(NamedTuple):
    """A graph of vertices in order, the first the input and the last the output."""

    vertices: int
    edges: int  # as bits: see `_bit`
    ops: tuple[int, ...]  # of the interior vertices, as numbered in `OPS`

    def sources(self, vertex: int) -> list[int]:
        """The vertices with an edge to this one."""
        return [i for i in range(vertex) if self.edges & _bit(i, vertex)]

    def on_paths(self) -> set[int]:
        """The vertices on a path from input to output."""
        pairs = [(i, j) for j in range(self.vertices) for i in self.sources(j)]
        fed, needed = {0}, {self.vertices - 1}
        for i, j in pairs:
            fed |= {j} if i in fed else set()
        for i, j in reversed(pairs):
            needed |= {i} if j in needed else set()
        return fed & needed

    def only(self, kept: Sequence[int]) -> "_Cell":
        """The part with some of the vertices."""
        edges = sum(
            _bit(i, j)
            for j, target in enumerate(kept)
            for i, source in enumerate(kept[:j])
            if self.edges & _bit(source, target)
        )
        return _Cell(len(kept), edges, tuple(self.ops[vertex - 1] for vertex in kept[1:-1]))

    @property
    def is_whole(self) -> bool:
        """Whether the benchmark has it: every vertex on a path, not too many edges."""
        return self.edges.bit_count() <= MOST_EDGES and len(self.on_paths()) == self.vertices


def _bit(source: int, target: int) -> int:
    """The bit of an edge, in the order of `EDGES`; it does not depend on how many vertices."""
    return 1 << (source + target * (target - 1) // 2)


def _cell(genes: tuple[int, ...]) -> _Cell:
    """The cell of genes without a gap between vertices."""
    ops = tuple(gene - 1 for gene in genes[len(EDGES) :] if gene)
    last = len(ops) + 1
    edges = sum(
        _bit(i, last if j == VERTICES - 1 else j)
        for gene, (i, j) in zip(genes, EDGES, strict=False)
        if gene
    )
    return _Cell(last + 1, edges, ops)


def _genes(cell: _Cell) -> tuple[int, ...]:
    """The genes of a cell, between whose last two vertices others may be missing."""
    last = cell.vertices - 1
    edges = {
        (i, VERTICES - 1 if j == last else j) for j in range(last + 1) for i in cell.sources(j)
    }
    missing = VERTICES - cell.vertices
    return (
        *(int(edge in edges) for edge in EDGES),
        *(op + 1 for op in cell.ops),
        *(0,) * missing,
    )


@lru_cache(maxsize=4096)
def _first(cell: _Cell) -> _Cell:
    """Of a cell's orders of vertices that which the benchmark's authors enumerate first."""
    pairs = [(i, j) for j in range(cell.vertices) for i in cell.sources(j)]
    found = []
    for order in permutations(range(1, cell.vertices - 1)):
        name = (0, *order, cell.vertices - 1)  # of each vertex in the new order
        if all(name[i] < name[j] for i, j in pairs):
            ops = sorted(zip(order, cell.ops, strict=True))
            edges = sum(_bit(name[i], name[j]) for i, j in pairs)
            found.append(_Cell(cell.vertices, edges, tuple(op for _, op in ops)))
    return min(found)


def _around(cell: _Cell) -> Iterator[_Cell]:
    """The cells one change away; some of them more than once."""
    n, edges, ops = cell
    for place, op in enumerate(ops):
        for other in range(len(OPS)):
            if other != op:
                yield _Cell(n, edges, (*ops[:place], other, *ops[place + 1 :]))
    for j in range(1, n):
        for i in range(j):
            changed = _Cell(n, edges ^ _bit(i, j), ops)
            if changed.is_whole:
                yield changed
    for vertex in range(1, n - 1):
        targets = [j for j in range(n) if vertex in cell.sources(j)]
        rest = cell.only([other for other in range(n) if other != vertex])
        if len(cell.sources(vertex)) == len(targets) == 1 and rest.is_whole:
            yield rest
    if n < VERTICES and edges.bit_count() + 2 <= MOST_EDGES:
        for vertex in range(1, n):
            moved = sum(
                _bit(i + (i >= vertex), j + (j >= vertex))
                for j in range(n)
                for i in cell.sources(j)
            )
            for i, j, op in product(range(vertex), range(vertex + 1, n + 1), range(len(OPS))):
                more = moved | _bit(i, vertex) | _bit(vertex, j)
                yield _Cell(n + 1, more, (*ops[: vertex - 1], op, *ops[vertex - 1 :]))


@lru_cache(maxsize=1)
def _shapes() -> tuple[_Cell, ...]:
    """The 6,472 graphs of the space's cells, without operations, in the order of enumeration."""
    found = []
    for vertices in range(2, VERTICES + 1):
        pairs = [(i, j) for i, j in EDGES if j < vertices]
        edges = np.arange(1 << len(pairs))
        entered = [np.zeros_like(edges, dtype=bool) for _ in range(vertices)]
        left = [np.zeros_like(edges, dtype=bool) for _ in range(vertices)]
        number = np.zeros_like(edges)
        for i, j in pairs:
            there = edges & _bit(i, j) != 0
            entered[j] |= there
            left[i] |= there
            number += there
        # Where every vertex but the input is entered, and but the output is left, all are on paths.
        whole = np.logical_and.reduce([*entered[1:], *left[:-1], number <= MOST_EDGES])
        found += [_Cell(vertices, int(bits), ()) for bits in edges[whole]]
    return tuple(found)


@lru_cache(maxsize=1)
def _starts() -> tuple[int, ...]:
    """The index of the first cell of each graph, and the number of all cells."""
    sizes = (len(OPS) ** (shape.vertices - 2) for shape in _shapes())
    return tuple(accumulate(sizes, initial=0))


def _within(arch: Arch) -> Iterator[tuple[_Cell, list[list[int]]]]:
    """The graphs of the cells that a supernet holds, with the operations open on each vertex."""
    edge_options, op_options = arch.open[: len(EDGES)], arch.open[len(EDGES) :]
    for shape in _shapes():
        inner = shape.vertices - 2
        genes = _genes(shape._replace(ops=(0,) * inner))
        ops = [[gene - 1 for gene in options if gene] for options in op_options[:inner]]
        if (
            all(gene in options for gene, options in zip(genes, edge_options, strict=False))
            and all(ops)
            and all(0 in options for options in op_options[inner:])
        ):
            yield shape, ops


def _from_naslib(text: str) -> str:
    """Matrix and operations of NASLib's tuple; any other text as it is."""
    digits = tupled(text)
    vertices = isqrt(len(digits))  # of n² + n digits
    matrix, ops = digits[: vertices**2], digits[vertices**2 :]
    if vertices < 2 or not re.fullmatch(rf"0[234]{{{vertices - 2}}}1", ops):
        return text
    return f"{matrix}-{ops[1:-1].translate(str.maketrans('234', '210'))}"


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


# -- networks --------------------------------------------------------------------------------------


def _widths(cell: _Cell, outward: int) -> tuple[int, ...]:
    """The channels of every vertex but the input, whose place holds 0.

    The vertices before the output share its channels; where these do not divide evenly the first
    get one more. All others have as many as the widest that they lead to.
    """
    out = cell.vertices - 1
    widths = [0] * out + [outward]
    last = [vertex for vertex in cell.sources(out) if vertex]
    for place, vertex in enumerate(last):
        widths[vertex] = outward // len(last) + (place < outward % len(last))
    for vertex in reversed(range(1, out)):
        if vertex not in last:
            widths[vertex] = max(widths[j] for j in range(out) if vertex in cell.sources(j))
    return tuple(widths)


def _convolutions(cell: _Cell, inward: int, outward: int) -> Iterator[tuple[int, int, int]]:
    """Channels before and after, and kernel size, of every convolution of a cell."""
    widths = _widths(cell, outward)
    for vertex in range(1, cell.vertices):
        if 0 in cell.sources(vertex):
            yield inward, widths[vertex], 1
    for op, width in zip(cell.ops, widths[1:-1], strict=True):
        if op != POOL:
            yield width, width, 3 if op == CONV3 else 1


class _ConvBnRelu(nn.Sequential):
    def __init__(self, inward: int, outward: int, kernel: int) -> None:
        super().__init__(
            nn.Conv2d(inward, outward, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outward),
            nn.ReLU(),
        )


class _Module(nn.Module):
    """A cell: vertices sum what leads to them, the output concatenates it and adds the input.

    The input is projected wherever it leads. A vertex that has one channel more than the one it
    leads to gives its first channels.
    """

    def __init__(self, cell: _Cell, inward: int, outward: int) -> None:
        super().__init__()
        self.out = cell.vertices - 1
        self.widths = _widths(cell, outward)
        sources = [cell.sources(vertex) for vertex in range(cell.vertices)]
        self.inner = [[i for i in before if i] for before in sources]
        self.projections = nn.ModuleDict(
            {
                str(vertex): _ConvBnRelu(inward, self.widths[vertex], 1)
                for vertex, before in enumerate(sources)
                if 0 in before
            }
        )
        self.operations = nn.ModuleList(
            nn.MaxPool2d(3, stride=1, padding=1)
            if op == POOL
            else _ConvBnRelu(width, width, 3 if op == CONV3 else 1)
            for op, width in zip(cell.ops, self.widths[1:-1], strict=True)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        values = [inputs]
        for vertex, operation in enumerate(self.operations, start=1):
            terms = [values[i][:, : self.widths[vertex]] for i in self.inner[vertex]]
            values.append(operation(self._sum(terms, vertex, inputs)))
        last = [values[i] for i in self.inner[self.out]]
        joined = [torch.cat(last, dim=1)] if last else []
        return self._sum(joined, self.out, inputs)

    def _sum(self, terms: list[Tensor], vertex: int, inputs: Tensor) -> Tensor:
        """The terms and, where the input leads there, its projection."""
        if str(vertex) in self.projections:
            terms = [*terms, self.projections[str(vertex)](inputs)]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total


class _Network(nn.Module):
    def __init__(self, cell: _Cell, shape: NasBench101, task: Task) -> None:
        super().__init__()
        self.stem = _ConvBnRelu(task.channels, shape.channels, 3)
        body: list[nn.Module] = []
        inward = shape.channels
        for stack in range(shape.stacks):
            outward = shape.channels * 2**stack
            if stack:
                body.append(nn.MaxPool2d(2, stride=2, ceil_mode=True))
            for _ in range(shape.modules):
                body.append(_Module(cell, inward, outward))
                inward = outward
        self.body = nn.Sequential(*body)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inward, task.classes)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.body(self.stem(inputs)))
