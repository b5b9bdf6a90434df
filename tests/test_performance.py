"""The benchmark's comparison with the committed figures, and its naive loops."""

import importlib
from pathlib import Path

import pytest
import torch

from tests.checks import CELLS, TASK, TINY, batch
from zeroshot.core import Batch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def performance(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("performance")


def figures(snip: float, flops: float) -> dict:
    rows = {"snip": {"forward+backward runs": snip}}
    every = {"flops": flops}
    return {
        "networks": {"5": {"rows": rows}},
        "every proxy, small network, batch 16, one thread": every,
    }


def test_a_line_for_each_regression(performance):
    committed = figures(1.0, 0.001)
    assert performance.regressions(figures(1.4, 0.12), committed) == []
    (line,) = performance.regressions(figures(1.6, 0.001), committed)
    assert line == "5: snip: 1.6 forward+backward runs, 1 as committed"
    assert len(performance.regressions(figures(1.6, 0.2), committed)) == 2


def test_ratios_are_of_the_same_round(performance):
    seconds = {"one": [2.0, 9.0, 4.0], "unit": [1.0, 3.0, 2.0]}
    assert performance.over(seconds, "one", "unit") == 2.0


def test_naive_loops_give_what_the_package_gives(performance):
    net = TINY.network(TINY.arch(*CELLS["convolutions"]), TASK)
    shown = batch(torch.float32, n=8)
    names = [*performance.naive.EIGHT, *performance.naive.OTHERS]
    names.remove("linear_regions")
    gaps = performance.agreeing(net, Batch(shown.inputs, shown.targets), names)
    assert max(gaps.values()) < 1e-6, gaps


def test_bytes_are_those_of_operations_that_move_any(performance):
    one = torch.ones(4, 8)
    with performance.counting_bytes() as moved:
        one.view(32)
        assert moved.total == 0
        torch.add(one, one.view(4, 8))
        assert moved.total == 3 * one.nbytes
        one.add_(1)
    assert moved.total == 5 * one.nbytes
