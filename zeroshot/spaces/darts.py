"""DARTS: a normal and a reduction cell of 4 nodes and 14 edges each; 1.08·10¹⁸ genotypes."""

import ast
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations, permutations, product
from math import prod
from typing import NamedTuple, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from zeroshot.core import Cost, Net
from zeroshot.errors import ZeroshotError, cut
from zeroshot.passes import census
from zeroshot.spaces.layers import FactorizedReduce, ReluConvBn, separable
from zeroshot.spaces.mixed import Mixed
from zeroshot.spaces.space import Arch, Axis, Space, Task

OPS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
NONE = 0
CELLS = ("normal", "reduce")
_CONFIG = "NetworkSelectorDatasetInfo:darts:"  # how NAS-Bench-301's entries begin
NODES = (2, 3, 4, 5)  # 0 and 1 are the outputs of the two cells before
EDGES = tuple((i, j) for j in NODES for i in range(j))  # ordered by target, then source

# The axes of the edges into each node: normal 2 to 5, reduce 2 to 5.
GROUPS = tuple(
    tuple(len(EDGES) * cell + edge for edge, (_, j) in enumerate(EDGES) if j == node)
    for cell in range(len(CELLS))
    for node in NODES
)

_Open = tuple[tuple[int, ...], ...]  # options open on some edges
_Genes = tuple[int, ...]  # the option chosen on some edges


@dataclass(frozen=True)
class Darts(Space):
    """Genotypes of DARTS: every node has two incoming edges with an operation, the others none.

    The axes are all 28 edges with all 8 operations, so that the supernet is an `Arch` like any
    other. The points of the space are the genotypes only: what is counted, indexed, sampled,
    mutated, crossed and read. `build` takes any `Arch`, so a pruned supernet too in which nodes
    still have more than two inputs. The order in which a genotype lists a node's two inputs means
    nothing; it is written by source.

    The default shape is that of the search, 16 channels and 8 cells; networks are trained with 36
    and 20. TE-NAS' supernet has the shape `searched`.

    Attributes:
        channels: of each operation in the cells before the first reduction.
        layers: cells; those at one and two thirds reduce, of two cells the second.
        stem_multiplier: channels of the CIFAR stem for each of `channels`.
        stem: 'cifar', one convolution; 'imagenet', which divides the size by 8; 'auto', the latter
            for images of 128 pixels or more.
        last_activation: batch norm and ReLU before the global pooling, as in NASNet.
        auxiliary: a second classifier after the last reduction. In training, and only then, the
            network returns `Logits` of both. Never part of the cost.
        drop_path: probability with which an operation is left out for a sample in training; an
            attribute of the network too, for a schedule.
    """

    channels: int = 16
    layers: int = 8
    stem_multiplier: int = 3
    stem: str = "auto"
    last_activation: bool = False
    auxiliary: bool = False
    drop_path: float = 0.0

    name = "darts"
    axes = tuple(Axis(f"{cell} {i}->{j}", OPS) for cell in CELLS for i, j in EDGES)
    source = "arXiv:1806.09055"
    mixable = True
    channels_last = True
    per_round = 3  # as TE-NAS takes for CIFAR
    groups = GROUPS
    shown = 14  # as TE-NAS takes for CIFAR

    def __post_init__(self) -> None:
        for field, least in (("channels", 1), ("layers", 2), ("stem_multiplier", 1)):
            if getattr(self, field) < least:
                raise ZeroshotError(
                    f"{field} {getattr(self, field)}: darts needs at least {least} "
                    "(one normal and one reduction cell have 2 layers)"
                )
        if self.stem not in ("auto", "cifar", "imagenet"):
            raise ZeroshotError(f"stem {self.stem!r}: expected auto, cifar or imagenet")
        if not 0 <= self.drop_path < 1:
            raise ZeroshotError(f"drop_path {self.drop_path}: expected 0 or more, below 1")

    # -- which points there are ----------------------------------------------------------------

    def arch(self, *genes: int) -> Arch:
        """The architecture with these options; ZeroshotError if it is no genotype."""
        found = super().arch(*genes)
        for number, group in enumerate(_split(found.genes)):
            fed = sum(gene != NONE for gene in group)
            if fed != 2:
                cell, node = divmod(number, len(NODES))
                raise ZeroshotError(
                    f"darts: {fed} operations lead to node {NODES[node]} of the {CELLS[cell]} "
                    "cell; expected exactly 2, and 'none' on the other edges"
                )
        return found

    def count(self, arch: Arch) -> int:
        """How many genotypes a supernet holds."""
        return prod(len(_choices(group)) for group in _split(arch.open))

    def subspace(self, arch: Arch) -> Iterator[Arch]:
        """The genotypes that a supernet holds: two edges into each node, an open operation on each.

        Any edge may be left out, whether 'none' is open on it or not: that is how a supernet
        without 'none', as TE-NAS prunes it, becomes a genotype.
        """
        choices = (_choices(group) for group in _split(arch.open))
        return (self.arch(*_joined(chosen)) for chosen in product(*choices))

    def at(self, index: int) -> Arch:
        """The architecture of an index, in the order of `subspace`."""
        self._check_index(index)
        chosen: list[_Genes] = []
        for group in reversed(_split(self.whole.open)):
            choices = _choices(group)
            index, digit = divmod(index, len(choices))
            chosen.append(choices[digit])
        return self.arch(*_joined(tuple(reversed(chosen))))

    def index(self, arch: Arch) -> int:
        """The index of an architecture: the inverse of `at`."""
        index = 0
        groups = zip(_genotype(self, arch), _split(self.whole.open), strict=True)
        for chosen, group in groups:
            choices = _choices(group)
            index = index * len(choices) + choices.index(chosen)
        return index

    def neighbours(self, arch: Arch) -> list[Arch]:
        """All genotypes with one other operation, or with one operation on another input."""
        groups = _genotype(self, arch)
        return [
            self.arch(*_joined((*groups[:number], other, *groups[number + 1 :])))
            for number, group in enumerate(groups)
            for other in _around(group)
        ]

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """One of the neighbours, all equally likely."""
        groups = _genotype(self, arch)
        sizes = [len(_around(group)) for group in groups]
        place = int(rng.integers(sum(sizes)))
        for number, size in enumerate(sizes):
            if place < size:
                groups[number] = _around(groups[number])[place]
                break
            place -= size
        return self.arch(*_joined(tuple(groups)))

    def cross(self, one: Arch, other: Arch, rng: np.random.Generator) -> Arch:
        """A child that takes each node, with its two inputs, from either parent."""
        pairs = zip(_genotype(self, one), _genotype(self, other), strict=True)
        return self.arch(*_joined(tuple(pair[int(rng.integers(2))] for pair in pairs)))

    # -- notation ------------------------------------------------------------------------------

    def spell(self, arch: Arch) -> str:
        """The genotype as the DARTS code prints it, the inputs of each node in order."""
        groups = _genotype(self, arch)
        cells = (groups[: len(NODES)], groups[len(NODES) :])
        parts = (
            f"{cell}={[(OPS[op], i) for group in chosen for i, op in _inputs(group)]}, "
            f"{cell}_concat=range(2, 6)"
            for cell, chosen in zip(CELLS, cells, strict=True)
        )
        return f"Genotype({', '.join(parts)})"

    def config(self, arch: Arch) -> dict[str, str]:
        """The genotype as NAS-Bench-301 configures it: what ConfigSpace calls a configuration.

        Edges are numbered by target, then source. Node 2 has no choice of inputs and no entry.
        """
        found: dict[str, str] = {}
        for number, group in enumerate(_genotype(self, arch)):
            cell, node = CELLS[number // len(NODES)], NODES[number % len(NODES)]
            for source, op in _inputs(group):
                found[f"{_CONFIG}edge_{cell}_{EDGES.index((source, node))}"] = OPS[op]
            if node > NODES[0]:
                sources = "_".join(str(source) for source, _ in _inputs(group))
                found[f"{_CONFIG}inputs_node_{cell}_{node}"] = sources
        return found

    def compact(self, arch: Arch) -> tuple[tuple[tuple[int, int], ...], ...]:
        """The (input, operation) pairs of the two cells, operations from 0, max_pool_3x3, on.

        So BANANAS, NASLib and the JSON of NAS-Bench-Suite-Zero write a genotype.
        """
        pairs = [
            [(source, op - 1) for source, op in _inputs(group)] for group in _genotype(self, arch)
        ]
        halves = pairs[: len(NODES)], pairs[len(NODES) :]
        return tuple(tuple(pair for group in half for pair in group) for half in halves)

    def parse_native(self, text: str) -> Arch:
        """Read a genotype, or just its two lists: '[normal], [reduce]'.

        The concatenated nodes may be a range, a list, or missing. Also read: what `compact` gives,
        and a `config` as JSON, whatever else it configures. Nothing is evaluated.
        """
        if text.startswith("{"):
            return self.arch(*_from_config(text))
        try:
            tree = ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            tree = None
        if isinstance(tree, ast.Tuple) and len(tree.elts) == len(CELLS):
            parts = dict(zip(CELLS, tree.elts, strict=True))
        elif (
            isinstance(tree, ast.Call)
            and isinstance(tree.func, ast.Name)
            and tree.func.id == "Genotype"
            and not tree.args
        ):
            parts = {str(keyword.arg): keyword.value for keyword in tree.keywords}
            given = [str(keyword.arg) for keyword in tree.keywords]
            concats = [f"{cell}_concat" for cell in CELLS]
            if not set(CELLS) <= set(given) <= {*CELLS, *concats} or len(given) > len(parts):
                _wrong(f"the arguments {', '.join(given)}", "normal and reduce, each once")
            for concat in concats:
                if concat in parts and not _is_concat(parts[concat]):
                    _wrong(f"{concat}={ast.unparse(parts[concat])}", "range(2, 6)")
        else:
            _wrong(repr(text), "'Genotype(normal=[(operation, input), …], …, reduce=[…], …)'")
        return self.arch(*(gene for cell in CELLS for gene in _read(cell, parts[cell])))

    # -- what an architecture is ---------------------------------------------------------------

    def canonical(self, arch: Arch) -> Arch:
        """The first of the cells that differ only in the order of their nodes.

        Nodes that do not depend on each other may change places: what reads the concatenated nodes
        has freshly drawn weights, so that the order in which they come makes no difference.
        """
        genes = arch.genes
        half = len(EDGES)
        return Arch(
            self.name, tuple((gene,) for part in (0, half) for gene in _first(genes[part:][:half]))
        )

    def cost(self, arch: Arch, task: Task | None = None) -> Cost:
        """Parameters, multiply-adds and weight tensors, without the auxiliary classifier.

        Of a genotype what its operations cost is added to what a network without any costs: both
        are counted once for each shape and task, where a network of twenty cells takes 0.2 s.
        """
        task = task or self.task
        shape = replace(self, auxiliary=False, drop_path=0.0)
        if not arch.is_network or type(self) is not Darts or type(task) is not Task:
            return Space.cost(shape, arch, task)
        parts = [_bare_cost(shape, task)]
        for number, gene in enumerate(self.genes(arch)):
            cell, edge = divmod(number, len(EDGES))
            if gene != NONE:
                parts.append(_edge_cost(shape, task, cell, EDGES[edge][0] < 2, gene))
        return _sum(parts)

    @property
    def prunable(self) -> Arch:
        """All operations but 'none', as in TE-NAS."""
        return Arch(self.name, (tuple(range(1, len(OPS))),) * len(self.axes))

    @property
    def searched(self) -> "Darts":
        """TE-NAS' supernet: one normal and one reduction cell, 1 channel."""
        return Darts(channels=1, layers=2, stem_multiplier=1, last_activation=True)

    # -- networks ------------------------------------------------------------------------------

    def build(self, arch: Arch, task: Task) -> nn.Module:
        """The network in which an edge is the mean of the operations open on it."""
        if self.halves(task):
            return _Network(arch.open, self, _imagenet_stem(task.channels, self.channels), task)
        return _Network(
            arch.open, self, _cifar_stem(task.channels, self.channels * self.stem_multiplier), task
        )

    def halves(self, task: Task) -> bool:
        """Whether the stem is ImageNet's, which divides the size by 8."""
        return self.stem == "imagenet" or (self.stem == "auto" and task.size >= 128)

    def thin(self, arch: Arch, task: Task) -> nn.Module:
        """TE-NAS' `network_thin`: a normal and a reduction cell on one raw channel, no stem."""
        no_stem = _Stem(nn.Identity(), nn.Identity(), 1, False)
        return _Network(arch.open, self.searched, no_stem, task)

    def blocks(self, module: nn.Module) -> tuple[str, ...]:
        """The stem, or both its stages, and every cell."""
        halves = [
            name
            for name in ("stem", "second_stem")
            if not isinstance(module.get_submodule(name), nn.Identity)
        ]
        return (*halves, *(f"cells.{i}" for i in range(self.layers)))


class Logits(NamedTuple):
    """What a network with an auxiliary classifier returns in training."""

    logits: Tensor
    auxiliary: Tensor


# -- the edges into one node, and a cell of nodes ----------------------------------------------


def _split(values: tuple) -> list[tuple]:
    """Genes or open options of all axes, by node."""
    return [tuple(values[axis] for axis in group) for group in GROUPS]


def _joined(groups: tuple[_Genes, ...]) -> _Genes:
    return tuple(gene for group in groups for gene in group)


def _genotype(space: Darts, arch: Arch) -> list[_Genes]:
    """The genes of an architecture by node; ZeroshotError if it is no genotype."""
    return _split(space.arch(*space.genes(arch)).genes)


def _inputs(group: _Genes) -> list[tuple[int, int]]:
    """The (source, operation) pairs of a node."""
    return [(source, op) for source, op in enumerate(group) if op != NONE]


@lru_cache(maxsize=4096)
def _choices(open_: _Open) -> tuple[_Genes, ...]:
    """All ways of choosing two edges into a node and an open operation on each."""
    live = [[op for op in options if op != NONE] for options in open_]
    return tuple(
        tuple({one: a, other: b}.get(edge, NONE) for edge in range(len(open_)))
        for one, other in combinations(range(len(open_)), 2)
        for a, b in product(live[one], live[other])
    )


@lru_cache(maxsize=4096)
def _around(group: _Genes) -> tuple[_Genes, ...]:
    """The choices for a node that keep one input and half of the other."""
    here = set(_inputs(group))
    found = []
    for other in _choices((tuple(range(len(OPS))),) * len(group)):
        there = set(_inputs(other))
        if len(here & there) == 1:
            (source, op), (new_source, new_op) = *(here - there), *(there - here)
            if source == new_source or op == new_op:
                found.append(other)
    return tuple(found)


@lru_cache(maxsize=4096)
def _first(cell: _Genes) -> _Genes:
    """The smallest genes among a cell's orders of nodes."""
    edges = dict(zip(EDGES, cell, strict=True))
    found = []
    for order in permutations(NODES):
        name = {0: 0, 1: 1, **dict(zip(NODES, order, strict=True))}
        moved = {(name[i], name[j]): op for (i, j), op in edges.items() if op != NONE}
        if all(i < j for i, j in moved):
            found.append(tuple(moved.get(edge, NONE) for edge in EDGES))
    return min(found)


# -- what genotypes cost ---------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _bare_cost(shape: Darts, task: Task) -> Cost:
    """Of a network without operations on its edges."""
    nothing = Arch(shape.name, ((NONE,),) * len(shape.axes))
    return Space.cost(shape, nothing, task)


@lru_cache(maxsize=4096)
def _edge_cost(shape: Darts, task: Task, cell: int, outer: bool, op: int) -> Cost:
    """Of an operation on one edge in all normal (0) or reduction (1) cells.

    `outer`: whether the edge starts at an input of the cell, where a reduction cell's stride is.
    """
    return _sum(
        _operation_cost(
            op,
            stage.channels,
            2 if stage.reduces and outer else 1,
            stage.size if outer else stage.after,
        )
        for stage in _stages(shape, task, halves=shape.halves(task))
        if stage.reduces == bool(cell)
    )


def _sum(costs: Iterable[Cost]) -> Cost:
    return Cost(*map(sum, zip(*costs, strict=True)))


@lru_cache(maxsize=4096)
def _operation_cost(op: int, channels: int, stride: int, size: int) -> Cost:
    with torch.device("meta"):
        operation = _Operations(channels, stride).mixed((op,))
        return census(Net(operation), torch.empty(1, channels, size, size))


# -- reading genotypes ---------------------------------------------------------------------------


def _wrong(found: str, expected: str) -> NoReturn:
    found = cut(found)
    raise ZeroshotError(f"{found} is no darts architecture: expected {expected}")


def _is_concat(tree: ast.expr) -> bool:
    """Whether it says all four nodes in order."""
    return ast.unparse(tree) in ("range(2, 6)", "[2, 3, 4, 5]", "(2, 3, 4, 5)")


def _read(cell: str, tree: ast.expr) -> _Genes:
    """The genes of one cell; the error names the place and what was expected there."""

    def wrong(place: str, found: object, expected: str) -> NoReturn:
        _wrong(f"{cell}{place}={found!r}", expected)

    try:
        entries = ast.literal_eval(tree)
    except (ValueError, TypeError, RecursionError, MemoryError):
        wrong("", ast.unparse(tree), "a list of (operation, input)")
    if not isinstance(entries, (list, tuple)) or len(entries) != 2 * len(NODES):
        wrong("", entries, f"a list of {2 * len(NODES)} (operation, input), 2 for each node")
    genes = dict.fromkeys(EDGES, NONE)
    for position, entry in enumerate(entries):
        place, node = f"[{position}]", NODES[position // 2]
        if not isinstance(entry, (list, tuple)) or len(entry) != 2:
            wrong(place, entry, "(operation, input)")
        op, source = entry
        if type(op) is type(source) is int and 0 <= source < len(OPS) - 1:  # as `compact` writes
            op, source = OPS[source + 1], op
        if op not in OPS[1:]:
            wrong(place, entry, f"one of {', '.join(OPS[1:])}")
        if type(source) is not int or not 0 <= source < node:
            wrong(place, entry, f"an input from 0 to {node - 1}, as it is one of node {node}")
        if genes[source, node] != NONE:
            wrong(place, entry, f"another input of node {node} than {source}, which it has already")
        genes[source, node] = OPS.index(op)
    return tuple(genes.values())


def _from_config(text: str) -> _Genes:
    """The genes of a configuration of NAS-Bench-301."""
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        _wrong(repr(text), "the JSON of a configuration of NAS-Bench-301")
    genes = []
    for cell in CELLS:
        for number, (source, node) in enumerate(EDGES):
            name = f"{_CONFIG}edge_{cell}_{number}"
            op = config.get(name, "none")
            if op not in OPS:
                _wrong(f"{name}: {op!r}", f"one of {', '.join(OPS[1:])}")
            inputs = f"{_CONFIG}inputs_node_{cell}_{node}"
            if op != "none" and str(source) not in str(config.get(inputs, source)).split("_"):
                _wrong(f"{inputs}: {config[inputs]!r}", f"{source} among them, as {name} is given")
            genes.append(OPS.index(op))
    return tuple(genes)


# -- networks ------------------------------------------------------------------------------------


class _Stem(NamedTuple):
    """Two stages, what each gives to the first cell, and whether the second halves the size."""

    first: nn.Module
    second: nn.Module
    width: int
    halves: bool


def _cifar_stem(inward: int, width: int) -> _Stem:
    first = nn.Sequential(nn.Conv2d(inward, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
    return _Stem(first, nn.Identity(), width, False)


def _imagenet_stem(inward: int, width: int) -> _Stem:
    if width < 2:
        raise ZeroshotError(f"channels {width}: darts needs at least 2 with the imagenet stem")
    half = width // 2
    first = nn.Sequential(
        nn.Conv2d(inward, half, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(half),
        *ReluConvBn(half, width, 3, stride=2),
    )
    return _Stem(first, ReluConvBn(width, width, 3, stride=2), width, True)


class _Stage(NamedTuple):
    """What distinguishes a cell from others: its width, its inputs' size and its outputs' size."""

    reduces: bool
    channels: int
    size: int
    after: int


def _stages(shape: Darts, task: Task, *, halves: bool) -> Iterator[_Stage]:
    """The cells of a network in order; `halves`: whether its stem divides the size by 8."""
    size = -(-task.size // 8) if halves else task.size
    reducing = {shape.layers // 3, 2 * shape.layers // 3} - {0}
    channels = shape.channels
    for number in range(shape.layers):
        reduces = number in reducing
        channels = 2 * channels if reduces else channels
        after = -(-size // 2) if reduces else size
        yield _Stage(reduces, channels, size, after)
        size = after


class _Operations:
    """The operations of one cell with one stride; pooling and the first ReLU are one for all."""

    def __init__(self, channels: int, stride: int) -> None:
        self.channels, self.stride = channels, stride
        self.relu = nn.ReLU()
        self.max_pool = nn.MaxPool2d(3, stride, padding=1)
        self.avg_pool = nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)

    def mixed(self, options: tuple[int, ...]) -> Mixed:
        """What lies on an edge with these options open."""
        return Mixed({OPS[op]: self._operation(OPS[op]) for op in options})

    def _operation(self, name: str) -> nn.Module | None:
        kernel = 5 if name.endswith("5x5") else 3
        if name == "none":
            return None
        if name == "max_pool_3x3":
            return self.max_pool
        if name == "avg_pool_3x3":
            return self.avg_pool
        if name == "skip_connect":
            whole = self.stride == 1
            return nn.Identity() if whole else FactorizedReduce(self.channels, self.channels)
        if name.startswith("sep_conv"):
            first = separable(self.channels, kernel, self.stride)
            return nn.Sequential(self.relu, *first, nn.ReLU(), *separable(self.channels, kernel))
        return nn.Sequential(self.relu, *separable(self.channels, kernel, self.stride, dilation=2))


class _Cell(nn.Module):
    """Nodes are sums over the edges that lead to them; all four are concatenated."""

    def __init__(
        self, open_: _Open, widths: tuple[int, int], channels: int, *, reduces: bool, halve: bool
    ) -> None:
        """`halve`: whether the cell before the last gives twice the size of the last."""
        super().__init__()
        before, last = widths
        self.before = (
            FactorizedReduce(before, channels) if halve else ReluConvBn(before, channels, 1)
        )
        self.last = ReluConvBn(last, channels, 1)
        self.stride = 2 if reduces else 1
        outer, inner = _Operations(channels, self.stride), _Operations(channels, 1)
        self.mixtures = nn.ModuleDict(
            {
                f"{i}->{j}": (outer if i < 2 else inner).mixed(options)
                for (i, j), options in zip(EDGES, open_, strict=True)
                if options != (NONE,)
            }
        )
        self.is_mixed = any(len(options) > 1 for options in open_)

    def forward(self, before: Tensor, last: Tensor, drop_path: float = 0.0) -> Tensor:
        nodes = [self.before(before), self.last(last)]
        # In a network every operation stands for itself: its activations count one by one.
        shared = [{} if self.is_mixed else None for _ in range(NODES[-1])]
        for target in NODES:
            total = None
            for source in range(target):
                if f"{source}->{target}" not in self.mixtures:
                    continue
                mixture = self.mixtures[f"{source}->{target}"]
                term = mixture(nodes[source], shared[source])
                if self.training and drop_path > 0 and not mixture.is_identity:
                    term = _dropped(term, drop_path)
                total = term if total is None else total + term
            if total is None:  # nothing leads there: zero, but in the graph
                total = nodes[0][:, :, :: self.stride, :: self.stride] * 0.0
            nodes.append(total)
        return torch.cat(nodes[2:], dim=1)


def _dropped(inputs: Tensor, probability: float) -> Tensor:
    """Zero for some of the samples, the others scaled to keep the mean."""
    keep = torch.empty_like(inputs[:, :1, :1, :1]).bernoulli_(1 - probability)
    return inputs * keep / (1 - probability)


class _Auxiliary(nn.Sequential):
    """The second classifier, on maps of 8×8 for CIFAR's stem and of 7×7 for ImageNet's."""

    def __init__(self, inward: int, classes: int, *, imagenet: bool) -> None:
        super().__init__(
            nn.ReLU(),
            nn.AvgPool2d(5, stride=2 if imagenet else 3, count_include_pad=False),
            nn.Conv2d(inward, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            *([] if imagenet else [nn.BatchNorm2d(768)]),  # as published
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),  # of one pixel, if the maps have the published size
            nn.Flatten(),
            nn.Linear(768, classes),
        )


class _Network(nn.Module):
    def __init__(self, open_: _Open, shape: Darts, stem: _Stem, task: Task) -> None:
        super().__init__()
        self.stem, self.second_stem = stem.first, stem.second
        self.drop_path = shape.drop_path
        self.cells = nn.ModuleList()
        self.auxiliary: nn.Module | None = None
        stages = list(_stages(shape, task, halves=stem.halves))
        self.last_reduction = max(n for n, stage in enumerate(stages) if stage.reduces)
        before, last, halve = stem.width, stem.width, stem.halves
        for number, stage in enumerate(stages):
            part = open_[len(EDGES) :] if stage.reduces else open_[: len(EDGES)]
            cell = _Cell(part, (before, last), stage.channels, reduces=stage.reduces, halve=halve)
            self.cells.append(cell)
            before, last, halve = last, len(NODES) * stage.channels, stage.reduces
            if shape.auxiliary and number == self.last_reduction:
                least = 7 if stem.halves else 8
                if stage.after < least:
                    raise ZeroshotError(
                        f"the auxiliary classifier of darts needs maps of {least} × {least} pixels "
                        f"or more; images of {task.size} pixels leave {stage.after} × {stage.after}"
                    )
                self.auxiliary = _Auxiliary(last, task.classes, imagenet=stem.halves)
        norm: list[nn.Module] = [nn.BatchNorm2d(last), nn.ReLU()] if shape.last_activation else []
        self.head = nn.Sequential(
            *norm, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, task.classes)
        )

    def forward(self, inputs: Tensor) -> Tensor | Logits:
        before = self.stem(inputs)
        last = self.second_stem(before)
        auxiliary = None
        for number, cell in enumerate(self.cells):
            before, last = last, cell(before, last, self.drop_path)
            if self.auxiliary is not None and self.training and number == self.last_reduction:
                auxiliary = self.auxiliary(last)
        logits = self.head(last)
        return logits if auxiliary is None else Logits(logits, auxiliary)
