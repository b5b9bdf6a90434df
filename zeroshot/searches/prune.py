"""Prune a supernet, option by option, to the network that a criterion likes best."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zeroshot.ranking import Ensemble, ranks
from zeroshot.spaces.space import Arch, Space

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Criterion:
    """How important an option is, told by what dropping it does to proxies of the supernet.

    Attributes:
        name: the word for `--criterion`.
        better: the proxies and their directions.
        importance: from gains (options × proxies, see `Effect`) to a number per option. The least
            important go.
        decimals: to which the gain of every repeat is rounded, if it is.
    """

    name: str
    better: Mapping[str, str]
    importance: Callable[[Array], Array]
    decimals: int | None = None


def te_nas(digits: int | None = None) -> Criterion:
    """Rank of the change in κ plus rank of the change in the number of linear regions.

    With `digits` it is the authors' code: every repeat's change is rounded to so many decimals,
    means are sorted as rounded to so many significant figures (see `dense_ranks`), and among equal
    sums of ranks goes what was sorted first by κ, which the fraction of the importance tells.
    Without, ties go to the option named first, and nothing is rounded.

    Source: Chen, Gong and Wang, 2021, arXiv:2102.11535.
    """

    def importance(gains: Array) -> Array:
        placed = np.stack([dense_ranks(-gain, digits) for gain in gains.T])
        found = placed.sum(axis=0).astype(np.float64)
        if digits is not None:
            found[_sorted(-gains[:, 0], digits)] += np.arange(len(found)) / len(found)
        return found

    better = {"condition": "lower", "regions": "higher"}
    return Criterion("te_nas", better, importance, decimals=digits)


def by_ensemble(ensemble: Ensemble, better: Mapping[str, str]) -> Criterion:
    """What an ensemble of proxies says of the supernets without each option."""

    def importance(gains: Array) -> Array:
        return -ensemble.rate(np.stack([ranks(gain) for gain in gains.T], axis=1))

    members = {member: better.get(member, "higher") for member in ensemble.members}
    return Criterion(ensemble.name, members, importance)


class Measured(NamedTuple):
    """What the criterion's proxies say of a supernet."""

    values: tuple[float, ...]
    singular: bool = False  # whether single precision finds an eigenvalue below zero


class Without(NamedTuple):
    """One supernet and the same without one option, shown the same data."""

    before: Measured
    after: Measured


class Effect(NamedTuple):
    """What dropping an option does to one proxy."""

    before: float  # mean over the repeats
    after: float
    gain: float  # mean of the improvements relative to |before|: positive where dropping helps
    rank: int  # 0 for the option whose loss helps most; equal gains share a rank


@dataclass(frozen=True)
class Candidate:
    """One option of a round.

    Attributes:
        round: from 1.
        axis: its name.
        option: its name.
        effects: by proxy.
        singular: measurements in which single precision finds an eigenvalue of the kernel below
            zero. The authors' code takes such a κ for the best of all.
        importance: by the criterion, among the options of the round.
        dropped: whether it went this round.
    """

    round: int
    axis: str
    option: str
    effects: Mapping[str, Effect]
    singular: int
    importance: float
    dropped: bool


# (supernet, options as (axis, option), round) -> for each, in order, one `Without` per repeat;
# what is left without an option is `without(supernet, axis, option)`
Measure = Callable[[Arch, Sequence[tuple[int, int]], int], Iterable[Sequence[Without]]]


def prune(
    space: Space,
    start: Arch,
    measure: Measure,
    criterion: Criterion,
    *,
    order: Sequence[int] | None = None,
    finalists: int = 1,
    history: Iterable[Candidate] = (),
    after_round: Callable[[Arch, list[Candidate]], None] = lambda arch, history: None,
) -> tuple[Arch, list[Candidate]]:
    """Drop the least important options until few networks are left.

    Without `order`, as in TE-NAS: each round, of every undecided axis `space.per_round` options go.
    With it, as in ZC-PT: axis by axis, the most important option stays and the others go.

    When one is left everywhere, and the space says that of each group of axes only `space.inputs`
    may keep theirs, a round for each group closes its least important axes: these are compared with
    each other alone, and without the axes closed before. Ties go to the option named first.

    Args:
        space: whose axes can be mixed.
        start: a supernet of it.
        measure: gives the options of a round with their repeats, in order.
        criterion: says how important an option is.
        order: of the axes, if they are decided one by one.
        finalists: stop as soon as at most so many networks are left.
        history: of earlier rounds, if `start` is where these ended.
        after_round: called with what is left and the history so far.

    Returns:
        The network or supernet that is left, and what was measured.
    """
    arch, seen = start, list(history)
    while left(space, arch) > finalists:
        number = 1 + max((candidate.round for candidate in seen), default=0)
        options = _options(space, arch, order)
        repeats = list(measure(arch, options, number))
        effects = [_effects(found, criterion) for found in repeats]
        gains = np.array([[effect.gain for effect in row] for row in effects])
        placed = np.stack([dense_ranks(-gain) for gain in gains.T], axis=1)
        importance = criterion.importance(gains)
        going = _going(space, arch, options, importance, order)
        for position, ((axis, option), found) in enumerate(zip(options, repeats, strict=True)):
            effect = {
                name: effects[position][i]._replace(rank=int(placed[position, i]))
                for i, name in enumerate(criterion.better)
            }
            seen.append(
                Candidate(
                    round=number,
                    axis=space.axes[axis].name,
                    option=space.axes[axis].options[option],
                    effects=effect,
                    singular=sum(pair.before.singular + pair.after.singular for pair in found),
                    importance=importance[position].item(),
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


def left(space: Space, arch: Arch) -> int:
    """How many networks can still come out of a supernet."""
    choices = (math.comb(len(group), space.inputs) for group in _full(space, arch))
    return math.prod(len(options) for options in arch.open) * math.prod(choices)


def networks(space: Space, arch: Arch) -> Iterator[Arch]:
    """The networks that can still come out of a supernet."""
    full = _full(space, arch)
    for genes in product(*arch.open):
        for kept in product(*(combinations(group, space.inputs) for group in full)):
            closed = {a for group, stay in zip(full, kept, strict=True) for a in group} - {
                a for stay in kept for a in stay
            }
            yield space.arch(*(0 if a in closed else gene for a, gene in enumerate(genes)))


def to_measure(space: Space, arch: Arch, order: Sequence[int] | None, finalists: int) -> int:
    """How many options `prune` will measure; the number does not depend on what it finds."""
    total = 0
    while left(space, arch) > finalists:
        options = _options(space, arch, order)
        total += len(options)
        for position in _going(space, arch, options, np.zeros(len(options)), order):
            arch = without(arch, *options[position])
    return total


def _full(space: Space, arch: Arch) -> list[list[int]]:
    """Groups with more axes that are not closed than may keep their option."""
    still = ([axis for axis in group if arch.open[axis] != (0,)] for group in space.groups)
    return [axes for axes in still if len(axes) > space.inputs]


def _options(space: Space, arch: Arch, order: Sequence[int] | None) -> list[tuple[int, int]]:
    """What may go next: options of undecided axes; if there are none, of the first full group."""
    axes = range(len(arch.open)) if order is None else order
    undecided = [axis for axis in axes if len(arch.open[axis]) > 1]
    if undecided:
        these = undecided if order is None else undecided[:1]
        return [(axis, option) for axis in these for option in arch.open[axis]]
    return [(axis, arch.open[axis][0]) for axis in _full(space, arch)[0]]


def _going(
    space: Space,
    arch: Arch,
    options: list[tuple[int, int]],
    importance: Array,
    order: Sequence[int] | None,
) -> set[int]:
    """Positions of the options that go: the least important of each axis, or of the group."""
    together: dict[int | None, list[int]] = {}
    closing = arch.is_network
    for position, (axis, _) in enumerate(options):
        together.setdefault(None if closing else axis, []).append(position)
    going: set[int] = set()
    for positions in together.values():
        one = 1 if order is not None else max(1, len(positions) - space.per_round)
        kept = space.inputs if closing else one
        going |= set(sorted(positions, key=lambda i: (importance[i], i))[: len(positions) - kept])
    return going


def relative_gain(before: float, after: float, better: str) -> float:
    """The improvement relative to |before|; ±∞ where one of them is infinite or `before` is 0."""
    if before == after:
        return 0.0
    gain = after - before if better == "higher" else before - after
    if math.isinf(gain) or before == 0:
        return math.copysign(math.inf, gain)
    return gain / abs(before)


def dense_ranks(values: Array, digits: int | None = None) -> NDArray[np.int64]:
    """0 for the smallest; the next rank wherever the value differs from the one before.

    With `digits` values are sorted as rounded to so many significant figures, but compared
    unrounded, as in TE-NAS' code: near-ties keep their order of enumeration and still differ.
    """
    found = np.zeros(len(values), dtype=np.int64)
    for earlier, later in pairwise(_sorted(values, digits)):
        found[later] = found[earlier] + int(values[earlier] != values[later])
    return found


def _sorted(values: Array, digits: int | None) -> NDArray[np.int64]:
    """Where the smallest is, then the next, and so on."""
    keys = values if digits is None else np.array([_rounded(value, digits) for value in values])
    return np.argsort(keys, kind="stable")


def rows_of(history: Iterable[Candidate]) -> list[dict[str, object]]:
    """The history as rows of a table: `PROXY_before`, `_after`, `_gain` and `_rank` for each."""
    return [
        {"round": c.round, "axis": c.axis, "option": c.option}
        | {
            f"{proxy}_{part}": value
            for proxy, effect in c.effects.items()
            for part, value in effect._asdict().items()
        }
        | {"singular": c.singular, "importance": c.importance, "dropped": c.dropped}
        for c in history
    ]


def from_rows(rows: Iterable[Mapping[str, object]], criterion: Criterion) -> list[Candidate]:
    """The history back from rows."""
    return [
        Candidate(
            effects={
                proxy: Effect(*(row[f"{proxy}_{part}"] for part in Effect._fields))  # type: ignore[arg-type]
                for proxy in criterion.better
            },
            **{  # type: ignore[arg-type]
                key: row[key]
                for key in ("round", "axis", "option", "singular", "importance", "dropped")
            },
        )
        for row in rows
    ]


def _effects(repeats: Sequence[Without], criterion: Criterion) -> list[Effect]:
    effects = []
    for i, direction in enumerate(criterion.better.values()):
        pairs = [(pair.before.values[i], pair.after.values[i]) for pair in repeats]
        gains = (relative_gain(before, after, direction) for before, after in pairs)
        if criterion.decimals is not None:
            gains = (round(gain, criterion.decimals) for gain in gains)
        gain = _mean(gains)
        before, after = (_mean(values) for values in zip(*pairs, strict=True))
        effects.append(Effect(before, after, gain, 0))
    return effects


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
