"""Scores that are kept: keys, exactness, reuse, many processes, damage, what is told of them."""

import functools
import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import zeroshot.worker
from zeroshot import store as stores
from zeroshot.commands import (
    check_store,
    export_store,
    prune,
    rank,
    selected,
    validate,
)
from zeroshot.core import Pass, Proxy
from zeroshot.data import load_batch
from zeroshot.edition import edition
from zeroshot.errors import Undefined, ZeroshotError
from zeroshot.models import find_proxies, find_space
from zeroshot.passes import Forward, Synflow
from zeroshot.proxies.snip import SNIP
from zeroshot.proxies.synflow import SYNFLOW
from zeroshot.run import formula_of
from zeroshot.scoring import evaluate
from zeroshot.spaces import Arch, Axis, NasBench201, Space, Task
from zeroshot.store import Formula, Kept, Selection, Setting, Store, contents, upkeep

SPACE = NasBench201(channels=4, cells=1)
# Some are isomorphic, some not connected, so that there are NaNs with reasons.
ARCHS = [SPACE.spell(SPACE.at(index)) for index in (0, 13714, 77, 4000, 9, 120, 1, 700)]
SETTING = Setting("S()", "1", "T()", "abc", "default", "cpu", "2.0", "s", "{}", "noise", 0, 4)
FORMULAS = tuple(Formula(name, "[]", "1", "higher", "[]") for name in "xyz")
X, Y, Z = FORMULAS


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scores.sqlite"


def small(archs=ARCHS, **options):
    given = {"proxies": "naswot,synflow,params", "batch_size": 4, "workers": 1, "device": "cpu"}
    return rank(options.pop("space", SPACE), archs=archs, **(given | options))


@pytest.fixture
def evaluations(monkeypatch):
    """The names of the proxies that every network is evaluated with."""
    seen = []

    def noted(net, batch, proxies):
        seen.append(tuple(proxy.name for proxy in proxies))
        return evaluate(net, batch, proxies)

    monkeypatch.setattr(zeroshot.worker, "evaluate", noted)
    return seen


# -- values and keys -------------------------------------------------------------------------------


def test_scores_come_back_as_they_were(path):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**64, 500, dtype=np.uint64).view(np.float64)
    edges = [0.0, -0.0, 1.0, -3.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan]
    values = np.array([*edges, *bits])
    with Store(path) as store:
        for number, value in enumerate(values):
            store.add(SETTING, (X,), str(number), 2**63 - 1, Kept({"x": float(value)}))
    with Store(path) as store:
        found = store.load(SETTING, (X,), [(str(n), 2**63 - 1) for n in range(len(values))])
    kept = np.array([found[str(number), 2**63 - 1].scores["x"] for number in range(len(values))])
    same = kept.view(np.int64) == values.view(np.int64)
    assert (same | (np.isnan(kept) & np.isnan(values))).all()


def test_reasons_and_times_come_back(path):
    first = Kept({"x": math.nan, "y": 2.0}, {"x": "no ‘block’"}, {"A()": 0.25, "B(k=1)": 1e-9})
    with Store(path) as store:
        store.add(SETTING, (X, Y), "a", 0, first)
        assert repr(store.load(SETTING, FORMULAS, [("a", 0), ("b", 0)])) == repr({("a", 0): first})
        store.add(SETTING, (Z,), "a", 0, Kept({"z": 3.0}, {}, {"B(k=1)": 2.0, "C()": 4.0}))
        (kept,) = store.load(SETTING, FORMULAS, [("a", 0)]).values()
    assert kept.scores.keys() == {"x", "y", "z"}
    assert kept.seconds == {"A()": 0.25, "B(k=1)": 2.0, "C()": 4.0}


@pytest.mark.parametrize("name", ["space", "code", "task", "batch", "init", "device", "torch"])
def test_another_setting_has_scores_of_its_own(path, name):
    other = replace(SETTING, **{name: "other"})
    with Store(path) as store:
        for number, setting in enumerate((SETTING, other)):
            assert store.load(setting, (X,), [("a", 0)]) == {}
            store.add(setting, (X,), "a", 0, Kept({"x": float(number)}))
        found = [store.load(s, (X,), [("a", 0)])["a", 0].scores["x"] for s in (SETTING, other)]
    assert found == [0.0, 1.0]


def test_what_does_not_matter_is_no_key(path):
    with Store(path) as store:
        store.add(SETTING, (X,), "a", 0, Kept({"x": 1.0}))
        same = replace(SETTING, data="npz:copy.npz", data_seed=None)
        assert store.load(same, (replace(X, better="lower"),), [("a", 0)])
        for arch, seed in (("b", 0), ("a", 1)):
            assert not store.load(SETTING, (X,), [(arch, seed)])


@pytest.mark.parametrize("name", ["name", "needs", "edition"])
def test_another_formula_has_scores_of_its_own(path, name):
    with Store(path) as store:
        store.add(SETTING, (X,), "a", 0, Kept({"x": 1.0}))
        assert store.load(SETTING, (replace(X, **{name: "other"}),), [("a", 0)]) == {}


def test_what_there_is_comes_in_as_many_statements_for_one_as_for_many(path):
    counts = []
    with Store(path) as store:
        for number in range(300):
            store.add(SETTING, FORMULAS, str(number), 0, Kept(dict.fromkeys("xyz", 1.0)))
        for wanted in (1, 300):
            reads = []
            store.db.set_trace_callback(reads.append)
            assert (
                len(store.load(SETTING, FORMULAS, [(str(n), 0) for n in range(wanted)])) == wanted
            )
            store.db.set_trace_callback(None)
            counts.append(sum(words.startswith("SELECT") for words in reads))
    assert counts[0] == counts[1] < 10


# -- runs that reuse what is there -----------------------------------------------------------------


def test_half_from_the_store_is_as_from_nothing(tmp_path, path):
    """Scores, reasons and the file, whatever was scored before together with what."""
    options = {"archs": ARCHS[:5], "proxies": "naswot,grasp,dss,snip,params", "repeats": 2}
    small(ARCHS[:3], proxies="snip,naswot", store=path)
    small(ARCHS[2:4], proxies="dss,grasp", repeats=2, store=path)
    mixed = small(**options, store=path, out=tmp_path / "a.csv")
    alone = small(**options, out=tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert mixed.record["not a number"] == alone.record["not a number"] != {}
    assert mixed.record["passes"] == alone.record["passes"]
    assert mixed.record["seconds per pass"].keys() == alone.record["seconds per pass"].keys()
    assert mixed.record["run"] == alone.record["run"]
    assert mixed.record["store"] == str(path)
    reused = mixed.record["from the store"]
    assert (reused["networks"], reused["scores"]) == (1, 3 * 2 + 2 * 4)
    assert "store" not in alone.record


def test_only_what_is_missing_is_computed(path, evaluations):
    small(ARCHS[:3], store=path)
    assert len(evaluations) == 3
    evaluations.clear()
    again = small(ARCHS[:3], store=path)
    assert not evaluations
    assert again.record["from the store"] == {"networks": 3, "scores": 6}
    assert all(took > 0 for took in again.record["seconds per pass"].values())
    small(ARCHS[:4], proxies="snip,synflow", store=path)
    assert sorted(evaluations) == [("snip",)] * 3 + [("snip", "synflow")]
    evaluations.clear()
    for options in ({"seed": 1}, {"batch_size": 5}, {"init": "gaussian"}, {"small": True}):
        small(ARCHS[1:2], proxies="naswot", store=path, **options)
    assert len(evaluations) == 4


def test_what_shares_a_network_shares_its_scores(path, evaluations):
    """Architectures that compute the same function are looked up as the one that is built."""
    dead = [
        f"|{op}~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|"
        for op in ("none", "nor_conv_3x3")
    ]
    first = small(dead[:1], store=path).scores
    second = small(dead[1:], store=path).scores
    assert len(evaluations) == 1
    assert first["naswot"][0] == second["naswot"][0]
    assert first["params"][0] < second["params"][0]  # what they differ in is counted, not stored


def test_the_cost_alone_opens_no_store(tmp_path):
    small(proxies="params,flops", store=tmp_path / "a.sqlite")
    with Store(tmp_path / "a.sqlite") as store:
        assert contents.settings(store).empty


@dataclass(frozen=True)
class Widths(Space):
    """A user's own space; networks of the width `broken` fail where a proxy asks for it."""

    name = "widths"
    axes = (Axis("width", ("1", "2", "4")),)
    source = "here"
    task = Task(size=8, classes=3)

    def build(self, arch, task):
        width = int(self.axes[0].options[arch.genes[0]])
        head = nn.Linear(width, task.classes)
        return nn.Sequential(nn.Conv2d(3, width, 8), nn.ReLU(), nn.Flatten(), head)


def fails_for_two(trace):
    if trace.leaves["0.weight"].shape[0] == 2:
        raise RuntimeError("two is too few")
    return float(trace.logits.detach().max())


def test_failures_are_not_kept_and_are_as_from_nothing(path, evaluations):
    picky = Proxy("picky", (Forward(),), fails_for_two, "higher", "here")
    small(range(3), space=Widths(), proxies="naswot", store=path)
    proxies = (*find_proxies("naswot"), picky)
    mixed = small(range(3), space=Widths(), proxies=proxies, store=path)
    alone = small(range(3), space=Widths(), proxies=proxies)
    pd.testing.assert_frame_equal(mixed.scores, alone.scores, check_exact=True)
    assert mixed.record["not a number"] == alone.record["not a number"]
    assert not alone.scores["naswot"].isna().any()
    assert alone.scores["picky"].isna().tolist() == [False, True, False]
    assert "two is too few" in next(iter(alone.record["not a number"]["picky"]))
    evaluations.clear()
    small(range(3), space=Widths(), proxies=proxies, store=path)
    assert evaluations == [("picky",)]


def test_a_network_that_no_formula_could_score_is_not_kept(path):
    picky = Proxy("picky", (Forward(),), fails_for_two, "higher", "here")
    found = small(range(3), space=Widths(), proxies=(picky,), store=path)
    assert found.scores["picky"].isna().tolist() == [False, True, False]
    with Store(path) as store:
        assert contents.networks(store, 1) == [("0", 0), ("2", 0)]


def test_a_network_that_fails_is_as_from_nothing(path, monkeypatch, evaluations):
    """Whatever a store tells of it: it is NaN in all columns, and tried again."""
    archs, both = ARCHS[1:3], "naswot,synflow"
    small(archs, proxies="naswot", store=path)

    def fails(net, batch, proxies):
        if evaluations[2:]:
            return counted(net, batch, proxies)
        evaluations.append(())
        raise ArithmeticError("broken")

    counted = zeroshot.worker.evaluate
    with monkeypatch.context() as patch:
        patch.setattr(zeroshot.worker, "evaluate", fails)
        found = small(archs, proxies=both, store=path)
    assert found.scores["naswot"].isna().tolist() == [True, False]
    assert found.scores["synflow"].isna().tolist() == [True, False]
    why = found.record["not a number"]
    assert why["naswot"] == why["synflow"] == {"ArithmeticError: broken": 1}
    evaluations.clear()
    again = small(archs, proxies=both, store=path).scores
    assert evaluations == [("synflow",)]
    pd.testing.assert_frame_equal(again, small(archs, proxies=both).scores, check_exact=True)


def test_interruption_is_survived_by_the_store(tmp_path, path, evaluations):
    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small(store=path, out=tmp_path / "a.csv", progress=stop)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    evaluations.clear()
    found = small(store=path, out=tmp_path / "a.csv")
    assert len(evaluations) == found.record["networks scored"] - 3
    evaluations.clear()
    assert small(store=path, out=tmp_path / "a.csv").record == found.record  # it is read
    assert not evaluations


@dataclass(frozen=True)
class Few(NasBench201):
    """Four networks, which are finalists from the start."""

    task = Task(size=8)

    @property
    def prunable(self):
        return Arch(self.name, (*((1, 3),) * 2, *((3,),) * 4))

    @property
    def small(self):
        return replace(self, channels=4, cells=1)


def test_finalists_of_pruning_are_kept(tmp_path, path, monkeypatch):
    monkeypatch.setattr(zeroshot.pruning.run, "SHOWN", 4)
    monkeypatch.setattr(zeroshot.pruning.run, "BEST", 2)
    options = {"criterion": "params", "finalists": 4, "by": "naswot", "workers": 1}
    first = prune(Few(), store=path, **options)
    with Store(path) as store:
        table = contents.settings(store)
    assert table["architectures"].tolist() == [4, 2]  # all once, the best once more
    monkeypatch.setattr(zeroshot.worker, "evaluate", None)  # nothing is scored again
    again = prune(Few(), store=path, **options)
    pd.testing.assert_frame_equal(first.finalists, again.finalists)


# -- editions --------------------------------------------------------------------------------------


def test_the_packages_formulas_are_known_by_their_version():
    for proxy in zeroshot.PROXIES:
        assert proxy.edition == str(proxy.version)
    assert replace(SYNFLOW, version=2).edition == "2"
    assert edition(3, NasBench201, Synflow) == "3"


def test_a_formula_of_the_package_under_another_name_is_not_that_proxys():
    borrowed = replace(SYNFLOW, formula=SNIP.formula)
    assert borrowed.edition not in (SYNFLOW.edition, replace(SYNFLOW, formula=print).edition)
    one, other = (Proxy("own", (Synflow(),), f, "higher", "") for f in (torch.trace, torch.logdet))
    assert one.edition != other.edition


def test_modules_count_by_their_names():
    one, other = (f"import {name} as m\ndef f(x): return m.log(x)\n" for name in ("math", "numpy"))
    assert edition(1, made(one)) == edition(1, made(one)) != edition(1, made(other))


def test_networks_of_another_package_are_of_its_version(monkeypatch):
    assert find_space("nasbench201").code(Task) == "1"
    before = find_space("torchvision").code(Task)
    monkeypatch.setattr("importlib.metadata.version", lambda package: f"{package}'s next")
    assert find_space("torchvision").code(Task) == "1 torchvision torchvision's next" != before


def made(source, name="f"):
    """What a module of the user's own defines."""
    names = {"__name__": "mine"}
    exec(compile(source, f"/{len(source)}/mine.py", "exec"), names)
    return names[name]


BASE = '''
K = 3
def g(x): return x + 1
def f(trace, power=2):
    """Says what it is."""
    inner = lambda y: y * 0.5
    return g(inner(trace)) ** power if K in (1, 2, 3) else K
'''
SAME = {
    "place": "\n\n\n" + BASE,
    "comment": BASE.replace("return g", "# why\n    return g"),
    "docstring": BASE.replace("Says", "Tells"),
    "what it does not use": BASE + "\ndef h(x): return 3\n",
}
OTHER = {
    "constant": BASE.replace("0.5", "0.25"),
    "operation": BASE.replace("y * 0.5", "y / 0.5"),
    "default": BASE.replace("power=2", "power=3"),
    "helper": BASE.replace("x + 1", "x - 1"),
    "global": BASE.replace("K = 3", "K = 4"),
    "name": BASE.replace("g(", "gg("),
    "set": BASE.replace("(1, 2, 3)", "{1, 2, 3}"),
}


@pytest.mark.parametrize("case", SAME)
def test_the_same_code_is_the_same_edition(case):
    assert edition(1, made(SAME[case])) == edition(1, made(BASE))


@pytest.mark.parametrize("case", OTHER)
def test_other_code_is_another_edition(case):
    assert edition(1, made(OTHER[case])) != edition(1, made(BASE))


def test_defaults_of_keywords_count():
    source = "def f(trace, *, power=1): return trace**power"
    one, other = made(source), made(source.replace("power=1", "power=2"))
    assert edition(1, one) == edition(1, made(source)) != edition(1, other)


CLASSES = """
import functools
from dataclasses import dataclass
def bound(k):
    return lambda x: x * k
@functools.lru_cache
def cached(x): return x + 1
@dataclass(frozen=True)
class Base:
    width: int = 3
    def run(self, x): return cached(x) * self.width
    @property
    def double(self): return 2
    @staticmethod
    def half(): return 0.5
class Own(Base):
    axes = ("a", "b")
    def __call__(self, x): return self.run(x)
loop = Own()
object.__setattr__(loop, "me", [loop])
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x + 1", "x + 2"),
        ("width: int = 3", "width: int = 4"),
        ("return 2", "return 3"),
        ("return 0.5", "return 0.25"),
        ('("a", "b")', '("a", "c")'),
        ("self.run(x)", "self.run(2 * x)"),
    ],
)
def test_classes_and_objects_count_with_what_they_are_made_of(old, new):
    for name in ("Own", "loop"):
        one, other = (edition(1, made(text, name)) for text in (CLASSES, CLASSES.replace(old, new)))
        assert one != other
        assert one == edition(1, made(CLASSES, name))


def test_closures_and_partial_functions_count():
    bound, base = made(CLASSES, "bound"), made(BASE)
    assert edition(1, bound(2)) == edition(1, bound(2)) != edition(1, bound(3))
    one, other = (functools.partial(base, power=power) for power in (2, 3))
    assert edition(1, one) != edition(1, other)
    assert edition(1, made(CLASSES, "loop").run) != edition(1, made(CLASSES, "loop").__call__)


class Undecorated(Space):
    """A space that sets what its networks depend on, without the decorator that makes it known."""

    name, axes, source = "undecorated", (Axis("kernel", ("1", "3")),), "this file"

    def __init__(self, width=8):
        self.width = width

    def build(self, arch, task):
        raise NotImplementedError


def test_settings_that_are_no_fields_are_refused():
    for command in (rank, prune):
        with pytest.raises(ZeroshotError, match=r"the space Undecorated sets 'width'.*@dataclass"):
            command(Undecorated(32), device="cpu")


def held_by(value):
    return lambda answers, targets: nn.functional.cross_entropy(answers, targets, value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.ones(3), torch.tensor([1.0, 1.0, 2.0])),
        (torch.ones(3), torch.ones(3, dtype=torch.float64)),
        (torch.ones(2, 3), torch.ones(3, 2)),
        (torch.tensor(1, dtype=torch.bfloat16), torch.tensor(2, dtype=torch.bfloat16)),
        (np.array([1.0]), np.array([-1.0])),
        (np.float32(1), np.float32(2)),
        (np.array(["a", None]), np.array(["b", None])),
        (nn.CrossEntropyLoss(torch.ones(3)), nn.CrossEntropyLoss(2 * torch.ones(3))),
        (nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.1)),
        (nn.PReLU(init=0.1), nn.PReLU(init=0.2)),
        (torch.relu, torch.tanh),
        (torch.Tensor.sum, torch.Tensor.prod),
        (math.log, math.exp),
        (np.log, np.exp),
        (torch.float64, torch.float16),
        (np.dtype("f4"), np.dtype("f8")),
        (range(3), range(4)),
        (slice(1), slice(2)),
        (Path("a"), Path("b")),
        (Fraction(1, 2), Fraction(1, 3)),
    ],
)
def test_arrays_tensors_and_modules_count(one, other):
    for hold in (held_by, lambda value: functools.partial(max, value), lambda value: value):
        assert edition(1, hold(one)) == edition(1, hold(deepcopy(one))) != edition(1, hold(other))


def test_a_loss_with_other_weights_is_another(path, evaluations):
    def scored(*weights):
        batch, _ = load_batch("noise", batch_size=4)
        loss = nn.CrossEntropyLoss(torch.tensor(weights), reduction="none")
        given = {"proxies": "snip", "data": replace(batch, loss=loss), "store": path}
        return small(ARCHS[1:2], **given).scores["snip"].item()

    first = scored(*[1.0] * 10)
    assert scored(*[9.0] * 5, *[1.0] * 5) != first == scored(*[1.0] * 10)
    assert len(evaluations) == 2


def test_editions_are_the_same_in_another_process():
    text = BASE + CLASSES
    code = (
        "import sys\nfrom zeroshot.edition import edition\n"
        f"names = {{'__name__': 'mine'}}\nexec({text!r}, names)\n"
        "print(edition(1, names['f'], names['Own'], names['loop']))\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    names = {"__name__": "mine"}
    exec(text, names)
    assert said == [edition(1, names["f"], names["Own"], names["loop"])] * 2


@dataclass(frozen=True)
class Answer(Pass):
    """A pass of the user's own."""

    def run(self, net, batch):
        return 1.0


def test_a_changed_formula_or_pass_is_computed_anew(tmp_path, path, monkeypatch):
    def scores(formula=lambda answer: answer, **options):
        mine = Proxy("mine", (Answer(),), formula, "higher", "here")
        return small(ARCHS[:1], proxies=(mine,), **options).scores["mine"][0]

    assert scores(store=path, out=tmp_path / "a.csv") == 1.0
    assert scores(lambda answer: answer + 1, store=path) == 2.0
    monkeypatch.setattr(Answer, "run", lambda self, net, batch: 5.0)
    assert scores(store=path) == 5.0
    with pytest.raises(ZeroshotError, match=r"belongs to another run: there, formulas is .*'mine'"):
        scores(out=tmp_path / "a.csv")
    with Store(path) as store:
        assert contents.formulas(store, 1)["name"].tolist() == ["mine"] * 3


def test_a_changed_space_is_scored_anew(path, monkeypatch):
    first = small([2], space=Widths(), proxies="naswot,l2_norm", store=path).scores
    build = Widths.build

    def other(self, arch, task):
        return nn.Sequential(nn.Identity(), *build(self, arch, task), nn.ReLU())

    monkeypatch.setattr(Widths, "build", other)
    second = small([2], space=Widths(), proxies="naswot,l2_norm", store=path)
    assert second.record["from the store"]["scores"] == 0
    assert second.scores["naswot"][0] != first["naswot"][0]


# -- many processes --------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from zeroshot.store import Formula, Kept, Setting, Store
own = int(sys.argv[2])
setting = Setting("S()", "1", "T()", "abc", "default", "cpu", "2.0", "s", "{}", "noise", 0, 4)
shared, mine = (Formula(name, "[]", "1", "higher", "[]") for name in ("x", f"own{own}"))
with Store(Path(sys.argv[1])) as store:
    for number in range(60):
        store.add(setting, (shared,), f"{own}.{number}", 0, Kept({"x": own + number / 7}))
        store.add(setting, (mine,), "all", number, Kept({mine.name: 1.0}, {}, {mine.name: 2.0}))
        print(number, flush=True)
        if own == 7:
            sys.stdin.readline()  # until it is told to go on
"""


def test_eight_processes_write_at_once_and_one_is_killed(path):
    """They all start from no file; one dies in the middle. Somebody reads meanwhile."""
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(own)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        for own in range(8)
    ]
    *others, victim = writers
    told = -1
    seen = 0
    keys = [(f"{own}.{number}", 0) for own in range(8) for number in range(60)]
    while told < 20:
        told = int(victim.stdout.readline())
        victim.stdin.write("\n")
        victim.stdin.flush()
        with Store(path) as store:
            found = len(store.load(SETTING, (X,), keys))
        assert found >= seen
        seen = found
    os.kill(victim.pid, signal.SIGKILL)
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == (-signal.SIGKILL if writer is victim else 0), errors
    with Store(path) as store:
        assert upkeep.damage(store) == []
        assert len(contents.settings(store)) == 1
        own = [Formula(f"own{number}", "[]", "1", "higher", "[]") for number in range(8)]
        found = store.load(SETTING, (X, *own), [*keys, *(("all", seed) for seed in range(60))])
        done = sum(key[0].startswith("7.") for key in found)
        assert told + 1 <= done <= 60
        for arch, number in ((f"{o}.{n}", o + n / 7) for o in range(7) for n in range(60)):
            assert found[arch, 0].scores == {"x": number}
        for seed in range(60):  # what they wrote of the same network lies side by side
            kept = found["all", seed]
            assert len(others) <= len(kept.scores) <= 8
            assert kept.scores.keys() == kept.seconds.keys()


def test_a_writer_that_waits_too_long_says_so(path, monkeypatch):
    monkeypatch.setattr(stores.file, "PATIENCE", 0.05)
    with Store(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.load(SETTING, (X,), [("a", 0)])  # readers do not wait
        with pytest.raises(ZeroshotError, match=r"other processes write it, for 0\.05 s on end"):
            store.add(SETTING, (X,), "a", 0, Kept({"x": 1.0}))
        other.execute("COMMIT")
        store.add(SETTING, (X,), "a", 0, Kept({"x": 1.0}))


# -- files -----------------------------------------------------------------------------------------


def test_where_the_store_is(monkeypatch, tmp_path):
    monkeypatch.setenv("ZEROSHOT_STORE", str(tmp_path / "mine.sqlite"))
    assert stores.default_path() == tmp_path / "mine.sqlite"
    monkeypatch.delenv("ZEROSHOT_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert stores.default_path() == tmp_path / "zeroshot" / "scores.sqlite"
    with Store(stores.default_path()):  # its folder is made
        pass
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert stores.default_path() == Path.home() / ".cache" / "zeroshot" / "scores.sqlite"


def test_files_that_are_no_store_stay(path):
    contents = {"text": b"my notes\n" * 30, "short": b"x", "cut": b"SQLite format 3\0"}
    with closing(sqlite3.connect(path.with_name("foreign"))) as db, db:
        db.execute("CREATE TABLE mine (a)")
    contents["foreign"] = path.with_name("foreign").read_bytes()
    for content in contents.values():
        path.write_bytes(content)
        with pytest.raises(ZeroshotError, match=r"scores\.sqlite is no store of scores; move it"):
            small(store=path)
        assert path.read_bytes() == content
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, "foreign"}


def test_a_newer_store_is_refused(path):
    with Store(path):
        pass
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.read_bytes()
    with pytest.raises(ZeroshotError, match=r"newer zeroshot \(schema 2, this one reads 1\); upg"):
        Store(path)
    assert path.read_bytes() == before


def test_folders_and_rights(tmp_path):
    with pytest.raises(ZeroshotError, match=r"the folder .*none does not exist; create it, or cho"):
        Store(tmp_path / "none" / "a.sqlite")
    with pytest.raises(ZeroshotError, match="cannot be read: Is a directory"):
        Store(tmp_path)
    with pytest.raises(ZeroshotError, match=r"/proc/a\.sqlite cannot be written: unable to open"):
        Store(Path("/proc/a.sqlite"))
    with pytest.raises(ZeroshotError, match=r"there is no store .*a\.sqlite; expected one that a"):
        Store(tmp_path / "a.sqlite", create=False)
    assert not list(tmp_path.iterdir())


def test_a_store_without_its_tables_is_damaged(path):
    with Store(path):
        pass
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TABLE networks")
    with pytest.raises(ZeroshotError, match=r"damaged \(no such table: .*networks\); move it away"):
        small(store=path)


# -- what is told of it ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A store of two settings."""
    path = tmp_path_factory.mktemp("filled") / "scores.sqlite"
    small(ARCHS[:5], proxies="naswot,dss", repeats=2, store=path)
    small(ARCHS[:7], proxies="naswot,params", store=path)
    small(ARCHS[:2], proxies="naswot", data="digits", init="gaussian", store=path)
    return path


@pytest.fixture
def copied(filled, path):
    path.write_bytes(filled.read_bytes())
    return path


def test_settings(filled):
    with Store(filled, create=False) as store:
        table = contents.settings(store)
        assert table["number"].tolist() == [1, 2]
        first = table.iloc[0]
        assert (first["space"], first["name"]) == (repr(SPACE), "nasbench201")
        assert (first["architectures"], first["networks"]) == (7, 5 * 2 + 2)
        assert (first["seeds"], first["proxies"]) == (2, 2)
        assert [set(names.split(",")) for names in table["names"]] == [
            {"naswot", "dss"},
            {"naswot"},
        ]
        assert (table["data"].tolist(), table["init"].tolist()) == (
            ["noise", "digits"],
            ["default", "gaussian"],
        )
        assert table["written"].str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").all()
        with pytest.raises(ZeroshotError, match="has no setting 3; `zeroshot store list` shows"):
            contents.formulas(store, 3)
        with pytest.raises(ZeroshotError, match="has no setting 99999999999999999999;"):
            contents.setting(store, 99999999999999999999)


def test_formulas_and_scores(filled):
    with Store(filled, create=False) as store:
        table = contents.formulas(store, 1).set_index("name")
        assert table["networks"].to_dict() == {"naswot": 12, "dss": 10}
        reason, undefined = table.loc["dss", "reasons"], table.loc["dss", "undefined"]
        assert reason.endswith(f"({undefined})")
        assert undefined == 10
        told = contents.scores_of(store, 1, ARCHS[1])
        row = told[(told["seed"] == 0) & (told["proxy"] == "naswot")]
        assert row["score"].tolist() == small(ARCHS[1:2]).scores["naswot"].tolist()
        assert told[told["proxy"] == "dss"]["score"].isna().all()
        with pytest.raises(ZeroshotError, match="setting 1 has no score of x; spell the"):
            contents.scores_of(store, 1, "x")


@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_export_is_what_rank_wrote_and_validate_reads(filled, tmp_path, end):
    out = tmp_path / f"a.{end}"
    found = export_store(filled, 1, out, proxies=("naswot",), seeds=(0,))
    table = zeroshot.eval.tables.read_scores(out)
    pd.testing.assert_frame_equal(table, found.scores, check_exact=True)
    ranked = small(ARCHS[:7], proxies="naswot").scores
    built = [SPACE.spell(SPACE.canonical(SPACE.parse(arch))) for arch in ranked["arch"]]
    kept = table.set_index("arch")["naswot"]
    assert kept.loc[built].tolist() == ranked["naswot"].tolist()
    truth = pd.Series(np.random.default_rng(0).normal(size=len(kept)), kept.index)
    checked = validate(out, truth, resamples=100).table.set_index("name")
    assert checked.loc["naswot", "seconds"] > 0
    record = json.loads((tmp_path / f"a.{end}.json").read_text())
    assert record["run"]["formulas"] == {"naswot": find_proxies("naswot")[0].edition}
    with pytest.raises(ZeroshotError, match=rf"a\.{end} is there already; choose another --out"):
        export_store(filled, 1, out)
    out.unlink()
    with pytest.raises(ZeroshotError, match=rf"a\.{end}\.json is there already"):
        export_store(filled, 1, out)
    with pytest.raises(ZeroshotError, match="belongs to another run"):
        small(out=out)


def test_export_leaves_out_what_is_not_whole(filled, tmp_path):
    found = export_store(filled, 1, tmp_path / "a.csv")
    assert len(found.scores) == 10
    assert found.record["networks left out"] == 2
    assert found.record["not a number"]["dss"]
    with Store(filled) as store:
        with pytest.raises(ZeroshotError, match="setting 1 has no proxy 'x'; it has naswot, dss"):
            contents.export(store, 1, ("x",))
        with pytest.raises(ZeroshotError, match="of naswot, dss for seed 5; name fewer with"):
            contents.export(store, 1, seeds=(5,))


def test_export_of_two_editions(path):
    newer = replace(X, edition="2")
    with Store(path) as store:
        for formula, value in ((X, 1.0), (newer, 2.0)):
            store.add(SETTING, (formula,), "a", 0, Kept({"x": value}))
        with pytest.raises(
            ZeroshotError, match=r"has 2 editions of x; name one by its number \(1, 2"
        ):
            contents.export(store, 1)
        with pytest.raises(ZeroshotError, match="--proxies 1,2: expected each proxy once"):
            contents.export(store, 1, ("1", "2"))
        assert contents.export(store, 1, ("2",))[0]["x"].tolist() == [2.0]
        store.add(SETTING, (Y,), "b", 0, Kept({"y": 1.0}))
        with pytest.raises(
            ZeroshotError, match="no architecture of setting 1 has all of x, y for seed 0; name"
        ):
            contents.export(store, 1, ("2", "y"))


def test_deleting(copied):
    with Store(copied) as store:
        whole = upkeep.count(store, Selection(before="2999-01-01"))
        assert whole == {"scores": 24, "networks": 14, "all scores": 24}
        year = contents.settings(store)["written"].min()[:4]
        weeks = [f"{year}-W01"] if sys.version_info >= (3, 11) else []
        for earlier in ("2020-01-01", f"{year}-01-01", f"{year}0101", *weeks):
            assert upkeep.count(store, Selection(before=earlier))["scores"] == 0
        assert upkeep.count(store, Selection(space="nasbench201"))["scores"] == 24
        assert upkeep.count(store, Selection(space=repr(SPACE)))["scores"] == 24
        assert upkeep.count(store, Selection(space="darts"))["scores"] == 0
        assert (
            upkeep.count(store, Selection(space="nasbench201", before="2020-01-01"))["scores"] == 0
        )
        assert upkeep.count(store, selected(outdated=True))["scores"] == 0
        newer = replace(formula_of(*find_proxies("naswot")), edition="9")
        old = Selection(current=(newer,))
        assert upkeep.count(store, old) == {"scores": 14, "networks": 14, "all scores": 24}
        assert upkeep.delete(store, old) == 14
        assert contents.formulas(store, 1)["name"].tolist() == ["dss"]
        assert contents.settings(store)["number"].tolist() == [
            1
        ]  # of the other there is nothing left
        assert upkeep.damage(store) == []
        assert upkeep.delete(store, Selection(space="nasbench201")) == 10
        assert contents.settings(store).empty
        store.add(SETTING, (X,), "a", 0, Kept({"x": 1.0}))
    with pytest.raises(ZeroshotError, match="nothing is selected; expected --outdated, --space or"):
        Selection()
    with pytest.raises(ZeroshotError, match="--before soon: expected a date as 2026-12-31"):
        Selection(before="soon")


def test_a_formula_of_other_passes_is_outdated(copied):
    """Though its own version is the same."""
    other = replace(formula_of(*find_proxies("naswot")), needs='["Other()"]')
    with Store(copied) as store:
        assert upkeep.count(store, Selection(current=(other,)))["scores"] == 14
        assert upkeep.count(store, Selection(current=(replace(other, name="x"),)))["scores"] == 0


def test_networks_that_were_added_to_are_as_new_as_that(path, monkeypatch):
    with Store(path) as store:
        for day, network, formula in (("01", "a", X), ("01", "b", X), ("03", "a", Y)):
            monkeypatch.setattr(stores.scores, "now", lambda day=day: f"2026-05-{day}T12:00:00Z")
            store.add(SETTING, (formula,), network, 0, Kept({formula.name: 1.0}))
        assert upkeep.delete(store, Selection(before="2026-05-02")) == 1
        assert contents.networks(store, 1) == [("a", 0)]
        assert upkeep.count(store, Selection(before="2026-05-04"))["scores"] == 2


def test_merging(filled, path):
    newer = replace(X, edition="2")
    first = Kept({"x": 1.0}, {}, {"A()": 1.0})
    with Store(path) as store:
        store.add(SETTING, (X,), "a", 0, first)
        assert upkeep.merge(store, filled) == 24
        assert upkeep.merge(store, filled) == 0
        assert contents.settings(store)["networks"].tolist() == [1, 12, 2]
        assert upkeep.damage(store) == []
    with Store(filled) as store:
        whole, _ = contents.export(store, 1, ("naswot", "dss"))
    with Store(path) as store:
        pd.testing.assert_frame_equal(contents.export(store, 2, ("naswot", "dss"))[0], whole)
    other = path.with_name("other.sqlite")
    with Store(other) as store:  # of the same network, other formulas, one of them known
        store.add(SETTING, (Y,), "b", 0, Kept({"y": math.nan}, {"y": "why"}))
        both = Kept({"x": 5.0, "y": 2.0}, {}, {"A()": 9.0, "B()": 2.0})
        store.add(SETTING, (X, Y), "a", 0, both)
        store.add(SETTING, (newer,), "a", 0, Kept({"x": 7.0}))
    before = other.read_bytes()
    with Store(path) as store:
        assert upkeep.merge(store, other) == 3
        found = store.load(SETTING, (X, Y), [("a", 0), ("b", 0)])
        assert found["a", 0] == Kept({"x": 1.0, "y": 2.0}, {}, {"A()": 1.0, "B()": 2.0})
        assert found["b", 0].reasons == {"y": "why"}
        assert store.load(SETTING, (newer,), [("a", 0)])["a", 0].scores == {"x": 7.0}
        with pytest.raises(ZeroshotError, match="there is no store"):
            upkeep.merge(store, path.with_name("none.sqlite"))
        with pytest.raises(ZeroshotError, match="are one file; name another store"):
            upkeep.merge(store, path.parent / "." / path.name)
    assert other.read_bytes() == before


def test_check_scores_again(copied):
    found = check_store(copied, sample=100)
    assert found.sound
    assert len(found.scores) == 24
    assert found.skipped == {}
    assert check_store(copied, sample=2).scores[
        ["setting", "arch", "seed"]
    ].drop_duplicates().shape == (2, 3)
    with closing(sqlite3.connect(copied)) as db, db:
        db.execute("UPDATE scores SET score = 7.0 WHERE network = 1 AND proxy = 1")
    found = check_store(copied, sample=100)
    assert not found.sound
    (row,) = found.scores[~found.scores["same"]].to_dict("records")
    assert (row["setting"], row["proxy"], row["stored"]) == (1, "naswot", 7.0)


def test_check_says_what_it_cannot_score_again(path):
    small(range(3), space=Widths(), proxies="naswot", store=path)
    with Store(path) as store:
        known = {"name": "nasbench201", "shape": "{}"}
        for change in (
            {"data": "npz:mine.npz"},
            {"data_seed": None, "init": "gaussian"},
            {"shape": '{"wings": 2}', "space": "NasBench201(wings=2)"},
            {"torch": "1.0"},
            {"batch": "0123"},
        ):
            setting = replace(SETTING, **(known | change), code=str(change))
            store.add(setting, (X,), "a", 0, Kept({"x": 1.0}))
    found = check_store(path)
    assert found.sound
    assert found.scores.empty
    words = list(found.skipped.values())
    assert "Widths is no space of this package" in words[0]
    assert "npz:mine.npz, which is not drawn again" in words[1]
    assert "is not drawn again" in words[2]
    assert "cannot be made again" in words[3]
    assert len(words) == 6


def test_check_of_a_damaged_file(copied):
    size = int.from_bytes(copied.read_bytes()[16:18], "big")
    with closing(sqlite3.connect(copied)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'proxies'").fetchone()
    content = bytearray(copied.read_bytes())
    content[(page - 1) * size + 3 : (page - 1) * size + 30] = b"\xff" * 27
    copied.write_bytes(content)
    found = check_store(copied)
    assert found.damage
    assert found.scores.empty
    assert not found.sound


def test_a_silent_proxy_is_stored_with_its_reason(path):
    def silent(trace):
        raise Undefined("nothing to say")

    mute = Proxy("mute", (Forward(),), silent, "higher", "here")
    for _ in range(2):
        found = small(range(3), space=Widths(), proxies=(mute, "params"), by="params", store=path)
        assert found.record["not a number"] == {"mute": {"nothing to say": 3}}
    assert found.record["from the store"]["networks"] == 3
