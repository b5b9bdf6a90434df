"""Search a space: score a generation, propose the next one from the best so far, and so on."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from zeroshot.edition import edition
from zeroshot.errors import ZeroshotError, nearest, whole
from zeroshot.ranking import Ensemble, rank
from zeroshot.searches.candidates import MANY, Limits
from zeroshot.spaces.space import Arch, Space, Task

PARENTS = 10  # of the best that have children
MORE = 250  # proposals after which as many more may have some
IDLE = 10_000  # proposals in a row that are nothing new, before others are drawn at random
BLOCK = 100  # architectures that are drawn at random at once

# (space, what may have children, from best to worst) -> proposals, which may be there already or
# beyond limits, and which may end
Propose = Callable[[Space, Iterator[Arch], np.random.Generator], Iterator[Arch]]


@dataclass(frozen=True)
class Method:
    """A way to search.

    Attributes:
        name: the word for `--method`.
        propose: what to score next.
        source: where it is from.
    """

    name: str
    propose: Propose
    source: str


def climb(space: Space, order: Iterator[Arch], rng: np.random.Generator) -> Iterator[Arch]:
    """All neighbours of the best, in random order; then those of the second best, and so on.

    Local search (White, Nolen and Savani, 2021, arXiv:2005.02960), which goes on from the next best
    where that stops: at a network without better neighbours.
    """
    for arch in order:
        neighbours = space.neighbours(arch)
        yield from (neighbours[int(index)] for index in rng.permutation(len(neighbours)))


def evolve(space: Space, order: Iterator[Arch], rng: np.random.Generator) -> Iterator[Arch]:
    """Children of the best ten: one of them, or two crossed, with one axis changed at random.

    As in AZ-NAS (arXiv:2403.19232) and Zen-NAS (arXiv:2102.01063), whoever is among the best of all
    so far has children, for a score does not change as a network grows old. These keep 1024 and 256
    of thousands, and never cross. Where ten have had `MORE` proposals and more are asked for, for
    many were there already, the next ten have children too, and so on.
    """
    best: list[Arch] = []
    while True:
        best += islice(order, PARENTS)
        for _ in range(MORE):
            one, other = (best[int(index)] for index in rng.integers(len(best), size=2))
            crossed = rng.integers(2) == 1
            yield space.mutate(space.cross(one, other, rng) if crossed else one, rng)


def random(space: Space, order: Iterator[Arch], rng: np.random.Generator) -> Iterator[Arch]:
    """Architectures drawn uniformly: what any search has to beat."""
    while True:
        yield from space.sample(min(BLOCK, space.size), rng)


SEARCHES: tuple[Method, ...] = (
    Method("climb", climb, "arXiv:2005.02960"),
    Method("evolve", evolve, "arXiv:2403.19232"),
    Method("random", random, ""),
)


@dataclass(frozen=True)
class Plan:
    """What a search is asked for, besides what a ranking is.

    Attributes:
        method: a name of `SEARCHES`.
        budget: how many architectures are scored.
        population: how many of them at a time, and at random to begin with.

    Raises:
        ZeroshotError: for an unknown method, or numbers that no search can have.
    """

    method: str
    budget: int
    population: int

    def __post_init__(self) -> None:
        names = [method.name for method in SEARCHES]
        if self.method not in names:
            hint = nearest(self.method, names)
            raise ZeroshotError(
                f"unknown method {self.method!r}; {hint}expected {', '.join(names)}"
            )
        for what, number in (("budget", self.budget), ("population", self.population)):
            if not 2 <= whole(what, number) <= MANY:
                raise ZeroshotError(f"{what} {number:,}; expected 2 to {MANY:,}")

    @property
    def propose(self) -> Propose:
        """What the method proposes."""
        return next(method.propose for method in SEARCHES if method.name == self.method)


@dataclass(frozen=True)
class Search:
    """How a run goes on from the architectures that it starts with.

    Attributes:
        plan: how, and how far.
        by: what tells which are best. Ranks are among all so far, so that they move as it goes on.
        space: whose networks the limits are of, which are not small.
        task: what these accept and answer.
        limits: what they may weigh.
        seed: of all draws.
        latency: milliseconds of an architecture, by its name.
        max_latency: what those that have children take at most. Until there are any, the fastest
            have children. As times vary, so does what is found.
    """

    plan: Plan
    by: Ensemble
    space: Space
    task: Task
    limits: Limits
    seed: int
    latency: Callable[[str], float] | None = None
    max_latency: float | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What must agree, besides what a ranking depends on, for two searches to be one."""
        combine = self.by.combine
        rule = getattr(combine, "__name__", type(combine).__name__)
        members = ", ".join(self.by.members)
        return {
            **asdict(self.plan),
            "by": f"{self.by.name}: {rule} ({edition(1, combine)}) of {members}",
            "max_params": self.limits.params,
            "max_flops": self.limits.flops,
            "max_latency": self.max_latency,
            "seed": self.seed,
        }

    def start(self, drawn: Iterable[Arch]) -> tuple[Arch, ...]:
        """What to score first, of a sample: as many as the population, if there are so many.

        Raises:
            ZeroshotError: if there are none.
        """
        wanted = min(self.plan.population, self.plan.budget)
        found = self._filled(self.distinct(drawn), wanted, (), np.random.default_rng(self.seed))
        if not found:
            raise ZeroshotError(
                f"none of the architectures drawn of {self.space.name} is connected and within "
                "the limits; raise them, or take a larger population"
            )
        return found

    def after(
        self, archs: Sequence[Arch], scores: pd.DataFrame, better: Mapping[str, str]
    ) -> tuple[Arch, ...]:
        """What to score next; nothing once the budget is spent, or nothing new is found.

        What the method no longer finds is drawn at random, of up to `MANY` architectures from all.

        Args:
            archs: all so far.
            scores: their table, in the same order.
            better: directions of its columns, as `ranking.rank` takes them.
        """
        wanted = min(self.plan.population, self.plan.budget - len(archs))
        order = [str(name) for name in rank(scores, self.by, better).dropna().index]
        if wanted < 1 or not order:
            return ()
        names = dict(zip(scores["arch"].unique(), archs, strict=True))
        rng = np.random.default_rng([self.seed, len(archs)])  # whatever was drawn before
        found: Iterator[Arch] = iter(())
        if self.space.size > 1:
            parents = (names[name] for name in self._fast(order))
            found = self.distinct(self.plan.propose(self.space, parents, rng), archs)
        return self._filled(found, wanted, archs, rng)

    def distinct(self, archs: Iterable[Arch], seen: Iterable[Arch] = ()) -> Iterator[Arch]:
        """Of architectures those worth scoring: new, connected and within the limits.

        One stands for all that compute the same: the space's own choice of them, or, where that is
        beyond the limits, the one proposed. Ends after `IDLE` in a row that are nothing new.
        """
        known = set(map(self.space.canonical, seen))
        idle = 0
        for arch in archs:
            first = self.space.canonical(arch)
            idle += 1
            if first not in known and arch not in known and self.space.connected(first):
                fits = (a for a in (first, arch) if self.limits.admit(self.space, a, self.task))
                chosen = next(fits, None)
                known.add(arch if chosen is None else first)
                if chosen is not None:
                    idle = 0
                    yield chosen
            if idle == IDLE:
                return

    def _filled(
        self,
        found: Iterator[Arch],
        wanted: int,
        seen: Sequence[Arch],
        rng: np.random.Generator,
    ) -> tuple[Arch, ...]:
        """So many of those found; where these are too few, random ones besides."""
        chosen = list(islice(found, wanted))
        if len(chosen) < wanted:
            size = self.space.size
            drawn = self.space.sample(size if size <= MANY else IDLE, rng)
            chosen += islice(self.distinct(drawn, (*seen, *chosen)), wanted - len(chosen))
        return tuple(chosen)

    def _fast(self, order: Sequence[str]) -> Iterator[str]:
        """Those within the limit on latency, timed as they are asked for; else the fastest."""
        if self.latency is None or self.max_latency is None:
            yield from order
            return
        any_fast = False
        for name in order:
            if self.latency(name) <= self.max_latency:
                any_fast = True
                yield name
        if not any_fast:
            yield from sorted(order, key=self.latency)
