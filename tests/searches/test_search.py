"""What a search proposes, and how it goes on."""

import json
from dataclasses import dataclass, replace
from itertools import combinations, islice

import numpy as np
import pandas as pd
import pytest

from zeroshot.core import Cost
from zeroshot.errors import ZeroshotError
from zeroshot.ranking import expression, single
from zeroshot.searches.candidates import Limits
from zeroshot.searches.search import (
    MORE,
    PARENTS,
    SEARCHES,
    Plan,
    Search,
    climb,
    evolve,
    random,
)
from zeroshot.spaces import TRANSNASBENCH101_MICRO, Axis, Space, Task

TASK = Task()
NO_LIMITS = Limits()


@dataclass(frozen=True)
class Grid(Space):
    """4^6 points; options 2 and 3 of the first axis are the same, and its option 0 is a wall."""

    name = "grid"
    axes = tuple(Axis(f"a{n}", tuple("0123")) for n in range(6))
    source = "here"

    def build(self, arch, task):
        raise AssertionError("searching builds nothing")

    def cost(self, arch, task=None):
        return Cost(sum(arch.genes), 10 * sum(arch.genes), 1)

    def canonical(self, arch):
        first, *rest = arch.genes
        return self.arch(min(first, 2), *rest)

    def connected(self, arch):
        return arch.genes[0] > 0


@dataclass(frozen=True)
class Row(Space):
    name = "row"
    axes = (Axis("a", tuple("01234567")),)
    source = "here"

    def build(self, arch, task):
        raise AssertionError("searching builds nothing")


GRID = Grid()
BEST = [GRID.arch(2, 3, 3, 3, 3, n) for n in range(4)] + [
    GRID.arch(1, 1, 1, 1, a, b) for a in range(4) for b in range(4)
]


def rng(seed=0):
    return np.random.default_rng(seed)


def search(space=GRID, *, method="evolve", budget=60, population=8, **options):
    given = {"by": single("good"), "space": space, "task": TASK, "limits": NO_LIMITS, "seed": 0}
    return Search(Plan(method, budget, population), **given | options)


def good_of(arch):
    return float(sum(arch.genes))


def scores_of(archs, good=good_of, seeds=(0,)):
    rows = [{"arch": GRID.spell(a), "seed": seed, "good": good(a)} for a in archs for seed in seeds]
    return pd.DataFrame(rows)


def genes_of(arch):
    return arch.genes


def differ(one, other):
    return sum(a != b for a, b in zip(one.genes, other.genes, strict=True))


def run(searching, start, good=good_of, better="higher"):
    """All that is scored, a generation after the other."""
    archs, sizes = list(start), []
    while more := searching.after(archs, scores_of(archs, good), {"good": better}):
        archs += more
        sizes.append(len(more))
    return archs, sizes


# -- methods ---------------------------------------------------------------------------------------


def test_children_are_of_the_best_and_differ_by_one_change():
    parents = BEST[:PARENTS]
    children = list(islice(evolve(GRID, iter(BEST), rng()), MORE))
    pairs = [(one, other) for one in parents for other in parents]
    crossed = 0
    for child in children:
        changes = [
            sum(
                gene not in genes
                for gene, *genes in zip(child.genes, one.genes, other.genes, strict=True)
            )
            for one, other in pairs
        ]
        assert min(changes) <= 1
        crossed += min(differ(child, parent) for parent in parents) > 1
    assert 10 < crossed < 200  # some have two parents, some have one
    near = {min(parents, key=lambda parent: differ(child, parent)) for child in children}
    assert near == set(parents)


def test_others_have_children_where_more_are_asked_for():
    far = GRID.arch(2, 3, 3, 3, 3, 3)
    order = iter([*[GRID.arch(1, n % 4, 0, 0, 0, 0) for n in range(PARENTS)], far])
    children = list(islice(evolve(GRID, order, rng()), 2 * MORE))
    near = [differ(child, far) <= 1 for child in children]
    assert not any(near[:MORE])
    assert any(near[MORE:])


def test_neighbours_of_the_best_come_first():
    found = list(climb(GRID, iter(BEST[:2]), rng()))
    count = len(GRID.neighbours(BEST[0]))
    assert set(found[:count]) == set(GRID.neighbours(BEST[0]))
    assert set(found[count:]) == set(GRID.neighbours(BEST[1]))
    assert found[:count] != GRID.neighbours(BEST[0])  # in no order of their own
    assert found != list(climb(GRID, iter(BEST[:2]), rng(1)))


def test_random_ones_have_no_parents():
    found = list(islice(random(GRID, iter(()), rng()), 300))
    assert found == list(islice(random(GRID, iter(BEST), rng()), 300))
    assert len(set(found)) > 250
    counts = np.bincount([arch.genes[3] for arch in found])
    assert counts.min() > 45


@pytest.mark.parametrize("method", SEARCHES, ids=lambda method: method.name)
def test_every_method_says_what_it_does(method):
    assert method.propose.__doc__
    assert method.name == method.propose.__name__


# -- how a search goes on --------------------------------------------------------------------------


@pytest.mark.parametrize("method", [method.name for method in SEARCHES])
def test_what_is_scored(method):
    start = [GRID.arch(1, 0, 0, 0, 0, n) for n in range(4)]
    archs, sizes = run(search(method=method), start)
    assert sizes == [8] * 7
    assert len(archs) == len(set(archs)) == 60
    assert all(GRID.connected(arch) and GRID.canonical(arch) == arch for arch in archs)
    assert archs == run(search(method=method), start)[0]
    assert archs != run(search(method=method, seed=1), start)[0]
    one_by_one = run(search(method=method, population=2), start)[0]
    assert one_by_one != archs


@pytest.mark.parametrize("better", ["higher", "lower"])
@pytest.mark.parametrize("method", ["evolve", "climb"])
def test_it_goes_where_scores_are_good(method, better):
    """The best of 2,304 different ones is among 200; of as many random ones it is in one of 12."""
    start = list(islice(search().distinct(GRID.sample(100, rng())), 8))
    archs, _ = run(search(method=method, budget=200), start, better=better)
    assert GRID.arch(*(2, 3, 3, 3, 3, 3) if better == "higher" else (1, 0, 0, 0, 0, 0)) in archs
    drawn, _ = run(search(method="random", budget=200), start, better=better)
    sign = 1 if better == "higher" else -1
    weigh = [sum(sign * sum(arch.genes) for arch in some) for some in (archs, drawn)]
    assert weigh[0] > weigh[1] + 200


def test_limits_hold_and_bound_it():
    start = [GRID.arch(1, 0, 0, 0, 0, 0)]
    archs, _ = run(search(limits=Limits(params=3.0)), start)
    assert max(sum(arch.genes) for arch in archs) == 3
    within = [a for a in GRID if GRID.canonical(a) == a and a.genes[0] and sum(a.genes) <= 3]
    assert set(archs) == set(within)  # fewer than the budget: all there are


def test_of_those_that_compute_the_same_one_is_within_limits():
    space = TRANSNASBENCH101_MICRO
    light = space.parse("64-41414-3_01_011")
    first = space.canonical(light)
    cost = float(space.cost(light, TASK).params)
    assert space.cost(first, TASK).params > cost
    assert list(search(space).distinct([light])) == [first]
    assert list(search(space, limits=Limits(params=cost)).distinct([light])) == [light]
    assert list(search(space).distinct([light], [first])) == []
    assert list(search(space).distinct([first], [light])) == []


def test_what_is_unrated_has_no_children():
    def good(arch):
        return float("nan") if arch.genes[1] else 1.0

    start = [GRID.arch(1, 0, 0, 0, 0, 0), GRID.arch(1, 3, 0, 0, 0, 0)]
    archs, _ = run(search(budget=12), start, good)
    assert all(
        min(differ(a, b) for b in archs[:i] if not b.genes[1]) <= 2
        for i, a in enumerate(archs)
        if i > 1
    )
    assert run(search(), start, lambda arch: float("nan"))[1] == []


def test_ranks_are_means_over_seeds():
    start = [GRID.arch(1, 0, 0, 0, 0, n) for n in range(4)]
    table = scores_of(start, seeds=(0, 1))
    assert search().after(start, table, {}) == search().after(start, scores_of(start), {})


def test_the_end():
    archs = [GRID.canonical(GRID.arch(1, 0, 0, 0, 0, n)) for n in range(3)]
    table = scores_of(archs)
    assert search(budget=3).after(archs, table, {}) == ()
    assert len(search(budget=5).after(archs, table, {})) == 2
    row = Row()
    every = list(row)
    table = pd.DataFrame({"arch": [row.spell(a) for a in every], "seed": 0, "good": 1.0})
    assert search(row).after(every, table, {}) == ()
    some = search(row).after(every[:5], table[:5], {})
    assert set(some) == set(every[5:])


# -- latency ---------------------------------------------------------------------------------------


def test_only_the_fast_have_children():
    timed = []

    def latency(name):
        timed.append(name)
        return float(sum(GRID.parse(name).genes))

    slow = [GRID.arch(2, 3, 3, 3, 3, n) for n in range(4)]
    fast = [GRID.arch(1, 1, 0, 0, 0, n) for n in range(4)]
    found = search(method="climb", latency=latency, max_latency=4.0)
    more = found.after([*slow, *fast], scores_of([*slow, *fast]), {})
    assert all(differ(arch, fast[2]) == 1 for arch in more)  # the best of those that take 4 or less
    assert timed == [GRID.spell(arch) for arch in (*slow[::-1], fast[3], fast[2])]


def test_the_fastest_have_children_until_some_are_fast():
    slow = [GRID.arch(2, 3, 3, 3, n, 0) for n in range(4)]
    found = search(method="climb", latency=lambda name: float(sum(GRID.parse(name).genes)))
    found = replace(found, max_latency=1.0)
    more = found.after(slow, scores_of(slow), {})
    assert all(differ(arch, slow[0]) == 1 for arch in more)


# -- settings --------------------------------------------------------------------------------------


def test_what_tells_one_search_from_another():
    others = [
        {"method": "climb"},
        {"by": single("bad")},
        {"by": replace(expression("good*good"), name="good")},
        {"budget": 61},
        {"population": 9},
        {"limits": Limits(params=5.0)},
        {"limits": Limits(flops=5.0)},
        {"max_latency": 5.0},
        {"seed": 1},
    ]
    told = [search().identity, *(search(**other).identity for other in others)]
    assert all(one != other for one, other in combinations(told, 2))
    assert search().identity == json.loads(json.dumps(search().identity))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "evolv"}, r"unknown method 'evolv'; did you mean evolve\? expected climb, "),
        ({"method": "te_nas"}, "expected climb, evolve, random"),
        ({"budget": 1}, "budget 1; expected 2 to 1,000,000"),
        ({"budget": 10**7}, "budget 10,000,000; expected 2 to"),
        ({"population": 0}, "population 0; expected 2 to"),
    ],
)
def test_what_is_refused(options, words):
    with pytest.raises(ZeroshotError, match=words):
        search(**options)
