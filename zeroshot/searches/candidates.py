"""Which architectures to score: a sample, all, or a file's, within limits on size."""

import math
from bisect import insort
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zeroshot.errors import ZeroshotError, whole
from zeroshot.eval.tables import SPELLING, SUFFIXES, read_spelt, read_text
from zeroshot.spaces.space import Arch, Space, Task

MANY = 1_000_000  # architectures above which a space is neither taken whole nor shuffled
PER_WANTED = 100  # random draws of such a space for each architecture wanted
LEAST = 200  # draws at least; if then fewer than 1 in `PER_WANTED` fit, neighbours are tried
STEPS = 20  # neighbours tried for each architecture wanted, besides `LEAST`


@dataclass(frozen=True)
class Limits:
    """What a candidate may weigh at most; None is no limit."""

    params: float | None = None
    flops: float | None = None

    def admit(self, space: Space, arch: Arch, task: Task) -> bool:
        """Whether an architecture is within the limits."""
        return self.excess(space, arch, task) <= 1

    def excess(self, space: Space, arch: Arch, task: Task) -> float:
        """The largest ratio of a cost to its limit; 0 without limits, within them at most 1."""
        if self.params is None and self.flops is None:
            return 0.0
        cost = space.cost(arch, task)
        stated = ((cost.params, self.params), (cost.macs, self.flops))
        return max(_ratio(number, limit) for number, limit in stated if limit is not None)

    def __str__(self) -> str:
        stated = (("parameters", self.params), ("multiply-adds", self.flops))
        return " and ".join(f"{limit:,.0f} {what}" for what, limit in stated if limit is not None)


def _ratio(number: int, limit: float) -> float:
    """Of a number to a limit; at most 1 exactly if it is within, also for a limit of 0."""
    if limit > 0:
        return number / limit
    return 1.0 if number <= limit else math.inf


@dataclass(frozen=True)
class Chosen:
    """Architectures to score.

    Attributes:
        archs: all different.
        drawn: so many were looked at, drawn uniformly.
        uniform: so many of `archs`, the first ones, are a uniform sample; the others are not.
    """

    archs: tuple[Arch, ...]
    drawn: int
    uniform: int


def choose(
    space: Space,
    task: Task,
    *,
    sample: int | None,
    limits: Limits,
    rng: np.random.Generator,
    least: int | None = None,
) -> Chosen:
    """Architectures within the limits: `sample` different ones at random, or all in index order.

    Of up to `MANY` architectures all are looked at, if need be, so a sample is uniform. Of more,
    `PER_WANTED` are drawn for each wanted. If too few of these are within the limits, the sample is
    filled up by evolution: a random one of those nearest to the limits is mutated, and what comes
    nearer, or is within, is mutated on. That part is not uniform: its architectures are alike, and
    lie at the limits more often than not. The costs of at most `PER_WANTED` + `STEPS` architectures
    for each wanted are counted, and 2 * `LEAST` more: mostly under 1 ms each, in nasnet 1 s.

    Raises:
        ZeroshotError: if there are none, or none is found, or fewer than `least`, by default
            `sample`; or for all of more than `MANY`.
    """
    size = space.size
    if sample is None and size > MANY:
        raise ZeroshotError(
            f"all of {space.name}: {size:,} architectures are too many to score; ask for a sample, "
            f"or list at most {MANY:,} of them"
        )
    if sample is not None:
        sample = whole("sample", sample)
        if not 1 <= sample <= MANY:
            raise ZeroshotError(f"a sample of {sample:,}; expected 1 to {MANY:,}")
    huge = size > MANY
    drawn = 0
    bounded = bool(str(limits))
    excess: dict[Arch, float] = {}
    chosen: list[Arch] = []
    for drawn, arch in enumerate(_drawn(space, sample, bounded, rng), start=1):
        over = limits.excess(space, arch, task)
        if over <= 1:
            chosen.append(arch)
            if len(chosen) == sample:
                break
        if huge:
            excess[arch] = over
            if drawn == LEAST and len(chosen) < LEAST / PER_WANTED:
                break
    uniform = len(chosen)
    if sample is not None and huge and uniform < sample and drawn < size:
        chosen += _evolved(space, task, limits, excess, sample - uniform, rng)
    if len(chosen) < (least or sample or 1):
        wanted = "any" if sample is None or least else f"a sample of {sample:,}"
        advice = "raise the limits" if least else "ask for fewer or raise the limits"
        within = f" with at most {limits}" if str(limits) else ""
        there = f"{space.name} has {len(chosen):,} architectures{within}"
        if huge:
            there = (
                f"of {drawn:,} architectures of {space.name} drawn at random, {uniform:,} have "
                f"{within.removeprefix(' with ')}; mutating the nearest found "
                f"{len(chosen) - uniform:,} more"
            )
        raise ZeroshotError(f"{wanted}: {there}; {advice}")
    return Chosen(tuple(chosen), drawn, uniform)


def _evolved(
    space: Space,
    task: Task,
    limits: Limits,
    excess: dict[Arch, float],
    count: int,
    rng: np.random.Generator,
) -> list[Arch]:
    """Up to `count` more architectures within the limits, near those of which `excess` tells.

    Of what is equally near the newest is mutated on, so that the walk spreads within the limits.
    """
    nearest = sorted((max(1.0, over), -n, arch) for n, (arch, over) in enumerate(excess.items()))
    nearest = nearest[: max(count, 20)]
    found: list[Arch] = []
    for _ in range(LEAST + STEPS * count):
        child = space.mutate(nearest[int(rng.integers(len(nearest)))][2], rng)
        if child in excess:
            continue
        excess[child] = over = limits.excess(space, child, task)
        insort(nearest, (max(1.0, over), -len(excess), child))
        nearest.pop()
        if over <= 1:
            found.append(child)
            if len(found) == count:
                break
    return found


class Read(NamedTuple):
    """Architectures of a file, each once, and how many entries name one that is there already."""

    archs: list[Arch]
    doubles: int


def read_archs(space: Space, path: Path, arch: str = SPELLING) -> Read:
    """Architectures of a file: one per line, or of a table's rows as `arch` spells them.

    A table of scores has an architecture once per seed, which are no doubles.

    Raises:
        ZeroshotError: if it cannot be read, names none, or a malformed one (with its line).
    """
    if path.name.endswith(SUFFIXES):
        table, spelt = read_spelt(path, arch)
        entries = [(f"row {row}", text) for row, text in enumerate(spelt, start=1)]
        if "seed" in table.columns:
            first = {text: place for place, text in reversed(entries)}
            entries = [(place, text) for place, text in entries if first[text] == place]
    else:
        lines = enumerate(read_text(path).splitlines(), start=1)
        entries = [(f"line {number}", line) for number, line in lines if line.strip()]
    if not entries:
        raise ZeroshotError(f"{path} names no architecture; expected one per line")
    archs = list(_parsed(space, entries, f"{path}, "))
    return Read(list(dict.fromkeys(archs)), len(archs) - len(set(archs)))


def list_archs(space: Space, archs: Sequence[str | int | Arch]) -> list[Arch]:
    """Architectures given as strings, indices or values.

    Raises:
        ZeroshotError: if there are none, or one is malformed, of another space or there twice.
    """
    if not isinstance(archs, Collection):
        raise ZeroshotError(f"archs {archs!r}: expected a file or a list of architectures")
    if not len(archs):
        raise ZeroshotError("the list of architectures is empty; expected at least one")
    entries = [(f"entry {n}", arch) for n, arch in enumerate(archs, start=1)]
    found: dict[Arch, str] = {}
    for (place, _), arch in zip(entries, _parsed(space, entries, ""), strict=True):
        if arch in found:
            raise ZeroshotError(f"{place} is the same architecture as {found[arch]}; keep one")
        found[arch] = place
    return list(found)


def _parsed(
    space: Space, entries: Sequence[tuple[str, str | int | Arch]], source: str
) -> Iterator[Arch]:
    for place, entry in entries:
        try:
            arch = entry if isinstance(entry, Arch) else space.parse(str(entry))
            space.check(arch)
            space.spell(arch)  # a supernet has no name
        except ZeroshotError as error:
            raise ZeroshotError(f"{source}{place}: {error}") from error
        yield arch


def _drawn(
    space: Space, sample: int | None, bounded: bool, rng: np.random.Generator
) -> Iterator[Arch]:
    """All architectures in index order, or shuffled; of more than `MANY`, enough of them."""
    if sample is None:
        return iter(space)
    if not bounded:
        return iter(space.sample(min(sample, space.size), rng))
    count = space.size if space.size <= MANY else max(LEAST, PER_WANTED * sample)
    return iter(space.sample(min(count, space.size), rng))
