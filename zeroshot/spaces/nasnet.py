"""NASNet: a normal and a reduction cell of 5 blocks, each of two inputs and two operations."""

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from zeroshot.errors import ZeroshotError, cut
from zeroshot.spaces.layers import FactorizedReduce, ReluConvBn, separable
from zeroshot.spaces.space import Arch, Axis, Space, Task

OPS = (
    "identity",
    "conv_1x1",
    "conv_3x3",
    "conv_1x3_3x1",
    "conv_1x7_7x1",
    "dilated_3x3",
    "separable_3x3_2",
    "separable_5x5_2",
    "separable_7x7_2",
    "avg_pool_3x3",
    "max_pool_3x3",
    "max_pool_5x5",
    "max_pool_7x7",
)
COMBINATIONS = ("add", "concat")
CELLS = ("normal", "reduction")
BLOCKS = 5
STATES = 2 + BLOCKS  # 0 is the output of the last cell, 1 of the one before, then the blocks
AXES = 5 * BLOCKS + STATES - 1  # of a cell
KEYS = ("operations", "hiddenstate_indices", "used_hiddenstates", "combinations")


@dataclass(frozen=True)
class NasNet(Space):
    """Cells of five blocks; a block applies two operations to two states and combines the results.

    States are the outputs of the last cell (0) and of the one before (1), each brought to
    `filters` channels by a 1×1 convolution, and of the blocks before. Results are added, or
    concatenated and brought back to `filters` channels by a 1×1 convolution. A cell's output are
    all states that no block reads, side by side, and those it is told to keep: the last axes of a
    cell. NASNet-A keeps states that are read, so could not be expressed without.

    Stem, three times `repeats` normal cells, the second and third time with twice the channels and
    behind a reduction cell, global average pooling, classifier. The stem for ImageNet is a
    convolution and two reduction cells.

    NASNet-A, 6 @ 768 for CIFAR-10, has 3.33 M parameters (published: 3.3 M). For ImageNet at 224 ×
    224, 4 @ 1056 (filters=44, repeats=4, stem_multiplier=1) has 5.29 M and 558 M multiply-adds
    (5.3 M, 564 M); at 331 × 331, 6 @ 4032 (filters=168) has 88.7 M and 23.8 G (88.9 M, 23.8 G).
    Differs: the first cell, which has but one before it, reads it through two projections, as DARTS
    does; identity and 1×1 convolutions with stride 2 lose no pixels (`FactorizedReduce`). Left out
    are the auxiliary classifier, dropout and drop-path.

    Attributes:
        filters: channels of each operation in the cells before the first reduction.
        repeats: normal cells between reductions.
        stem_multiplier: channels of the stem's convolution: for each of `filters` with CIFAR's
            stem, for each of 32 with ImageNet's.
        stem: 'cifar', one convolution; 'imagenet', which divides the size by 8; 'auto', the latter
            for images of 128 pixels or more.
    """

    filters: int = 32
    repeats: int = 6
    stem_multiplier: int = 3
    stem: str = "auto"

    name = "nasnet"
    axes = tuple(
        axis
        for cell in CELLS
        for axis in (
            *(
                Axis(f"{cell} {block} {what}", options)
                for block in range(2, STATES)
                for what, options in (
                    ("first input", tuple(map(str, range(block)))),
                    ("first operation", OPS),
                    ("second input", tuple(map(str, range(block)))),
                    ("second operation", OPS),
                    ("combination", COMBINATIONS),
                )
            ),
            *(Axis(f"{cell} output {state}", ("unread", "always")) for state in range(STATES - 1)),
        )
    )
    source = "arXiv:1707.07012"
    channels_last = True

    def __post_init__(self) -> None:
        for field, least in (("filters", 8), ("repeats", 1), ("stem_multiplier", 1)):
            if getattr(self, field) < least:
                raise ZeroshotError(
                    f"{field} {getattr(self, field)}: nasnet needs at least {least}"
                )
        if self.stem not in ("auto", "cifar", "imagenet"):
            raise ZeroshotError(f"stem {self.stem!r}: expected auto, cifar or imagenet")

    @property
    def small(self) -> "NasNet":
        """8 filters, one cell between reductions."""
        return replace(self, filters=8, repeats=1)

    # -- notation ------------------------------------------------------------------------------

    def spell(self, arch: Arch) -> str:
        """JSON with the lists of the authors' code for each cell.

        'operations' and 'hiddenstate_indices', two for each block; 'used_hiddenstates', 0 for the
        states of the output; 'combinations', one for each block. Architectures that are not
        canonical are spelled by their options, for these lists would not tell all of them apart.
        """
        if self.canonical(arch) != arch:
            return super().spell(arch)
        cells = [_cell(arch.genes[AXES * number :][:AXES]) for number in range(len(CELLS))]
        parts = {}
        for name, cell in zip(CELLS, cells, strict=True):
            edges = [edge for block in cell.blocks for edge in block.edges]
            used = [int(state not in cell.output) for state in range(STATES)]
            combinations = [COMBINATIONS[block.combination] for block in cell.blocks]
            lists = (
                [OPS[op] for _, op in edges],
                [source for source, _ in edges],
                used,
                combinations,
            )
            parts[name] = dict(zip(KEYS, lists, strict=True))
        return json.dumps(parts)

    def parse_native(self, text: str) -> Arch:
        """Read that; 'none' is identity, as in the authors' code, and no 'combinations' are adds.

        The architecture is canonical.
        """
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            _wrong(text, "JSON with the lists of a normal and a reduction cell")
        if not isinstance(found, dict) or set(found) != set(CELLS):
            _wrong(text, f"JSON with {' and '.join(CELLS)}")
        return self.canonical(self.arch(*(g for name in CELLS for g in _read(name, found[name]))))

    # -- what an architecture is ---------------------------------------------------------------

    def canonical(self, arch: Arch) -> Arch:
        """The first of the cells that differ only in the order of blocks, or of a block's halves.

        Blocks that do not depend on each other may change places: what reads them side by side has
        freshly drawn weights. A state that no block reads is part of the output anyway.
        """
        parts = (arch.genes[AXES * number :][:AXES] for number in range(len(CELLS)))
        return self.arch(*(gene for part in parts for gene in _first(part)))

    # -- networks ------------------------------------------------------------------------------

    def build(self, arch: Arch, task: Task) -> nn.Module:
        """The network, for images of any size."""
        cells = [_cell(arch.genes[AXES * number :][:AXES]) for number in range(len(CELLS))]
        imagenet = self.stem == "imagenet" or (self.stem == "auto" and task.size >= 128)
        return _Network(self, cells[0], cells[1], task, imagenet=imagenet)

    def blocks(self, module: nn.Module) -> tuple[str, ...]:
        """The stem and every cell."""
        assert isinstance(module, _Network)
        return ("stem", *(f"cells.{i}" for i in range(len(module.cells))))


# -- cells ---------------------------------------------------------------------------------------


class _Block(NamedTuple):
    edges: tuple[tuple[int, int], tuple[int, int]]  # state and operation, twice
    combination: int


class _CellPlan(NamedTuple):
    blocks: tuple[_Block, ...]
    output: tuple[int, ...]  # the states that make it


def _cell(genes: tuple[int, ...]) -> _CellPlan:
    parts = [genes[start : start + 5] for start in range(0, 5 * BLOCKS, 5)]
    blocks = tuple(_Block(((a, op), (b, other)), how) for a, op, b, other, how in parts)
    read = {source for block in blocks for source, _ in block.edges}
    always = (*genes[5 * BLOCKS :], 1)  # the last block cannot be read
    output = tuple(s for s, kept in enumerate(always) if kept or s not in read)
    return _CellPlan(blocks, output)


def _genes(cell: _CellPlan) -> tuple[int, ...]:
    """The options of a cell, 'unread' for states that no block reads."""
    read = {source for block in cell.blocks for source, _ in block.edges}
    parts = ((*one, *other, how) for (one, other), how in cell.blocks)
    kept = (int(state in cell.output and state in read) for state in range(STATES - 1))
    return *(gene for part in parts for gene in part), *kept


@lru_cache(maxsize=4096)
def _first(genes: tuple[int, ...]) -> tuple[int, ...]:
    """The smallest genes among a cell's orders of blocks."""
    cell = _cell(genes)
    found = []
    for order in permutations(range(BLOCKS)):
        name = {0: 0, 1: 1, **{2 + block: 2 + place for place, block in enumerate(order)}}
        blocks = []
        for place, number in enumerate(order):
            one, other = ((name[source], op) for source, op in cell.blocks[number].edges)
            if max(one[0], other[0]) >= 2 + place:
                break
            first, second = sorted((one, other))
            blocks.append(_Block((first, second), cell.blocks[number].combination))
        else:
            output = tuple(sorted(name[state] for state in cell.output))
            found.append(_genes(_CellPlan(tuple(blocks), output)))
    return min(found)


# -- reading cells -------------------------------------------------------------------------------


def _wrong(found: str, expected: str) -> NoReturn:
    found = cut(found)
    raise ZeroshotError(f"{found!r} is no nasnet architecture: expected {expected}")


def _read(name: str, cell: Any) -> tuple[int, ...]:
    """The genes of one cell; the error names the place and what was expected there."""
    if not isinstance(cell, dict) or not set(KEYS[:3]) <= set(cell) <= set(KEYS):
        _wrong(f"{name}: {cell}", f"lists {', '.join(KEYS[:3])} and, if need be, {KEYS[3]}")
    lists = {"combinations": ["add"] * BLOCKS, **cell}
    lengths = (2 * BLOCKS, 2 * BLOCKS, STATES, BLOCKS)
    for key, length in zip(KEYS, lengths, strict=True):
        if not isinstance(lists[key], list) or len(lists[key]) != length:
            _wrong(f"{name} {key}: {lists[key]}", f"a list of {length}")
    for place, op in enumerate(lists["operations"]):
        if op not in (*OPS, "none"):
            _wrong(f"{name} operations[{place}]: {op}", f"one of {', '.join(OPS)}")
    for place, source in enumerate(lists["hiddenstate_indices"]):
        block = 2 + place // 2
        if type(source) is not int or not 0 <= source < block:
            _wrong(
                f"{name} hiddenstate_indices[{place}]: {source}", f"a state from 0 to {block - 1}"
            )
    for how in lists["combinations"]:
        if how not in COMBINATIONS:
            _wrong(f"{name} combinations: {how}", " or ".join(COMBINATIONS))
    for state, used in enumerate(lists["used_hiddenstates"]):
        is_read = state in lists["hiddenstate_indices"]
        if type(used) is not int or used not in ((0, 1) if is_read else (0,)):
            expected = "0 or 1" if is_read else "0, for no block reads that state"
            _wrong(f"{name} used_hiddenstates[{state}]: {used}", expected)
    ops = [0 if op == "none" else OPS.index(op) for op in lists["operations"]]
    edges = list(zip(lists["hiddenstate_indices"], ops, strict=True))
    genes: list[int] = []
    for block, how in enumerate(lists["combinations"]):
        genes += (*edges[2 * block], *edges[2 * block + 1], COMBINATIONS.index(how))
    return *genes, *(1 - used for used in lists["used_hiddenstates"][:-1])


# -- networks ------------------------------------------------------------------------------------


def _operation(name: str, filters: int, stride: int) -> nn.Module:
    kernel = 1 if name == "identity" else int(name.removesuffix("_2")[-1])
    if name in ("identity", "conv_1x1") and stride == 2:
        return FactorizedReduce(filters, filters)
    if name == "identity":
        return nn.Identity()
    if name.startswith("separable"):
        first, second = separable(filters, kernel, stride), separable(filters, kernel)
        return nn.Sequential(nn.ReLU(), *first, nn.ReLU(), *second)
    if name.startswith("avg_pool"):
        return nn.AvgPool2d(kernel, stride, kernel // 2, count_include_pad=False)
    if name.startswith("max_pool"):
        return nn.MaxPool2d(kernel, stride, kernel // 2)
    if name == "dilated_3x3":
        conv = nn.Conv2d(filters, filters, 3, stride, padding=2, dilation=2, bias=False)
        return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(filters))
    if name in ("conv_1x1", "conv_3x3"):
        return ReluConvBn(filters, filters, kernel, stride)
    long = int(name[-3])  # conv_1x7_7x1
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(filters, filters, (1, long), (1, stride), (0, long // 2), bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(),
        nn.Conv2d(filters, filters, (long, 1), (stride, 1), (long // 2, 0), bias=False),
        nn.BatchNorm2d(filters),
    )


class _Cell(nn.Module):
    def __init__(
        self, plan: _CellPlan, widths: tuple[int, int], filters: int, *, stride: int, halve: bool
    ) -> None:
        """`widths`: of the cell before the last, and of the last one.

        `halve`: whether the former gives twice the size of the latter.
        """
        super().__init__()
        before, last = widths
        self.last = ReluConvBn(last, filters, 1)
        self.before = FactorizedReduce(before, filters) if halve else ReluConvBn(before, filters, 1)
        self.plan = plan
        self.halves = nn.ModuleList(
            _operation(OPS[op], filters, stride if source < 2 else 1)
            for block in plan.blocks
            for source, op in block.edges
        )
        self.joins = nn.ModuleDict(
            {
                str(number): ReluConvBn(2 * filters, filters, 1)
                for number, block in enumerate(plan.blocks)
                if block.combination
            }
        )
        self.shrinks = nn.ModuleDict(
            {str(s): FactorizedReduce(filters, filters) for s in plan.output if s < 2}
            if stride == 2
            else {}
        )

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        states = [self.last(last), self.before(before)]
        halves = iter(self.halves)
        for number, block in enumerate(self.plan.blocks):
            one, other = (next(halves)(states[source]) for source, _ in block.edges)
            if block.combination:
                states.append(self.joins[str(number)](torch.cat([one, other], dim=1)))
            else:
                states.append(one + other)
        for state, shrink in self.shrinks.items():
            states[int(state)] = shrink(states[int(state)])
        return torch.cat([states[state] for state in self.plan.output], dim=1)


class _Network(nn.Module):
    def __init__(
        self, shape: NasNet, normal: _CellPlan, reduction: _CellPlan, task: Task, *, imagenet: bool
    ) -> None:
        super().__init__()
        width = (32 if imagenet else shape.filters) * shape.stem_multiplier
        self.stem = nn.Sequential(
            nn.Conv2d(task.channels, width, 3, 1 + imagenet, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        plans = [(shape.filters // 4, 2), (shape.filters // 2, 2)] if imagenet else []
        for stage in range(3):
            filters = shape.filters * 2**stage
            plans += [(filters, 2)] * (stage > 0) + [(filters, 1)] * shape.repeats
        self.cells = nn.ModuleList()
        before, last, halve = width, width, False
        for filters, stride in plans:
            plan = reduction if stride == 2 else normal
            cell = _Cell(plan, (before, last), filters, stride=stride, halve=halve)
            self.cells.append(cell)
            before, last, halve = last, len(plan.output) * filters, stride == 2
        self.head = nn.Sequential(
            nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, task.classes)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        before = last = self.stem(inputs)
        for cell in self.cells:
            before, last = last, cell(before, last)
        return self.head(last)
