"""What holds for every proxy on every network."""

import functools
import importlib
import inspect
import math
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.checks import CELLS, DTYPES, KINDS, NETS, TASK, TINY, batch, same, unchanged
from zeroshot.core import Pass
from zeroshot.proxies import PROXIES
from zeroshot.scoring import Scores, evaluate

SENTINELS = (-1e8, -1e9, 1e9, 1e5, -1.0)


@functools.cache
def together(name: str, dtype: torch.dtype = torch.float64) -> Scores:
    return evaluate(dict(NETS)[name](dtype), batch(dtype))


def disturb(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the global one is meant
    random.seed(seed)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("proxy", PROXIES, ids=lambda proxy: proxy.name)
def test_alone_or_together_the_same_and_no_trace(proxy, name):
    net, shown = dict(NETS)[name](torch.float64), batch()
    net.module.zero_grad()
    for p in net.module.parameters():
        p.grad = torch.ones_like(p)
        p.requires_grad_(p.ndim > 1)
    next(net.module.children()).eval()
    disturb(len(proxy.name))  # `together` ran under another global random state
    with unchanged(net, shown):
        alone = evaluate(net, shown, [proxy])
    assert same(alone[proxy.name], together(name)[proxy.name])
    assert alone.reasons.get(proxy.name) == together(name).reasons.get(proxy.name)


def test_pythons_random_state_stays_too():
    """In a process of its own, without the type checks, which draw from that state."""
    code = """
import torch
from tests.checks import NETS, batch, unchanged
from zeroshot.scoring import evaluate
torch.set_num_threads(1)
for _, make in NETS[::4]:
    net, shown = make(torch.float32), batch(torch.float32)
    with unchanged(net, shown, python=True):
        evaluate(net, shown)
"""
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


@pytest.mark.parametrize("name", dict(NETS))
def test_order_does_not_matter(name):
    net, shown = dict(NETS)[name](torch.float64), batch()
    shuffled = random.Random(0).sample(PROXIES, len(PROXIES))
    for order in (PROXIES[::-1], shuffled):
        with unchanged(net, shown):
            scores = evaluate(net, shown, order)
        assert list(scores) == [proxy.name for proxy in order]
        assert all(same(scores[name_], value) for name_, value in together(name).items())


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("name", dict(NETS))
def test_a_number_or_a_reason(name, dtype):
    scores = together(name, dtype)
    assert set(scores) == {proxy.name for proxy in PROXIES}
    for proxy, value in scores.items():
        assert isinstance(value, float)
        assert math.isnan(value) == (proxy in scores.reasons)
        assert value not in SENTINELS
    for reason in scores.reasons.values():
        assert reason
        assert "\n" not in reason


@pytest.mark.parametrize("name", dict(NETS))
def test_float32_is_close_to_float64(name):
    exact, rounded = together(name), together(name, torch.float32)
    assert exact.reasons.keys() == rounded.reasons.keys()
    for proxy in exact.keys() - exact.reasons.keys():
        if proxy == "ntk_cond" and exact[proxy] > 1e6:
            continue  # as its docstring says, float32 cannot tell such kernels from singular ones
        if proxy in ("memory", "memory_train"):
            continue  # in bytes, of which float64 takes twice as many
        # ZiCo divides by deviations between two gradients, some of which all but cancel.
        rel = 1e-2 if proxy == "zico" else 1e-3
        assert rounded[proxy] == pytest.approx(exact[proxy], rel=rel, abs=1e-6), proxy


@pytest.mark.parametrize("cell", CELLS)
def test_the_same_seed_gives_the_same_score_whatever_the_global_random_state(cell):
    found = []
    for seed in (1, 2):
        disturb(seed)
        net = TINY.network(TINY.arch(*CELLS[cell]), TASK, seed=7)
        found.append(evaluate(net, batch(torch.float32)))
    assert all(same(found[0][proxy], found[1][proxy]) for proxy in found[0])


def test_two_seeds_give_two_networks():
    arch = TINY.arch(*CELLS["convolutions"])
    one, other = (evaluate(TINY.network(arch, TASK, seed=s), batch(torch.float32)) for s in (0, 1))
    counted = {"params", "flops", "depth", "memory", "memory_train", "deepmad", "linear_regions"}
    counted |= {"epsilon", "dss"}  # weights of its own; undefined
    assert {p.name for p in PROXIES if same(one[p.name], other[p.name])} <= counted


@pytest.mark.parametrize("proxy", PROXIES, ids=lambda proxy: proxy.name)
class TestEveryProxy:
    def test_one_name(self, proxy):
        module = importlib.import_module(f"zeroshot.proxies.{proxy.name}")
        assert getattr(module, proxy.name.upper()) is proxy
        assert proxy.formula is getattr(module, proxy.name)
        assert proxy.formula.__name__ == proxy.name
        assert proxy.formula.__module__ == module.__name__

    def test_docstrings(self, proxy):
        module = importlib.import_module(f"zeroshot.proxies.{proxy.name}")
        assert module.__doc__
        assert "Range:" in (proxy.formula.__doc__ or "")
        assert "Source:" in (proxy.formula.__doc__ or "")

    def test_says_what_it_is(self, proxy):
        assert proxy.better in ("higher", "lower")
        assert proxy.source
        assert proxy.needs
        assert all(isinstance(need, Pass) for need in proxy.needs)
        taken = inspect.signature(proxy.formula).parameters.values()
        assert sum(p.default is p.empty for p in taken) == len(proxy.needs)


def test_names_are_unique():
    assert len({proxy.name for proxy in PROXIES}) == len(PROXIES)
