"""TE-NAS: prune a supernet, option by option, to the network that is easiest to train."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zeroshot.errors import ZeroshotError
from zeroshot.spaces.space import Arch, Space

Array = NDArray[np.float64]


class Measured(NamedTuple):
    """What TE-NAS asks of a supernet."""

    condition: float  # κ of the tangent kernel: lower is better; ∞ if singular
    regions: float  # number of linear regions: higher is better


class Without(NamedTuple):
    """One supernet and the same without one option, shown the same data."""

    before: Measured
    after: Measured


@dataclass(frozen=True)
class Candidate:
    """One option of a round: what dropping it does, averaged over the repeats.

    Attributes:
        round: from 1.
        axis: its name.
        option: its name.
        condition_before: mean κ of the supernet of the round.
        condition_after: mean κ without the option.
        regions_before: mean number of linear regions of the supernet.
        regions_after: mean number without the option.
        condition_change: mean of (κ₀ − κ₁) / κ₀: positive where dropping helps.
        regions_change: mean of (R₀ − R₁) / R₀: negative where dropping helps.
        condition_rank: 0 for the option whose loss helps κ most; equal changes share a rank.
        regions_rank: 0 for the option whose loss hurts R least; equal changes share a rank.
        importance: the sum of both; the lowest of an axis goes.
        dropped: whether it went this round.
    """

    round: int
    axis: str
    option: str
    condition_before: float
    condition_after: float
    regions_before: float
    regions_after: float
    condition_change: float
    regions_change: float
    condition_rank: int
    regions_rank: int
    importance: int
    dropped: bool


# (supernet, options as (axis, option), round) -> for each, in order, one `Without` per repeat;
# what is left without an option is `without(supernet, axis, option)`
Measure = Callable[[Arch, Sequence[tuple[int, int]], int], Iterable[Sequence[Without]]]


def prune(
    space: Space,
    start: Arch,
    measure: Measure,
    *,
    digits: int | None = None,
    history: Iterable[Candidate] = (),
    after_round: Callable[[Arch, list[Candidate]], None] = lambda arch, history: None,
) -> tuple[Arch, list[Candidate]]:
    """Drop the least important options of every undecided axis, round by round.

    As many as `space.per_round` go from an axis at a time. When one is left everywhere, and the
    space says that of each group of axes only `space.inputs` may keep theirs, one more round
    closes the least important axes of each group.

    Importance is the rank of the change in κ plus the rank of the change in the number of linear
    regions, among all options of the round. Ties within an axis go to the option named first.

    Args:
        space: whose axes can be mixed.
        start: a supernet of it.
        measure: gives the options of a round with their repeats, in order.
        digits: round κ changes to this many significant figures before sorting them, as the
            authors' code does; ties are still told by the unrounded values.
        history: of earlier rounds, if `start` is where these ended.
        after_round: called with what is left and the history so far.

    Returns:
        The single-path network, and what was measured.

    Raises:
        ZeroshotError: if an option could not be measured.
    """
    arch, seen = start, list(history)
    while _options(space, arch):
        number = 1 + max((candidate.round for candidate in seen), default=0)
        options = _options(space, arch)
        repeats = list(measure(arch, options, number))
        changes = [_changes(found) for found in repeats]
        conditions, regions = (np.array(column) for column in zip(*changes, strict=True))
        if np.isnan(conditions).any() or np.isnan(regions).any():
            axis, option = options[int(np.isnan(conditions + regions).argmax())]
            raise ZeroshotError(
                f"without {_named(space, axis, option)} the supernet has no κ or no regions"
            )
        condition_ranks = dense_ranks(-conditions, digits)
        region_ranks = dense_ranks(regions, digits)
        importance = condition_ranks + region_ranks
        going = _going(space, arch, options, importance)
        for position, ((axis, option), found) in enumerate(zip(options, repeats, strict=True)):
            name, label = space.axes[axis].name, space.axes[axis].options[option]
            seen.append(
                Candidate(
                    round=number,
                    axis=name,
                    option=label,
                    condition_before=_mean(pair.before.condition for pair in found),
                    condition_after=_mean(pair.after.condition for pair in found),
                    regions_before=_mean(pair.before.regions for pair in found),
                    regions_after=_mean(pair.after.regions for pair in found),
                    condition_change=float(conditions[position]),
                    regions_change=float(regions[position]),
                    condition_rank=int(condition_ranks[position]),
                    regions_rank=int(region_ranks[position]),
                    importance=int(importance[position]),
                    dropped=position in going,
                )
            )
        for position in going:
            arch = without(arch, *options[position])
        after_round(arch, seen)
    return arch, seen


def without(arch: Arch, axis: int, option: int) -> Arch:
    """What is left without an option; if it is the last of its axis, that becomes option 0."""
    if arch.open[axis] != (option,):
        return arch.drop(axis, option)
    return replace(arch, open=(*arch.open[:axis], (0,), *arch.open[axis + 1 :]))


def _options(space: Space, arch: Arch) -> list[tuple[int, int]]:
    """What may go next: options of undecided axes; if there are none, axes of a group too many."""
    undecided = [(axis, left) for axis, left in enumerate(arch.open) if len(left) > 1]
    if undecided:
        return [(axis, option) for axis, left in undecided for option in left]
    full = ([axis for axis in group if arch.open[axis] != (0,)] for group in space.groups)
    return [
        (axis, arch.open[axis][0]) for group in full if len(group) > space.inputs for axis in group
    ]


def _going(
    space: Space, arch: Arch, options: list[tuple[int, int]], importance: NDArray[np.int64]
) -> set[int]:
    """Positions of the options that go: the least important of each axis, or group of axes."""
    together: dict[int, list[int]] = {}
    group_of = {axis: number for number, group in enumerate(space.groups) for axis in group}
    closing = arch.is_network
    for position, (axis, _) in enumerate(options):
        together.setdefault(group_of[axis] if closing else axis, []).append(position)
    going: set[int] = set()
    for positions in together.values():
        kept = space.inputs if closing else max(1, len(positions) - space.per_round)
        going |= set(sorted(positions, key=lambda i: (importance[i], i))[: len(positions) - kept])
    return going


def relative_change(before: float, after: float) -> float:
    """(before − after) / before; ±∞ and 0 where values are infinite, 0 where both are zero."""
    if before == after:
        return 0.0
    if math.isinf(before):
        return math.inf if before > 0 else -math.inf
    if before == 0:
        return -math.inf if after > 0 else math.inf
    return (before - after) / before


def dense_ranks(values: Array, digits: int | None = None) -> NDArray[np.int64]:
    """0 for the smallest; the next rank wherever the value differs from the one before.

    With `digits` values are sorted as rounded to so many significant figures, but compared
    unrounded, as in TE-NAS' code: near-ties keep their order of enumeration and still differ.
    """
    keys = values if digits is None else np.array([_rounded(value, digits) for value in values])
    order = np.argsort(keys, kind="stable")
    ranks = np.zeros(len(values), dtype=np.int64)
    for earlier, later in pairwise(order):
        ranks[later] = ranks[earlier] + int(values[earlier] != values[later])
    return ranks


def rows_of(history: Iterable[Candidate]) -> list[dict[str, object]]:
    """The history as rows of a table."""
    return [asdict(candidate) for candidate in history]


def from_rows(rows: Iterable[Mapping[str, object]]) -> list[Candidate]:
    """The history back from rows."""
    return [Candidate(**row) for row in rows]  # type: ignore[arg-type]


def _changes(repeats: Sequence[Without]) -> tuple[float, float]:
    return (
        _mean(relative_change(p.before.condition, p.after.condition) for p in repeats),
        _mean(relative_change(p.before.regions, p.after.regions) for p in repeats),
    )


def _mean(values: Iterable[float]) -> float:
    """The mean; +∞ and −∞ together cancel, as a change that repeats do not agree on."""
    held = list(values)
    infinite = sum(math.copysign(1, value) for value in held if math.isinf(value))
    if any(math.isinf(value) for value in held):
        return 0.0 if infinite == 0 else math.copysign(math.inf, infinite)
    return math.fsum(held) / len(held)


def _rounded(value: float, digits: int) -> float:
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def _named(space: Space, axis: int, option: int) -> str:
    return f"{space.axes[axis].options[option]} on {space.axes[axis].name}"
