"""search, as a library call."""

import itertools
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pytest

import zeroshot
from zeroshot import commands
from zeroshot.core import Cost, Proxy
from zeroshot.errors import Undefined, ZeroshotError
from zeroshot.passes import Census, Weights
from zeroshot.ranking import Ensemble
from zeroshot.spaces import Axis, NasBench201, Space

SPACE = NasBench201(channels=2, cells=1)


@dataclass(frozen=True)
class Vast(Space):
    """5^12 points, whose cost is told by their options."""

    name = "vast"
    axes = tuple(Axis(f"width {n}", tuple("12345")) for n in range(12))
    source = "here"

    def build(self, arch, task):
        raise AssertionError("only costs are asked for")

    def cost(self, arch, task=None):
        return Cost(sum(arch.genes), 10 * sum(arch.genes), 1)


VAST = Vast()


def search(space=SPACE, **options):
    few = {"budget": 24, "population": 6, "refine": 0}
    given = {"by": "naswot", "batch_size": 4, "workers": 1} | few
    return zeroshot.search(space, **given | options)


def test_the_function_is_that_of_the_command():
    assert zeroshot.search is commands.search


def test_the_best_of_a_vast_space():
    """Uniform draws have 24 ± 5 parameters; the most are 48."""
    found = search(VAST, by="params", budget=400, population=20)
    assert found.order.iloc[0] >= 45
    drawn = search(VAST, by="params", budget=400, population=20, method="random")
    assert drawn.order.iloc[0] < 42
    assert list(found.scores["arch"][:20]) == list(drawn.scores["arch"][:20])  # they begin alike


def test_within_limits_that_hardly_any_are_within():
    found = search(VAST, by="params", budget=200, population=20, max_flops=60.0)
    assert set(found.costs(200)["flops"]) <= {0, 10, 20, 30, 40, 50, 60}
    assert found.costs(1)["flops"].tolist() == [60]
    assert found.notes == ()


def test_a_table_as_of_rank(evaluations):
    found = search()
    assert list(found.scores.columns) == ["arch", "seed", "naswot"]
    assert len(found.scores) == len(set(found.scores["arch"])) == len(evaluations) == 24
    same = zeroshot.rank(
        SPACE, archs=list(found.scores["arch"]), by="naswot", batch_size=4, workers=1
    )
    pd.testing.assert_frame_equal(found.scores, same.scores)
    pd.testing.assert_series_equal(found.order, same.order)
    for arch in found.scores["arch"]:
        parsed = SPACE.parse(arch)
        assert SPACE.canonical(parsed) == parsed
        assert SPACE.connected(parsed)


def test_workers_change_nothing():
    pd.testing.assert_frame_equal(search(workers=2).scores, search().scores)


def test_a_budget_is_of_architectures_not_of_seeds(evaluations):
    found = search(repeats=2, budget=10)
    assert len(found.order) == 10
    assert len(found.scores) == len(evaluations) == 20
    assert found.scores["seed"].tolist() == [0, 1] * 10


@pytest.mark.parametrize("kept", ["store", "partial"])
def test_what_was_interrupted_goes_on(tmp_path, evaluations, kept):
    whole = search(out=tmp_path / "whole.csv")
    evaluations.clear()

    def stop(done, total):
        assert total == 24
        if done == 15:
            raise KeyboardInterrupt

    given = {"out": tmp_path / "a.csv"}
    if kept == "store":
        given["store"] = tmp_path / "s.sqlite"
    with pytest.raises(KeyboardInterrupt):
        search(**given, progress=stop)
    assert len(evaluations) == 15
    again = search(**given)
    assert len(evaluations) == 24
    pd.testing.assert_series_equal(again.order, whole.order)
    for name in ("csv", "order.csv"):
        there, expected = ((tmp_path / f"{stem}.{name}").read_bytes() for stem in ("a", "whole"))
        assert there == expected
    assert not (tmp_path / "a.csv.partial").exists()


def test_a_finished_search_is_read(tmp_path, evaluations):
    first = search(out=tmp_path / "a.csv")
    evaluations.clear()
    again = search(out=tmp_path / "a.csv")
    assert evaluations == []
    pd.testing.assert_series_equal(again.order, first.order)
    for options, words in (
        ({"method": "evolve"}, "there, method is climb, now it is evolve"),
        ({"budget": 25}, "there, budget is 24, now it is 25"),
        ({"population": 7}, "there, population is 6, now it is 7"),
        ({"max_params": 1e9}, "there, max_params is None, now it is 1000000000.0"),
        ({"by": "swap"}, "there, by is naswot: "),
        ({"seed": 1}, "there, seed is 0, now it is 1"),
    ):
        with pytest.raises(ZeroshotError, match=words):
            search(out=tmp_path / "a.csv", **options)
    with pytest.raises(ZeroshotError, match="belongs to another run"):
        zeroshot.rank(SPACE, sample=6, by="naswot", batch_size=4, out=tmp_path / "a.csv")


def test_a_finished_table_that_was_changed_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    search(out=path)
    lines = path.read_text().splitlines(keepends=True)
    for changed in (lines[:-3], [*lines, "nonsense,0,1.0\n"], [*lines[:-2], *lines[-1:-3:-1]]):
        path.write_text("".join(changed))
        with pytest.raises(ZeroshotError, match="has other rows or columns than its record says"):
            search(out=path)


def test_limits_that_differ_by_a_little(tmp_path):
    given = {"by": "params", "out": tmp_path / "a.csv"}
    most = float(search(**given).order.max())
    (tmp_path / "a.csv").unlink()
    (tmp_path / "a.csv.json").unlink()
    search(**given, max_params=most)
    with pytest.raises(ZeroshotError, match="there, max_params is"):
        search(**given, max_params=most - 0.4)


def test_limits_and_latencies_are_of_networks_that_are_not_small(monkeypatch):
    shape = NasBench201(channels=4, cells=2)
    monkeypatch.setattr(
        zeroshot.measure,
        "latency",
        lambda net, shown: float(sum(p.numel() for p in net.module.parameters())) / 1000,
    )
    middle = float(np.median([shape.cost(shape.at(n)).params for n in range(0, 15_000, 500)]))
    found = search(shape, small=True, by="params", max_params=middle, max_latency=1e9)
    assert max(shape.cost(shape.parse(arch)).params for arch in found.order.index) <= middle
    assert found.latency[found.best] == shape.cost(shape.parse(found.best)).params


def test_a_proxy_of_which_less_is_better_leads():
    few = Proxy("few", (Census(),), lambda cost: float(cost.params), "lower", "here")
    found = search(by=few, budget=100, population=10)
    many = search(by="params", budget=100, population=10)
    assert found.scores["few"][10:].mean() < many.scores["params"][10:].mean() / 1.5


def test_the_record_is_of_all_generations():
    def odd(weights):
        if weights[0].numel() and next(counter) % 2:
            raise Undefined("an odd one")
        return 1.0

    counter = itertools.count()
    silent = Proxy("odd", (Weights(),), odd, "higher", "here")
    found = search(proxies=(silent, "params"), by="params", budget=24)
    assert found.record["networks scored"] == 24
    assert found.record["not a number"]["odd"] == {"an odd one": 12}
    assert found.record["rows"] == 24


def test_an_order_is_kept_whatever_is_computed_besides(tmp_path):
    found = search(by=None, proxies="naswot,l2_norm", out=tmp_path / "a.csv")
    assert found.order.name == "naswot"
    assert (tmp_path / "a.order.csv").exists()


def test_rules_without_a_name(tmp_path):
    rule = partial(np.sum, axis=1)
    own = Ensemble("sum", ("naswot",), rule, "here")
    found = search(by=own, budget=12, out=tmp_path / "a.csv")
    assert len(found.order) == 12


def test_scores_come_from_the_store(tmp_path, evaluations):
    given = {"store": tmp_path / "s.sqlite"}
    search(**given)
    evaluations.clear()
    found = search(**given, method="random", budget=12)
    assert found.record["from the store"]["networks"] == 12 - len(evaluations)
    evaluations.clear()
    again = search(**given)
    assert evaluations == []
    assert again.record["from the store"] == {"networks": 24, "scores": 24}


def test_it_is_no_sample(tmp_path):
    """Said where proxies are judged by it."""
    found = search(out=tmp_path / "a.csv")
    truth = {arch: float(n % 7) for n, arch in enumerate(found.scores["arch"])}
    for scores in (found, tmp_path / "a.csv"):
        told = zeroshot.validate(scores, truth, resamples=100, out=tmp_path / "report")
        words = "A search found these architectures (climb): they are no sample of the space"
        assert told.verdict[-1].startswith(words)
        assert words in (tmp_path / "report" / "report.html").read_text()
    drawn = zeroshot.rank(SPACE, archs=list(truth), by="naswot", batch_size=4)
    assert "search" not in " ".join(zeroshot.validate(drawn, truth, resamples=100).verdict)


def test_the_best_are_refined():
    found = search(refine=3)
    assert found.refined is not None
    assert set(found.refined.order.index) == set(found.order.index[:3])
    assert found.best == found.refined.order.index[0]


def test_limit_on_latency(monkeypatch, tmp_path):
    """Networks take as many milliseconds as they have convolutions, 11 besides those of cells."""
    timed = []

    def took(net, shown):
        timed.append(net)
        return sum(p.ndim == 4 for p in net.module.parameters()) / 1000

    monkeypatch.setattr(zeroshot.measure, "latency", took)
    given = {"by": "params", "budget": 60, "out": tmp_path / "a.csv"}
    free = search(**given | {"out": None})
    assert not timed
    found = search(**given, max_latency=14.0)
    assert found.latency[found.best] <= 14
    assert len(timed) == len(pd.read_csv(tmp_path / "a.latency.csv")) < 60
    within = [SPACE.parse(arch) for arch in found.scores["arch"][6:]]
    others = [SPACE.parse(arch) for arch in free.scores["arch"][6:]]

    def convolutions(archs):
        return sum(sum(2 <= gene <= 3 for gene in arch.genes) for arch in archs) / len(archs)

    assert convolutions(within) < convolutions(others) - 0.5
    count = len(timed)
    again = search(**given, max_latency=14.0)
    assert len(timed) == count
    assert again.best == found.best


@dataclass(frozen=True)
class Few(Vast):
    name = "few"
    axes = tuple(Axis(f"width {n}", tuple("12345")) for n in range(4))


@pytest.mark.parametrize("method", ["climb", "evolve", "random"])
def test_it_ends_where_nothing_is_left(method):
    given = {"by": "params", "method": method, "budget": 5_000, "population": 100}
    found = search(Few(), **given, max_params=7.0)
    fits = [arch for arch in Few() if sum(arch.genes) <= 7]
    assert set(found.order.index) == set(map(Few().spell, fits))
    told = f"The search ended after {len(fits):,} architectures: it found no others"
    assert found.notes[0] == f"{told} with at most 7 parameters."


@pytest.mark.parametrize("method", ["evolve", "climb", "random"])
@pytest.mark.parametrize("population", [12, 50])
def test_the_budget_is_spent(method, population):
    """Of 4,929 classes of connected cells; of 5^12 points few are within the limit."""
    given = {"by": "params", "method": method, "population": population}
    assert len(search(**given, budget=301).order) == 301
    within = search(VAST, **given, max_params=22.0, budget=61)
    assert len(within.order) == 61
    assert within.order.max() <= 22


def test_of_a_small_space_a_part_is_drawn():
    found = search("torchvision", by="params", budget=5, population=100)
    names = [str(name) for name in found.scores["arch"]]
    assert len(names) == 5
    assert names != sorted(names)


def test_what_is_undefined_for_all():
    silent = Proxy("silent", (Weights(),), lambda weights: float("nan"), "higher", "here")
    with pytest.raises(ZeroshotError, match="silent is undefined for all 6 architectures"):
        search(by=silent)


def test_nothing_is_connected():
    class Walls(Vast):
        def connected(self, arch):
            return False

    with pytest.raises(ZeroshotError, match="none of the architectures drawn of vast is connected"):
        search(Walls(), by="params")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "te-nas"}, "unknown method 'te-nas'; expected climb, evolve, random"),
        ({"budget": 0}, "budget 0; expected 2 to 1,000,000"),
        ({"population": 1}, "population 1; expected 2 to"),
        ({"by": "nothing"}, "nothing"),
        (
            {"max_params": 1.0},
            "any: nasbench201 has 0 architectures with at most 1 param",
        ),
        ({"refine": 1}, "refine 1"),
    ],
)
def test_what_is_refused(options, words, evaluations):
    with pytest.raises(ZeroshotError, match=words):
        search(**options)
    assert evaluations == []
