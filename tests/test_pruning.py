import functools
import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import zeroshot
from zeroshot.core import Pass, Proxy
from zeroshot.errors import Undefined, ZeroshotError
from zeroshot.models import find_members
from zeroshot.passes import Patterns, TangentKernel, Weights, tangent
from zeroshot.proxies import PARAMS
from zeroshot.pruning import METHODS, Pruning, load, run
from zeroshot.searches.prune import Measured
from zeroshot.spaces import (
    DARTS,
    NASBENCH201,
    TORCHVISION,
    Arch,
    Axis,
    Mixed,
    NasBench201,
    Space,
    Task,
)
from zeroshot.spaces.space import with_shape
from zeroshot.supernets import FIDELITIES, Supernets, forget


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Small images and batches, few crops, one repeat: the protocol, in a second."""
    monkeypatch.setattr(NasBench201, "task", Task(size=8))
    monkeypatch.setattr(run, "SHOWN", 4)
    monkeypatch.setattr(run, "BEST", 3)
    monkeypatch.setattr(run, "DRAWS", 2)
    for name, how in FIDELITIES.items():
        small = replace(how, batch_size=6, repeats=1, patterns=Patterns(samples=60, together=30))
        monkeypatch.setitem(FIDELITIES, name, small)


@dataclass(frozen=True)
class Ones(Pass):
    """A kernel of rank one, whose smallest eigenvalue is nothing but rounding."""

    def run(self, net, batch):
        return torch.linspace(-1, 1, 8).double().outer(torch.linspace(-1, 1, 8).double())


@dataclass(frozen=True)
class Few(NasBench201):
    """Three of the six edges have something to decide; for other processes, on small images."""

    task = Task(size=8)

    @property
    def prunable(self):
        return Arch(self.name, (*((1, 2, 3),) * 3, *((3,),) * 3))


FEW = Few()


def operation(name):
    if name == "skip":
        return nn.Identity()
    return nn.Conv2d(3, 3, 3 if name == "wide" else 1, padding="same")


@dataclass(frozen=True)
class Own(Space):
    """As a user would write it."""

    name, source, mixable = "own", "here", True
    axes = tuple(Axis(name, ("skip", "conv", "wide")) for name in "ab")
    task = Task(size=8)

    def build(self, arch, task):
        stages = [Mixed({name: operation(name) for name in open_}) for open_ in self.names(arch)]
        return nn.Sequential(*stages, nn.Flatten(), nn.Linear(192, task.classes))


OWN = Own()


@dataclass(frozen=True)
class Decided(Own):
    axes = (Axis("a", ("conv",)), Axis("b", ("skip",)))


@dataclass(frozen=True)
class Fields(Own):
    widths: tuple = (1, 2)
    act: type = nn.ReLU


@functools.cache
def pruned(fidelity):
    """By TE-NAS' rule, once for all tests that look at it; dear ones have less to decide."""
    return Pruning(NASBENCH201 if fidelity == "fast" else FEW, fidelity=fidelity).run()


@pytest.mark.parametrize("fidelity", ["fast", "paper", "official"])
def test_ends_in_a_network_and_says_how(fidelity):
    state = torch.get_rng_state()
    found = pruned(fidelity)
    assert torch.equal(torch.get_rng_state(), state)
    assert found.arch.is_network
    assert 0 not in found.arch.genes  # TE-NAS never keeps 'none'
    assert found.name == NASBENCH201.spell(found.arch)
    options, axes = (54, 6) if fidelity == "fast" else (15, 3)
    assert len(found.history) == found.record["options measured"] == options
    kept = found.history.groupby("axis")["dropped"].agg(lambda gone: (~gone).sum())
    assert len(kept) == axes
    left = {
        (axis.name, axis.options[gene])
        for axis, gene in zip(NASBENCH201.axes, found.arch.genes, strict=True)
    }
    gone = found.history[found.history["dropped"]]
    assert left.isdisjoint(zip(gone["axis"], gone["option"], strict=True))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("criterion", ["naswot", "vote", "log(synflow) + log(jacob_cov)"])
def test_other_criteria(criterion, method):
    found = Pruning(FEW, criterion, method).run()
    assert found.arch.is_network
    members = find_members(criterion)[0].members
    assert {f"{member}_gain" for member in members} < set(found.history.columns)
    assert len(found.history) == (15 if method == "prune" else 9)


def test_the_order_of_axes_is_the_seeds():
    orders = [Pruning(NASBENCH201, "params", "perturb", seed=seed).order for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    history = Pruning(NASBENCH201, "params", "perturb").run().history
    names = [NASBENCH201.axes[axis].name for axis in orders[0]]
    assert list(history["axis"].unique()) == names
    # the option that holds most parameters is the one whose loss hurts most
    assert set(history[~history["dropped"]]["option"]) == {"nor_conv_3x3"}


def test_finalists(tmp_path):
    """Pruning stops at 8 networks; the ensemble ranks these."""
    how = {"by": "log(flops) + log(naswot)", "workers": 1}
    found = zeroshot.prune(FEW, criterion="params", finalists=8, out=tmp_path / "run", **how)
    assert len(found.history) == 9
    assert len(found.finalists) == found.record["finalists"] == 8
    scores = pd.read_csv(tmp_path / "run" / "finalists.csv")
    assert list(scores.columns) == ["arch", "seed", "flops", "naswot"]
    archs = list(scores["arch"].unique())
    ranked = zeroshot.rank(NASBENCH201.small, archs=archs, batch_size=4, **how).order
    first = found.finalists["rated"].sort_values(ascending=False, kind="stable")
    assert first.to_list() == ranked.to_list()
    again = zeroshot.rank(
        NASBENCH201.small, archs=list(ranked.index[:3]), batch_size=4, seed=1, repeats=2, **how
    ).order
    assert found.finalists["refined"].dropna().to_dict() == again.to_dict()
    assert list(found.finalists.index) == [*again.index, *ranked.index[3:]]
    assert found.name == found.finalists.index[0] == again.index[0]
    gone = found.history[found.history["dropped"]]
    assert set(gone["option"]).isdisjoint(NASBENCH201.axes[0].options[g] for g in found.arch.genes)


def test_workers_change_nothing(monkeypatch):
    monkeypatch.undo()
    one, two = (zeroshot.prune(FEW, criterion="synflow", workers=n) for n in (1, 2))
    assert one.arch == two.arch
    pd.testing.assert_frame_equal(one.history, two.history)


def test_eigenvalues_below_zero_are_counted(monkeypatch):
    """A batch larger than the network has weights: the authors' code would call κ the best."""
    how = FIDELITIES["official"]
    monkeypatch.setitem(FIDELITIES, "official", replace(how, batch_size=300, kernel=Ones()))
    found = Pruning(FEW, fidelity="official").run()
    assert (found.history["singular"] == 2).all()
    words = "kernels with an eigenvalue below zero in single precision"
    assert found.record[words] == 2 * 15


def test_the_seed_decides():
    first, again, other = (Pruning(FEW, seed=seed).run() for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first.history, again.history)
    assert not first.history["condition_after"].equals(other.history["condition_after"])


def test_common_random_numbers():
    """In 'fast' all options of a round are compared with the same supernet; not in 'official'."""
    fast, official = (pruned(name).history for name in ("fast", "official"))
    assert (fast.groupby("round")["condition_before"].nunique() == 1).all()
    assert (official.groupby("round")["condition_before"].nunique() > 1).all()


def test_what_official_draws(monkeypatch):
    """The kernel's network for the round, the thin one for the option, the batch for a repeat."""
    shown = []

    def look(self, net, drawn):
        weights = net.module.state_dict()["stem.0.weight"], list(net.thin().parameters())[-1]
        shown.append((*(float(w.detach().flatten()[0]) for w in weights), drawn.batch.hash))
        return Measured((1.0, 1.0))

    monkeypatch.setattr(Supernets, "measure", look)
    monkeypatch.setitem(FIDELITIES, "official", replace(FIDELITIES["official"], repeats=3))
    supernets = Pruning(FEW, fidelity="official").supernets
    for option in (1, 2):
        supernets.repeats(FEW.prunable, 0, option, 1)
    stems, thins, batches = zip(*shown, strict=True)
    assert len(set(stems)) == 1
    assert [len(set(thins[:6])), len(set(thins[6:])), len(set(thins))] == [1, 1, 2]
    assert batches[::2] == batches[1::2]  # with and without the option
    assert len(set(batches)) == 6


def test_a_dropped_option_changes_nothing_else():
    whole = NASBENCH201.prunable
    net = NASBENCH201.searched.network(whole, seed=3)
    less = NASBENCH201.searched.network(whole.drop(0, 3), seed=9, like=net)
    held = net.module.state_dict()
    assert set(less.module.state_dict()) < set(held)
    assert all(torch.equal(t, held[name]) for name, t in less.module.state_dict().items())
    shown = torch.rand(4, 1, 3, 3)
    assert torch.equal(
        NASBENCH201.searched.network(whole, seed=9, like=net).thin()(shown), net.thin()(shown)
    )


def test_kill_and_resume(tmp_path, monkeypatch):
    whole = zeroshot.prune(FEW, workers=1, out=tmp_path / "whole")
    repeats = Supernets.repeats

    def killed(self, arch, axis, option, number):
        if number == 2 and axis == 1:
            raise KeyboardInterrupt
        return repeats(self, arch, axis, option, number)

    monkeypatch.setattr(Supernets, "repeats", killed)
    with pytest.raises(KeyboardInterrupt):
        zeroshot.prune(FEW, workers=1, out=tmp_path / "cut")
    monkeypatch.setattr(Supernets, "repeats", repeats)
    assert not (tmp_path / "cut" / "architecture.json").exists()
    with pytest.raises(ZeroshotError, match="--resume"):
        zeroshot.prune(FEW, workers=1, out=tmp_path / "cut")
    with pytest.raises(ZeroshotError, match="seed is 0"):
        zeroshot.prune(FEW, workers=1, out=tmp_path / "cut", seed=1, resume=True)
    resumed = zeroshot.prune(FEW, workers=1, out=tmp_path / "cut", resume=True)
    assert resumed.arch == whole.arch
    for name in ("history.csv", "architecture.json", "pruning.png"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def stopped_in(number, monkeypatch, space, out, **how):
    """A run that is stopped in a round."""
    repeats = Supernets.repeats

    def killed(self, arch, axis, option, now):
        if now == number:
            raise KeyboardInterrupt
        return repeats(self, arch, axis, option, now)

    with monkeypatch.context() as patch:
        patch.setattr(Supernets, "repeats", killed)
        with pytest.raises(KeyboardInterrupt):
            zeroshot.prune(space, criterion="params", workers=1, out=out, **how)


def test_stopped_in_the_first_round(tmp_path, monkeypatch):
    stopped_in(1, monkeypatch, FEW, tmp_path / "cut")
    with pytest.raises(ZeroshotError, match="seed is 0, now it is 1"):
        zeroshot.prune(
            FEW, criterion="params", workers=1, out=tmp_path / "cut", resume=True, seed=1
        )
    resumed = zeroshot.prune(FEW, criterion="params", workers=1, out=tmp_path / "cut", resume=True)
    stopped_in(1, monkeypatch, FEW, tmp_path / "anew")  # nothing is lost by starting anew
    anew = zeroshot.prune(FEW, criterion="params", workers=1, out=tmp_path / "anew")
    assert len(resumed.history) == 15
    pd.testing.assert_frame_equal(resumed.history, anew.history)


def test_resume_refuses_other_images(tmp_path, monkeypatch):
    rng, path = np.random.default_rng(0), tmp_path / "images.npz"
    images, how = rng.integers(0, 256, (20, 8, 8, 3), np.uint8), {"data": f"npz:{path}"}
    np.savez(path, x_train=images, y_train=np.arange(20) % 4)
    stopped_in(2, monkeypatch, FEW, tmp_path / "cut", **how)
    np.savez(path, x_train=255 - images, y_train=np.arange(20) % 4)
    with pytest.raises(ZeroshotError, match=r"there, batch is 6 \("):
        zeroshot.prune(FEW, criterion="params", workers=1, out=tmp_path / "cut", resume=True, **how)


def test_resume_refuses_other_data_and_another_protocol(tmp_path, monkeypatch):
    stopped_in(2, monkeypatch, FEW, tmp_path / "cut")
    given = {"criterion": "params", "workers": 1, "out": tmp_path / "cut", "resume": True}
    with pytest.raises(ZeroshotError, match="there, data is noise, now it is digits"):
        zeroshot.prune(FEW, data="digits", **given)
    monkeypatch.setitem(FIDELITIES, "fast", replace(FIDELITIES["fast"], repeats=2))
    with pytest.raises(ZeroshotError, match="there, settings is Fidelity"):
        zeroshot.prune(FEW, **given)


def test_what_tells_runs_from_one_another():
    base = Pruning(FEW)
    for field, other in (
        ("criterion", "params"),
        ("method", "perturb"),
        ("fidelity", "paper"),
        ("finalists", 2),
        ("data", "digits"),
        ("seed", 1),
        ("device", "cuda"),
    ):
        changed = replace(base, **{field: other})
        assert (changed.identity[field], base.identity[field]) == (other, getattr(base, field))
    # one network that is left is not ranked
    assert replace(base, by="naswot").identity == base.identity
    assert replace(base, by="naswot", finalists=2).identity["by"] == "naswot"


def test_resume_refuses_other_axes_and_other_code(tmp_path, monkeypatch):
    stopped_in(2, monkeypatch, OWN, tmp_path / "cut")
    given = {"criterion": "params", "workers": 1, "out": tmp_path / "cut", "resume": True}
    with monkeypatch.context() as patch:
        patch.setattr(Own, "axes", (Own.axes[0], Axis("b", ("wide", "skip", "conv"))))
        with pytest.raises(ZeroshotError, match=r"there, axes is {'b': .'skip', 'conv', 'wide'.}"):
            zeroshot.prune(OWN, **given)
    with monkeypatch.context() as patch:
        patch.setitem(globals(), "operation", lambda name: nn.Conv2d(3, 3, 1))
        with pytest.raises(ZeroshotError, match="there, code is 1-"):
            zeroshot.prune(OWN, **given)
    assert len(zeroshot.prune(OWN, **given).history) == 10


@pytest.mark.parametrize("space", ["two axes", "one option"])
def test_no_round_is_needed(tmp_path, space):
    """Because all networks may be finalists, or there is but one."""
    space = OWN if space == "two axes" else Decided()
    found = zeroshot.prune(
        space, criterion="params", finalists=9, by="params", workers=1, out=tmp_path / "run"
    )
    assert found.name == ("2.2" if space is OWN else "0.0")
    assert len(found.history) == 0
    columns = (tmp_path / "run" / "history.csv").read_text().strip().split(",")
    assert columns == list(zeroshot.prune(OWN, criterion="params", workers=1).history.columns)
    assert zeroshot.load(tmp_path / "run")(torch.rand(2, 3, 8, 8)).shape == (2, 10)


def test_folders_of_spaces_with_fields(tmp_path, monkeypatch):
    how = {"criterion": "params", "workers": 1}
    zeroshot.prune(Fields(widths=(3, (4, 5))), out=tmp_path / "run", **how)
    shape = json.loads((tmp_path / "run" / "architecture.json").read_text())["shape"]
    assert shape == {"widths": [3, [4, 5]]}  # the default of `act` goes without saying
    assert with_shape(Fields(), shape) == Fields(widths=(3, (4, 5)))
    assert zeroshot.load(tmp_path / "run")(torch.rand(2, 3, 8, 8)).shape == (2, 10)
    monkeypatch.setattr(Supernets, "repeats", lambda *_: pytest.fail("measured"))
    with pytest.raises(ZeroshotError, match=r"own: the field act is <class .*Tanh'>, which arch"):
        zeroshot.prune(Fields(act=nn.Tanh), out=tmp_path / "other", **how)


def test_only_the_paper_shows_darts_as_many_samples_as_it_says(monkeypatch):
    monkeypatch.undo()
    sizes = {
        name: len(Pruning(DARTS, fidelity=name).supernets.draw("").batch) for name in FIDELITIES
    }
    assert sizes == {"fast": 14, "paper": 32, "official": 14}


def test_a_build_that_fails(monkeypatch):
    def broken(self, arch, task):
        raise KeyError("nothing")

    def nothing(self, arch, task):
        return None

    for build, words in (
        (broken, r"own cannot build own:0\|1\|2.0\|1\|2: KeyError: 'nothing'"),
        (nothing, "own: build gave None for own:.*; expected a torch.nn.Module"),
    ):
        monkeypatch.setattr(Own, "build", build)
        with pytest.raises(ZeroshotError, match=words):
            zeroshot.prune(OWN, criterion="params", workers=1)


def test_axes_of_one_name_are_refused(monkeypatch):
    monkeypatch.setattr(Own, "axes", property(lambda self: (Axis("a", ("skip", "conv")),) * 2))
    with pytest.raises(ZeroshotError, match="own has axis 'a' more than once"):
        zeroshot.prune(OWN, criterion="params", workers=1)


def test_the_folder_is_ready_to_use(tmp_path):
    name = zeroshot.prune("nasbench201", workers=1, out=tmp_path / "run").name
    some = (NASBENCH201.spell(NASBENCH201.at(index)) for index in range(4))
    better, worse, unknown, *_ = (other for other in some if other != name)
    truth = pd.Series({name: 90.0, better: 91.0, worse: 10.0, unknown: float("nan")})
    table = truth.rename("accuracy").rename_axis("arch").reset_index()
    table.to_csv(tmp_path / "truth.csv", index=False)
    found = zeroshot.prune(
        "nasbench201", workers=1, out=tmp_path / "run", resume=True, truth=tmp_path / "truth.csv"
    )
    assert (found.record["accuracy"], found.record["rank"], found.record["of"]) == (90.0, 2, 3)
    net = zeroshot.load(tmp_path / "run")
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    again = zeroshot.load(tmp_path / "run")
    assert all(map(torch.equal, net.module.parameters(), again.module.parameters()))
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["run"]["fidelity"] == "fast"


@pytest.mark.parametrize("words", ["", "{}", '{"run": {}, "open": 3, "history": []}', "[1"])
def test_a_damaged_checkpoint(tmp_path, words):
    (tmp_path / "checkpoint.json").write_text(words)
    with pytest.raises(ZeroshotError, match="damaged"):
        zeroshot.prune(NASBENCH201, workers=1, out=tmp_path, resume=True)


def test_refuses():
    with pytest.raises(ZeroshotError, match="axis 'model' cannot be mixed"):
        zeroshot.prune(TORCHVISION)
    for words, options in {
        "unknown fidelity 'quick'; expected fast, paper": {"fidelity": "quick"},
        "unknown method 'fast'; expected prune, perturb": {"method": "fast"},
        "0 finalists; expected 1 to 1,000,000": {"finalists": 0},
        "unknown proxy or ensemble 'tenas'; did you mean te_nas": {"criterion": "tenas"},
        "unknown proxy or ensemble 'best'": {"finalists": 64, "by": "best"},
        "there is no function 'ln'": {"criterion": "ln(flops)"},
        "0 workers": {"workers": 0},
    }.items():
        with pytest.raises(ZeroshotError, match=words):
            zeroshot.prune(NASBENCH201, **{"workers": 1} | options)


def test_load_refuses(tmp_path):
    with pytest.raises(ZeroshotError, match=r"architecture.json is not there or damaged"):
        load(tmp_path)


def test_nowhere_to_resume():
    with pytest.raises(ZeroshotError, match="--resume goes on with the run in --out: name its fol"):
        Pruning(NASBENCH201).run(resume=True)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(ZeroshotError, match="nothing to resume"):
        zeroshot.prune(NASBENCH201, workers=1, out=tmp_path, resume=True)
    with pytest.raises(ZeroshotError, match=r"there is no run in .*none; leave it out"):
        zeroshot.prune(NASBENCH201, workers=1, out=tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()


def test_a_finished_run_is_read(tmp_path, monkeypatch):
    first = zeroshot.prune(FEW, criterion="params", workers=1, out=tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for name in ("repeats", "alone"):
        monkeypatch.setattr(Supernets, name, lambda *_: pytest.fail("measured again"))
    again = zeroshot.prune(FEW, criterion="params", workers=1, out=tmp_path)
    assert (again.arch, again.scores, again.record) == (first.arch, first.scores, first.record)
    assert files == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ZeroshotError, match="holds a run already"):
        zeroshot.prune(FEW, criterion="params", workers=1, out=tmp_path, seed=1)


def test_a_criterion_that_is_undefined_for_what_was_found(tmp_path):
    """It was never measured by itself: the work is not lost."""

    def few(weights):
        raise Undefined("too few")

    own = Proxy("own", (Weights(),), few, "higher", "here")
    how = FEW.searched, FIDELITIES["fast"], (own, PARAMS), "noise", 0, "cpu"
    found = Supernets(*how).alone(FEW.arch(3, 3, 3, 3, 3, 3))
    assert math.isnan(found["own"])
    assert found["params"] > 0
    pruned = zeroshot.prune(FEW, criterion="params", workers=1, out=tmp_path)
    pruned.scores["own"] = math.nan
    pruned.write(tmp_path, FEW, 0)
    held = json.loads((tmp_path / "architecture.json").read_text())
    assert held["scores"] == {"params": pruned.scores["params"], "own": "nan"}
    chosen = [name for (name,) in FEW.names(pruned.arch)]
    assert held["genotype"] == dict(zip((a.name for a in FEW.axes), chosen, strict=True))
    again = zeroshot.prune(FEW, criterion="params", workers=1, out=tmp_path)
    assert math.isnan(again.scores["own"])  # read, not measured


def test_scores_do_not_depend_on_threads():
    found = []
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            found.append(Pruning(FEW)._scores(FEW.arch(3, 3, 3, 3, 3, 3)))
        finally:
            torch.set_num_threads(before)
    assert found[0] == found[1]
    assert list(found[0]) == ["condition", "regions"]


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_chunk_changes_no_digit(monkeypatch, fidelity):
    little = Pruning(FEW, fidelity=fidelity, chunk=1)
    assert little.identity == Pruning(FEW, fidelity=fidelity).identity
    kernels = {need for proxy in little.judged[1] for need in proxy.needs}
    assert {k.budget for k in kernels if isinstance(k, TangentKernel)} <= {2**20}
    groups, sizes, found = tangent._groups, [], []

    def seen(leaves, limit):
        made = list(groups(leaves, limit))
        sizes.append(len(made))
        return iter(made)

    monkeypatch.setattr(tangent, "_groups", seen)
    for budget in (2**29, 2**15):  # less than a MiB, of these small batches
        monkeypatch.setattr(
            TangentKernel, "holding", lambda self, _, budget=budget: replace(self, budget=budget)
        )
        forget()
        found.append(Pruning(FEW, fidelity=fidelity).supernets.repeats(FEW.prunable, 0, 1, 1))
    assert found[0] == found[1]
    if fidelity != "fast":  # whose kernel takes a layer at a time anyway
        assert sizes[0] == 1 < sizes[-1]


@pytest.mark.parametrize(("field", "value"), [("chunk", 0), ("finalists", 0), ("finalists", 10**7)])
def test_numbers_out_of_range(field, value):
    with pytest.raises(ZeroshotError, match=f"{value:,}.*expected 1 to"):
        Pruning(FEW, **{field: value})


def test_a_folder_that_cannot_be_made_is_refused_before_measuring(tmp_path, monkeypatch):
    monkeypatch.setattr(Supernets, "repeats", lambda *_: pytest.fail("measured"))
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ZeroshotError, match="file is a file, or lies in one; expected a folder"):
        zeroshot.prune(NASBENCH201, workers=1, out=tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_criterion_in_a_file_counts_by_what_it_says(tmp_path):
    file = tmp_path / "own.txt"
    told = []
    for text in ("log(synflow) + params", "log(synflow)\n  + params", "log(synflow) - params"):
        file.write_text(text)
        told.append(Pruning(NASBENCH201, criterion=str(file), by=str(file), finalists=2).identity)
    assert told[0] == told[1] != told[2]
    assert told[2]["criterion"] == told[2]["by"] == "log(synflow) - params"
