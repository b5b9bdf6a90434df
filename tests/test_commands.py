"""score, rank, validate and advise as library calls."""

import importlib.util
import inspect
import json
import math
import pickle
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import zeroshot
from zeroshot.commands import (
    advise,
    arguments,
    prune,
    pruned,
    rank,
    ranked,
    score,
    validate,
    validated,
)
from zeroshot.core import Batch, Proxy
from zeroshot.data import load_batch
from zeroshot.errors import ZeroshotError, brief, real, whole
from zeroshot.files import locked
from zeroshot.passes import Forward, Weights
from zeroshot.ranking import Ensemble, rank_sum
from zeroshot.spaces import Axis, NasBench201, Space

NAN = float("nan")
SPACE = NasBench201(channels=4, cells=1)
ARCHS = [SPACE.spell(SPACE.at(index)) for index in range(0, 15_000, 600)]


class Own(nn.Module):
    """A network with everything that scoring might disturb."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 10)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        return self.head(self.drop(x.mean((2, 3))))


@dataclass(frozen=True)
class Widths(Space):
    name = "widths"
    axes = (Axis("width", ("1", "2", "3")),)
    source = "here"

    def build(self, arch, task):
        width = arch.genes[0] + 1
        return nn.Sequential(
            nn.Conv2d(3, width, 9), nn.ReLU(), nn.Flatten(), nn.Linear(width * 24**2, 10)
        )


def fast(space=SPACE, **options):
    given = {"archs": ARCHS[:5], "proxies": "naswot", "batch_size": 4, "workers": 1} | options
    return rank(space, **given)


def test_what_an_order_needs_besides_own_proxies_is_added():
    own = zeroshot.Proxy("own", (), lambda: 1.0, "higher", "here")
    found = fast(archs=ARCHS[:3], proxies=own, by="own + log(naswot)")
    assert list(found.scores.columns) == ["arch", "seed", "own", "naswot"]
    assert found.members == ("own", "naswot")


def test_one_proxy_is_ordered_by_its_scores():
    alone, beside = fast(archs=ARCHS[:4], by="naswot"), fast(archs=ARCHS[:4], proxies="naswot")
    assert alone.order.equals(beside.order)
    assert alone.order.equals(alone.scores.set_index("arch")["naswot"].loc[alone.order.index])


def test_notes_on_a_sample_that_is_smaller_and_on_a_shape_that_is_not():
    space = Numbers()
    found = zeroshot.rank(space, sample=7, small=True, proxies="params", workers=1)
    assert any("has no small shape" in note for note in found.notes)
    assert any("has 3 architectures, not 7" in note for note in found.notes)
    assert not zeroshot.rank(space, sample=3, proxies="params", workers=1).notes


@dataclass(frozen=True)
class Numbers(zeroshot.Space):
    """A space whose builder reads numbers off tensors."""

    name = "numbers"
    axes = (zeroshot.Axis("width", ("1", "2", "4")),)
    source = "here"

    def build(self, arch, task):
        (width,) = (int(self.axes[0].options[gene]) for gene in arch.genes)
        rates = [rate.item() for rate in torch.linspace(0, 0.1, 2)]
        layers = [nn.Conv2d(3, width, 3), nn.ReLU(), nn.Dropout(rates[1]), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(900 * width, task.classes))


def test_a_builder_that_reads_tensors():
    found = zeroshot.rank(Numbers(), proxies="params,snip", by="snip", workers=1)
    assert (found.costs()["params"] > 9000).all()


def test_the_order_lies_beside_the_scores(tmp_path):
    found = fast(archs=ARCHS, by="naswot", refine=2, out=tmp_path / "a.csv")
    for name, ranking in (("a", found), ("a.refined", found.refined)):
        table = pd.read_csv(tmp_path / f"{name}.order.csv").set_index("arch")
        pd.testing.assert_series_equal(table["naswot"], ranking.order, check_names=False)
    fast(archs=ARCHS, proxies="naswot", out=tmp_path / "b.csv")  # a table was asked for
    assert not (tmp_path / "b.order.csv").exists()


def test_costs_of_the_refined_are_of_networks_as_built():
    found = fast(NasBench201(), archs=ARCHS[:4], small=True, by="naswot", refine=2)
    assert found.refined.costs().equals(found.costs())


# -- latency ---------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """Networks take as many milliseconds as the architecture has operations other than none."""

    def took(net, shown):
        assert shown.shape == (1, 3, 32, 32)
        return sum(p.ndim == 4 for p in net.module.parameters()) / 1000

    monkeypatch.setattr(zeroshot.measure, "latency", took)


def test_limit_on_latency_keeps_the_order(clock):
    everything = fast(archs=ARCHS)
    found = fast(archs=ARCHS, max_latency=15.0)
    assert found.order.equals(everything.order)
    assert everything.latency is None
    assert everything.admitted.equals(everything.order)
    assert list(found.latency.index) == list(found.order.dropna().index[: len(found.latency)])
    admitted = [arch for arch in found.latency.index if found.latency[arch] <= 15]
    assert list(found.admitted.index) == admitted
    assert 0 < len(admitted) < len(found.latency)
    assert found.best == admitted[0] != everything.best


def test_timing_stops_where_enough_are_fast(clock):
    assert len(fast(archs=ARCHS, max_latency=1e6).latency) == ranked.TIMED
    found = fast(archs=ARCHS, max_latency=1e6, refine=3)
    assert len(found.latency) == 3
    assert set(found.refined.order.index) == set(found.latency.index)


def test_limit_on_latency_that_none_is_within(clock):
    with pytest.raises(ZeroshotError, match=r"0\.5 ms: of 5 architectures the fastest takes"):
        fast(max_latency=0.5)


def test_latency_is_of_the_network_that_is_not_small(clock):
    found = fast(NasBench201(), archs=ARCHS[-2:], small=True, max_latency=1e6)
    built = NasBench201().network(SPACE.parse(found.latency.index[0])).module
    assert found.latency.iloc[0] == sum(p.ndim == 4 for p in built.parameters())


def test_latency_of_all(clock, tmp_path):
    """Also of those beyond the limit; the scores stay as they are."""
    found = fast(archs=ARCHS, latency=True, max_latency=15.0, out=tmp_path / "x.csv")
    assert len(found.latency) == found.order.notna().sum() > len(found.admitted)
    table = pd.read_csv(tmp_path / "x.latency.csv", index_col="arch")["latency"]
    assert table.to_dict() == found.latency.to_dict()
    assert "latency" not in pd.read_csv(tmp_path / "x.csv").columns
    again = fast(archs=ARCHS, latency=True, out=tmp_path / "x.csv")
    assert again.latency.equals(found.latency)
    assert again.admitted.equals(again.order.dropna())


def test_what_was_timed_is_not_timed_again(tmp_path, monkeypatch):
    """It would come out otherwise, and others would be the best that are fast enough."""
    times = iter(range(1, 100))
    monkeypatch.setattr(zeroshot.measure, "latency", lambda *_: next(times) / 1000)
    given = {"archs": ARCHS[:6], "max_latency": 1e6, "out": tmp_path / "a.csv"}
    first, again = fast(refine=2, **given), fast(refine=2, **given)
    assert again.latency.equals(first.latency)
    assert again.refined.order.equals(first.refined.order)
    for path in tmp_path.glob("a.refined*"):
        path.unlink()
    more = fast(refine=3, **given)
    assert more.latency.tolist() == [1.0, 2.0, 3.0]


def test_latencies_outlive_an_interruption(monkeypatch, tmp_path):
    times = iter([1.0, 2.0])

    def stopped(*_):
        for found in times:
            return found / 1000
        raise KeyboardInterrupt

    monkeypatch.setattr(zeroshot.measure, "latency", stopped)
    given = {"archs": ARCHS[:6], "latency": True, "out": tmp_path / "a.csv"}
    with pytest.raises(KeyboardInterrupt):
        fast(**given)
    times = iter([3.0, 4.0, 5.0, 6.0])
    assert fast(**given).latency.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0][: len(ARCHS[:6])]
    assert fast(**given | {"latency": True}).latency.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert fast(**given | {"max_latency": 2.0}).latency.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    (tmp_path / "a.csv").unlink()
    (tmp_path / "a.csv.json").unlink()
    with pytest.raises(ZeroshotError, match=r"latency.csv belongs to another run: there, space is"):
        fast(NasBench201(channels=8, cells=1), **given)


@pytest.mark.parametrize("options", [{"latency": True}, {"max_latency": 1.0}, {"refine": 2}])
def test_what_needs_an_order_says_if_there_is_none(options):
    silent = Proxy("silent", (Weights(),), lambda weights: NAN, "higher", "here")
    assert fast(proxies=silent).order.isna().all()
    with pytest.raises(ZeroshotError, match="silent is undefined for all 5 architectures"):
        fast(proxies=silent, **options)


def test_what_has_no_say_is_told():
    """Constant members and infinite scores."""
    own = Proxy("endless", (Weights(),), lambda weights: -math.inf, "higher", "here")
    found = fast(proxies=("params", own), by="endless")
    assert found.notes == (
        "endless is infinite for 5 of 5 architectures, and ranked as such.",
        "endless is the same for all 5 architectures: no say.",
    )
    level = fast(proxies="params", by="0*params")
    assert level.notes == ("0*params is the same for all: this is no order.",)


def test_small_that_has_no_effect_is_told():
    scored = "its networks were scored as they are."
    found = fast(zeroshot.spaces.TORCHVISION, proxies="params", archs=[0, 1], small=True)
    assert found.notes == (f"torchvision has no small shape: {scored}",)
    found = fast(proxies="params", archs=ARCHS, small=True, channels=4, cells=1)
    assert found.notes == (f"nasbench201 was given a shape of its own: {scored}",)


def test_a_file_that_names_architectures_again(tmp_path):
    (tmp_path / "a.txt").write_text("5\n77\n5\n")
    found = fast(proxies="params", archs=tmp_path / "a.txt")
    assert len(found.order) == 2
    assert found.notes == (f"{tmp_path}/a.txt names 2 architectures, 1 more times.",)


# -- score -----------------------------------------------------------------------------------------


def test_score_leaves_a_record(tmp_path):
    out = tmp_path / "s.csv"
    found = score(["nasbench201:3", Own()], proxies="params,dss", batch_size=4, size=8, out=out)
    record = json.loads((tmp_path / "s.csv.json").read_text())
    assert record["run"]["models"] == list(found) == ["nasbench201:3", "1: Own"]
    assert list(record["run"]["formulas"]) == ["params", "dss"]
    assert record["run"]["data"] == "noise"
    assert all(text.startswith("4 (") for text in record["run"]["batches"].values())
    for name, scores in found.items():
        assert record["not a number"][name] == scores.reasons
        assert record["seconds per pass"][name].keys() == scores.seconds.keys()
    with pytest.raises(ZeroshotError, match="the file exists"):
        score("nasbench201:3", proxies="params", out=out)


def test_score_of_every_form():
    text = ARCHS[3]
    models = ["nasbench201:1800", f"nasbench201:{text}", "torchvision:squeezenet1_1", Own()]
    found = score(models, proxies="naswot,params", batch_size=4, size=64)
    assert list(found) == [*models[:3], "3: Own"]
    assert dict(found["nasbench201:1800"]) == dict(found[f"nasbench201:{text}"])
    assert found["torchvision:squeezenet1_1"]["params"] == 1_235_496
    for scores in found.values():
        assert list(scores) == ["naswot", "params"]
    (alone,) = score(models[0], proxies="naswot,params", batch_size=4, size=64).values()
    assert dict(alone) == dict(found[models[0]])


def test_score_is_what_evaluate_and_rank_say():
    net = SPACE.network(SPACE.parse(ARCHS[1]))
    batch, _ = zeroshot.load_batch(batch_size=4)
    names = ("naswot", "synflow", "grad_norm")
    (found,) = score(net, proxies=names, batch_size=4, device="cpu").values()
    assert dict(found) == dict(zeroshot.evaluate(net, batch, zeroshot.models.find_proxies(names)))
    table = fast(proxies=names, device="cpu").scores
    assert table.loc[1, list(names)].tolist() == list(found.values())


def test_a_module_stays_as_it_is():
    model = Own().eval()
    model.conv.weight.grad = torch.ones_like(model.conv.weight)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    (found,) = score(model, batch_size=4, init="gaussian").values()
    assert len(found) == len(zeroshot.PROXIES)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert (model.conv.weight.grad == 1).all()
    assert not model.training
    assert not model.conv._forward_hooks
    assert torch.equal(torch.get_rng_state(), state)


def test_score_has_a_seed():
    models = "nasbench201:3"
    one, again, other = (
        dict(score(models, proxies="naswot", batch_size=4, seed=seed)[models]) for seed in (0, 0, 1)
    )
    assert one == again != other


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "images of size 0"),
        ({"size": -8}, "images of size -8"),
        ({"seed": -1}, "seed -1"),
        ({"batch_size": 1}, "a batch of 1"),
        ({"data": "x"}, "unknown data 'x'"),
        ({"proxies": "x"}, "unknown proxy 'x'"),
        ({"device": "x"}, "unknown device 'x'"),
        ({"init": "x"}, "unknown initialisation 'x'"),
    ],
)
def test_score_refuses(options, words):
    with pytest.raises(ZeroshotError, match=words):
        score("nasbench201:3", **options)


def test_weights_that_are_no_numbers():
    model = Own()
    with torch.no_grad():
        model.head.weight[0, 0] = float("nan")
    with pytest.raises(ZeroshotError, match=r"head\.weight holds NaN"):
        score(model, batch_size=4)


def test_of_several_networks_the_one_at_fault_is_named():
    class Broken(Own):
        def forward(self, x):
            raise RuntimeError("no way")

    with pytest.raises(ZeroshotError, match=r"1: Broken: .*no way"):
        score([Own(), Broken()], batch_size=4)
    with pytest.raises(ZeroshotError) as alone:
        score(Broken(), batch_size=4)
    assert "0: Broken" not in str(alone.value)
    with pytest.raises(ZeroshotError) as named:
        score(["nasbench201:3", "nasbench201:x"], batch_size=4, proxies="naswot")
    assert str(named.value).startswith("nasbench201:x: ")


# -- rank ------------------------------------------------------------------------------------------


def test_a_sample_of_the_named_space():
    found = rank("nasbench201", sample=6, channels=4, cells=1, batch_size=4, workers=1)
    assert len(found.scores) == 6
    assert list(found.scores.columns[2:]) == list(found.members)
    assert found.order.name == "default"
    assert found.record["run"]["space"] == repr(SPACE)
    scored = zeroshot.ranking.rank(found.scores, "default", found.record["run"]["better"])
    assert found.order.equals(scored)


def test_what_is_ranked_by():
    torchvision = rank("torchvision", archs=["resnet18"], batch_size=2, workers=1)
    assert torchvision.order.name == "log_rank"  # its networks name no blocks
    assert fast().order.name == "naswot"  # the members of the default are not all there
    by_size = fast(proxies="naswot,params", by="params").order
    assert by_size.is_monotonic_decreasing
    vote = fast(proxies=None, by="vote")
    assert vote.members == ("synflow", "jacob_cov", "snip")
    assert list(vote.scores.columns[2:]) == list(vote.members)
    assert fast(proxies=None, by="depth").members == ("depth",)
    own = Ensemble("own", ("params", "naswot"), rank_sum, "here")
    assert fast(proxies=None, by=own).order.name == "own"
    lower = fast(proxies="ntk_cond", archs=ARCHS[1:4]).order
    assert lower.is_monotonic_increasing


def test_repeats_are_seeds():
    found = fast(repeats=3, seed=4)
    assert found.scores["seed"].tolist() == [4, 5, 6] * 5
    assert found.scores.groupby("arch")["naswot"].nunique().max() == 3
    assert len(found.order) == 5


def test_limits():
    costs = [SPACE.cost(SPACE.parse(arch)) for arch in ARCHS]
    limit = float(np.median([cost.params for cost in costs]))
    found = fast(archs=ARCHS, proxies="params", max_params=limit)
    assert found.scores["params"].tolist() == [c.params for c in costs if c.params <= limit]
    sampled = fast(archs=None, sample=20, proxies="flops", max_flops=1e6).scores
    assert len(sampled) == 20
    assert sampled["flops"].max() <= 1e6
    with pytest.raises(ZeroshotError, match=r"no architecture of .* has at most 5 parameters"):
        fast(max_params=5.0)


def test_what_the_best_weigh():
    found = zeroshot.rank("nasbench201", archs=[5, 6, 13714], proxies="flops", small=True)
    weighed = found.costs(2)
    assert list(weighed.index) == list(found.admitted.index[:2])
    space = NasBench201()
    built = space.build(space.parse(str(weighed.index[0])), space.task)
    assert weighed["params"].iloc[0] == sum(p.numel() for p in built.parameters())
    assert weighed["flops"].is_monotonic_decreasing
    alone = replace(found, built=None)
    with pytest.raises(ZeroshotError, match="does not tell what networks weigh"):
        alone.costs()


def test_limits_are_of_the_networks_that_are_not_small():
    full, small = NasBench201(), NasBench201().small
    limit = float(np.median([full.cost(full.parse(arch)).params for arch in ARCHS]))
    found = fast("nasbench201", archs=ARCHS, proxies="params", small=True, max_params=limit)
    within = [arch for arch in ARCHS if full.cost(full.parse(arch)).params <= limit]
    assert found.scores["arch"].tolist() == within
    assert found.scores["params"].tolist() == [small.cost(small.parse(a)).params for a in within]


def test_a_space_of_ones_own_takes_a_shape_too():
    given = {"archs": [3], "proxies": "params"}
    by_name = fast("nasbench201", channels=4, cells=1, **given).scores
    assert fast(NasBench201(), channels=4, cells=1, **given).scores.equals(by_name)
    with pytest.raises(ZeroshotError, match="--cells 2: the networks of widths have no such"):
        fast(Widths(), archs=None, cells=2)


def test_a_batch_is_what_its_file_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 64, 64), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", x_train=pixels, y_train=np.arange(40) % 20)
    data = f"npz:{tmp_path / 'x.npz'}"
    given = {"archs": [13714], "proxies": "snip,flops", "batch_size": 40, "data": data}
    by_name = fast(**given).scores
    batch, task = load_batch(data, batch_size=40)
    assert fast(**given | {"data": batch}).scores.equals(by_name)
    assert load_batch(batch)[1] == task
    larger = Batch(torch.rand(2, 1, 64, 64), torch.tensor([0, 3]))
    assert load_batch(larger)[1] == zeroshot.Task(channels=1, size=64, classes=10)


def test_the_default_precision_changes_nothing():
    expected = fast(proxies="snip,naswot").scores
    torch.set_default_dtype(torch.float64)
    try:
        assert fast(proxies="snip,naswot").scores.equals(expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_forms_of_one_thing():
    """Devices, proxies and progress as one would write them."""
    given = {"device": torch.device("cpu"), "progress": None}
    expected = fast(proxies="naswot").scores
    (proxy,) = zeroshot.models.find_proxies("naswot")
    for proxies in (proxy, [proxy], ["naswot"], iter(["naswot"]), ("naswot", proxy)):
        assert fast(proxies=proxies, **given).scores.equals(expected)
    batch, _ = load_batch(batch_size=4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    every = score(model, data=batch, device=None, proxies=["all"])["0: Sequential"]
    assert list(every) == [p.name for p in zeroshot.PROXIES]
    assert zeroshot.evaluate(model, batch, ["all"]).keys() == every.keys()
    other = Proxy("params", (Weights(),), len, "higher", "here")
    with pytest.raises(ZeroshotError, match="two proxies are called 'params'"):
        zeroshot.evaluate(model, batch, ["params", other])


def test_architectures_from_a_table_of_scores(tmp_path):
    first = fast(repeats=2, out=str(tmp_path / "a.csv"))
    again = fast(archs=tmp_path / "a.csv", repeats=2)
    assert again.scores.equals(first.scores)


def test_a_small_space_is_taken_whole():
    assert fast(Widths(), archs=None, sample=100).scores["arch"].tolist() == ["0", "1", "2"]
    assert fast(Widths(), archs=None, sample=None).scores["arch"].tolist() == ["0", "1", "2"]
    assert len(fast(Widths(), archs=None, sample=2).scores) == 2


def test_models_of_the_zoo_within_limits():
    found = fast(
        "torchvision", archs=["alexnet", "squeezenet1_1"], proxies="params", max_params=3e6
    )
    assert found.scores["arch"].tolist() == ["squeezenet1_1"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"repeats": 0}, "0 repeats; expected at least 1"),
        ({"workers": 0}, "0 workers; expected at least 1"),
        ({"seed": -1}, "seed -1; expected"),
        ({"seed": -1, "data": load_batch(batch_size=4)[0]}, "seed -1; expected"),
        ({"seed": 2**63 - 5, "refine": 2}, "expected a number from 0 to 2⁶³ − 6, for there are 6"),
        ({"sample": 1}, "sample 1 and archs: expected one of them"),
        ({"archs": []}, "list of architectures is empty"),
        ({"archs": [3, 3]}, "entry 2 is the same architecture as entry 1"),
        ({"archs": None, "sample": 0}, "a sample of 0"),
        ({"archs": None, "sample": -2}, "a sample of -2"),
        ({"by": "x"}, r"cannot rank by 'x': .*expected a column"),
        ({"by": Ensemble("mine", ("p",), rank_sum, "")}, "the ensemble 'mine' needs p, which"),
        ({"proxies": None, "by": "x"}, "unknown proxy or ensemble 'x'"),
        ({"init": "x"}, "unknown initialisation 'x'"),
        ({"space": "x"}, "unknown space 'x'"),
        ({"space": "torchvision", "archs": None, "channels": 3}, "no such setting"),
        ({"batch_size": 1}, "a batch of 1"),
        ({"device": "cuda:99"}, "device cuda:99 is not there"),
    ],
)
def test_rank_refuses(options, words):
    with pytest.raises(ZeroshotError, match=words):
        fast(**options)


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        (rank, {"sample": 2.5}, "sample 2.5: expected a whole number"),
        (rank, {"sample": "4"}, "sample '4': expected a whole number"),
        (rank, {"sample": True}, "sample True: expected a whole number"),
        (rank, {"seed": 1.5}, "seed 1.5: expected a whole number"),
        (rank, {"channels": "16"}, "--channels '16': expected a whole number"),
        (rank, {"repeats": 2.0}, "repeats 2.0: expected a whole number"),
        (rank, {"workers": 1.5}, "workers 1.5: expected a whole number"),
        (rank, {"max_params": "2e4"}, "max_params '2e4': expected a number"),
        (rank, {"max_flops": NAN}, "max_flops nan: expected a number"),
        (rank, {"by": ["params"]}, r"cannot rank by \['params'\]: expected a name"),
        (rank, {"data": torch.zeros(2)}, "data of type Tensor: expected a name"),
        (rank, {"archs": 5}, "archs 5: expected a file or a list"),
        (rank, {"space": NasBench201}, "space NasBench201 is a class; expected an instance"),
        (rank, {"space": None}, "space None: expected a name or a zeroshot.Space"),
        (advise, {"space": "nasbench201", "sample": 3.5}, "sample 3.5: expected a whole"),
        (prune, {"space": None}, "space None: expected a name"),
        (prune, {"finalists": 1.5}, "finalists 1.5: expected a whole number"),
        (validate, {"scores": 5, "truth": 5}, "scores 5: expected a ranking"),
        (validate, {"scores": "a.csv", "truth": 5}, "truth 5: expected a benchmark"),
        (validate, {"scores": "a.csv", "truth": pd.DataFrame()}, "the truth is an empty table"),
        (score, {"models": 5}, "models 5: expected a name, a module"),
        (score, {"models": []}, r"models \[\]: expected a name, a module"),
        (score, {"models": [5]}, "model 5: expected a name"),
        (score, {"models": "nasbench201:3", "seed": 1.5}, "seed 1.5: expected a whole number"),
    ],
)
def test_what_is_of_another_kind(command, options, words, monkeypatch):
    """Without the checks of types that tests run with, and users do not."""
    for module in (arguments, pruned, ranked, validated):
        for name, function in vars(module).items():
            if callable(function) and hasattr(function, "__wrapped__"):
                monkeypatch.setattr(module, name, inspect.unwrap(function))
    if "space" not in options and command in (rank, prune):
        options = options | {"space": SPACE}
    with pytest.raises(ZeroshotError, match=words) as error:
        inspect.unwrap(command)(**options)
    assert "\n" not in str(error.value)


def test_numbers_of_numpy_are_numbers():
    assert whole("sample", np.int64(2)) == 2
    assert real("max_params", np.float32(0.5)) == 0.5
    assert real("max_params", 7) == 7


def test_a_sample_that_is_not_uniform_says_so():
    limits = {"max_params": 2e6, "max_flops": 1e8}
    given = {"archs": None, "sample": 10, "proxies": "params,flops", **limits}
    found = fast("mobilenet", **given)
    assert found.scores["arch"].nunique() == 10
    assert found.scores["params"].max() <= 2e6
    assert found.scores["flops"].max() <= 1e8
    (note,) = found.notes
    assert "not uniform: of 200 architectures drawn at random" in note
    assert fast("mobilenet", **given | {"max_params": 1e9, "max_flops": None}).notes == ()


def test_all_of_a_vast_space_are_refused():
    with pytest.raises(ZeroshotError, match=r"all of darts: .* are too many to score"):
        fast("darts", archs=None, sample=None)


def test_a_formula_that_is_undefined(tmp_path):
    """Of five shares of ranks, two are below a half."""
    found = fast(by="sqrt(params - 0.5)", proxies="params")
    assert found.notes == ("sqrt(params - 0.5) is undefined for 2 of 5 architectures.",)
    assert len(found.order) == 5
    assert list(found.admitted.index) == list(found.order.index[:3])
    assert found.order.iloc[3:].isna().all()
    assert found.refined is None
    with pytest.raises(ZeroshotError, match=r"sqrt.* is undefined for all 5 .*a\.csv"):
        fast(by="sqrt(0 - params)", proxies="params", out=tmp_path / "a.csv")
    assert len(pd.read_csv(tmp_path / "a.csv")) == 5


# -- refine ----------------------------------------------------------------------------------------


def test_refine_ranks_the_best_once_more(tmp_path):
    """With other weights and another batch, as a ranking of their own would."""
    out = tmp_path / "a.csv"
    found = fast(archs=ARCHS[:8], refine=3, seed=3, repeats=2, out=out)
    assert found.refined is not None
    best = [str(arch) for arch in found.order.index[:3]]
    assert sorted(found.refined.order.index) == sorted(best)
    alone = fast(archs=best, seed=5, repeats=5)
    pd.testing.assert_frame_equal(found.refined.scores, alone.scores)
    pd.testing.assert_series_equal(found.refined.order, alone.order)
    assert found.best == found.refined.order.index[0]
    assert "but on the same data" not in "".join(found.notes)
    shown, _ = load_batch("noise", batch_size=4)
    assert "but on the same data" in fast(archs=best, data=shown, refine=2).notes[-1]
    assert alone.best == alone.order.index[0]
    assert set(found.refined.scores["seed"]) == {5, 6, 7, 8, 9}
    assert len(found.order) == 8
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "a.refined.csv"), found.refined.scores, check_dtype=False
    )


@pytest.mark.parametrize(
    ("given", "first", "again"),
    [
        ({"proxies": None}, "default", "default"),
        ({"proxies": "params,naswot", "by": "naswot"}, "naswot", "naswot"),
        ({"proxies": None, "by": "flops"}, "flops", "flops"),
        ({"proxies": "params,naswot"}, "params", "params"),
        ({"proxies": None, "space": Widths(), "archs": None}, "log_rank", "log_rank"),
    ],
)
def test_what_refines(given, first, again):
    found = fast(archs=given.pop("archs", ARCHS[:4]), refine=2, **given)
    assert found.refined is not None
    assert (found.order.name, found.refined.order.name) == (first, again)


@pytest.mark.parametrize("refine", [-1, 1])
def test_refine_refuses(refine):
    with pytest.raises(ZeroshotError, match=f"refine {refine}: expected 0, or .* 2 and more"):
        fast(refine=refine)


# -- validate --------------------------------------------------------------------------------------

LOGITS = Proxy("own", (Forward(),), lambda trace: -trace.logits.detach().std(), "lower", "here")


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A ranking on disk, without the baselines in it."""
    out = tmp_path_factory.mktemp("scores") / "scores.csv"
    fast(archs=ARCHS, proxies=("naswot", LOGITS), out=out)
    return out


@pytest.fixture
def truth(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"arch": ARCHS, "accuracy": 90 + rng.normal(size=len(ARCHS))})
    table.to_csv(tmp_path / "truth.csv", index=False)
    return tmp_path / "truth.csv"


def test_validate_against_a_file(scored, truth, tmp_path):
    found = validate(scored, truth, out=tmp_path / "report", resamples=100)
    rows = found.table.set_index("name")
    assert list(rows.index) == ["naswot", "own", "params", "flops", "depth"]
    assert rows["kind"].tolist() == ["proxy"] * 2 + ["baseline"] * 3
    assert (rows["n"].drop("naswot") == len(ARCHS)).all()
    page = found.report.read_text()
    assert found.report == tmp_path / "report" / "report.html"
    assert json.loads(scored.with_name("scores.csv.json").read_text())["run"]["batch"] in page
    assert (tmp_path / "report" / "validation.csv").exists()
    assert (tmp_path / "report" / "plots" / "heat-map.png").exists()


def test_validate_without_a_folder_writes_nothing(scored, truth):
    before = sorted(scored.parent.iterdir())
    assert validate(scored, truth, resamples=100).report is None
    assert sorted(scored.parent.iterdir()) == before


def test_the_direction_of_own_proxies_comes_from_the_record(scored, truth):
    lower = validate(scored, truth, resamples=100).table.set_index("name").loc["own", "kendall"]
    table = zeroshot.eval.tables.read_scores(scored)
    series = pd.read_csv(truth).set_index("arch")["accuracy"]
    higher = validate(table, series, resamples=100).table.set_index("name").loc["own", "kendall"]
    assert higher == pytest.approx(-lower)
    assert higher


def test_baselines_are_those_of_the_space(scored, truth):
    from zeroshot.commands.validated import _with_baselines

    full = NasBench201()
    table = _with_baselines(zeroshot.eval.tables.read_scores(scored), full)
    for row in table.to_dict("records"):
        cost = full.cost(full.parse(row["arch"]))
        assert (row["params"], row["flops"], row["depth"]) == cost
    assert list(table.columns[:4]) == ["arch", "seed", "naswot", "own"]


def test_architectures_of_no_space_have_no_baselines():
    table = pd.DataFrame({"arch": list("abcd"), "seed": 0, "x": [1.0, 2.0, 3.0, 4.0]})
    found = validate(table, table.set_index("arch")["x"], resamples=100).table
    assert list(found["name"]) == ["x"]
    assert found["kendall"][0] == 1


def test_validate_against_accuracies_in_hand(scored):
    values = pd.Series(
        np.geomspace(2e-4, 9e-3, len(ARCHS)), index=zeroshot.eval.tables.read_scores(scored)["arch"]
    )
    found = validate(scored, values.rename("seconds"), lower_is_better=True, resamples=100)
    assert found.quantity == "seconds"
    assert found.table["best"].iloc[0] == pytest.approx(2e-4)
    assert (found.table["picked"] > 0).all()
    other = validate(scored, -values, resamples=100).table
    assert found.table["kendall"].equals(other["kendall"])
    with pytest.raises(ZeroshotError, match="column 'nope' is for files, and the truth is one"):
        validate(scored, values, column="nope")


def test_accuracies_that_are_indexed_by_numbers():
    """A number may be that of a row, or once have been another."""
    space = NasBench201()
    table = pd.DataFrame({"arch": [space.spell(space.at(i)) for i in range(6)], "seed": 0})
    table["flops"] = np.arange(6.0)
    with pytest.raises(ZeroshotError, match=r"0 of 6 .* a number may count rows"):
        validate(table, pd.Series(np.arange(6.0)))
    with pytest.raises(ZeroshotError, match="the accuracies name architectures by numbers"):
        validate(table, pd.Series(np.arange(6.0), index=np.arange(6) / 10))
    with pytest.raises(ZeroshotError, match="the scores name architectures by numbers"):
        validate(table.assign(arch=np.arange(6) / 10), pd.Series(np.arange(6.0)))


def test_validate_against_a_table_in_hand(scored):
    archs = zeroshot.eval.tables.read_scores(scored)["arch"]
    values = pd.DataFrame({"arch": archs, "acc": np.arange(len(archs)) / 7, "epochs": 5})
    expected = validate(scored, values.set_index("arch")["acc"], resamples=100).table
    for table in (values, values.set_index("arch")):
        found = validate(scored, table, column="acc", resamples=100).table
        pd.testing.assert_frame_equal(found, expected)
    halves = values.assign(a="nasbench201", b=archs)[["a", "b", "acc"]]
    found = validate(scored, halves, column="acc", arch="{b}", resamples=100).table
    pd.testing.assert_frame_equal(found, expected)
    with pytest.raises(ZeroshotError, match="the truth has 2 columns of numbers; name one"):
        validate(scored, values)
    with pytest.raises(ZeroshotError, match="the truth has no column 'arch', only acc"):
        validate(scored, values[["acc"]].iloc[::2])
    with pytest.raises(ZeroshotError, match="the truth has numbers for architectures, such as 0"):
        validate(scored, values.assign(arch=range(len(values))), column="acc")
    found = validate(scored, values.set_index("arch")["acc"].to_frame(0), resamples=100).table
    pd.testing.assert_frame_equal(found, expected)
    twice = values[["arch", "acc", "acc"]]
    levels = values.set_index(["arch", "epochs"])
    for table, words in (
        (values.iloc[:0], "the truth is an empty table"),
        (twice, "the truth has two columns 'acc'"),
        (levels, "the truth has several levels of names"),
        (levels.T, "the truth has several levels of names"),
    ):
        with pytest.raises(ZeroshotError, match=words):
            validate(scored, table, column="acc")
    with pytest.raises(ZeroshotError, match="the accuracies: 'foo' is no nasbench201 architecture"):
        validate(scored, {"foo": 1.0, archs[0]: 2.0})


def test_proxies_as_values_order_and_are_compared(scored, truth):
    own = Proxy("own", (Weights(),), lambda weights: float(len(weights)), "higher", "here")
    found = fast(proxies="params", by=own)
    assert found.order.name == "own"
    assert list(found.scores.columns) == ["arch", "seed", "params", "own"]
    by_name = validate(scored, truth, by="naswot", resamples=100).table
    naswot = next(proxy for proxy in zeroshot.PROXIES if proxy.name == "naswot")
    pd.testing.assert_frame_equal(validate(scored, truth, by=naswot, resamples=100).table, by_name)


@pytest.mark.parametrize("better", [None, ["a"]])
def test_validate_with_a_record_of_no_directions(scored, truth, tmp_path, better):
    path = tmp_path / "scores.csv"
    path.write_bytes(scored.read_bytes())
    path.with_name("scores.csv.json").write_text(json.dumps({"run": {"better": better}}))
    assert len(validate(path, truth, resamples=100).table) == 5


@pytest.mark.skipif(
    importlib.util.find_spec("analognasbench") is None, reason="the extra nb201 is not installed"
)
def test_validate_against_nb201(scored):
    found = validate(scored, "nb201", resamples=100).table.set_index("name")
    assert (found["n"].drop("naswot") == len(ARCHS)).all()
    assert (found["unmatched"] == 0).all()
    assert 10 <= found["best"].max() < 95
    assert found.loc["params", "kendall"] > 0
    assert (
        validate(scored, "nb201/cifar10", resamples=100).table["best"][0] == found["best"].iloc[0]
    )


def test_validate_refuses(scored, truth, tmp_path):
    with pytest.raises(ZeroshotError, match="no file"):
        validate(tmp_path / "none.csv", truth)
    with pytest.raises(ZeroshotError, match="no benchmark and no file is called 'nb20'"):
        validate(scored, "nb20")
    with pytest.raises(ZeroshotError, match="no column 'acc'"):
        validate(scored, truth, column="acc")
    with pytest.raises(ZeroshotError, match="no column 'arch'"):
        validate(pd.DataFrame({"x": [1.0]}), truth)
    other = tmp_path / "other.csv"
    other.write_text("arch,seed,x\na,0,1\nb,0,2\nc,0,3\n")
    with pytest.raises(ZeroshotError, match="0 of 3 scored architectures"):
        validate(other, truth)
    for damaged, words in (("{", "run record .* is damaged"), ('{"run": 3}', "0 of 3")):
        (tmp_path / "other.csv.json").write_text(damaged)
        with pytest.raises(ZeroshotError, match=words):
            validate(other, truth)


def test_validate_tells_what_the_proxies_cost(scored, truth):
    found = validate(scored, truth, resamples=100)
    record = json.loads(scored.with_name("scores.csv.json").read_text())
    assert set(record["seconds per pass"]) == set().union(*record["passes"].values())
    spent, networks = record["seconds per pass"], record["networks scored"]
    rows = found.table.set_index("name")
    (forward,) = record["passes"]["own"]
    assert rows.loc["own", "seconds"] == pytest.approx(spent[forward] / networks)
    assert rows.loc["naswot", "seconds"] > rows.loc["own", "seconds"]
    assert (rows.loc[["params", "flops", "depth"], "seconds"] == 0).all()
    assert not any("no record" in words for words in found.verdict)


def test_validate_of_a_ranking_is_that_of_its_file(tmp_path, truth):
    ranking = fast(archs=ARCHS, proxies="naswot,ntk_cond", out=tmp_path / "scores.csv")
    table = validate(ranking, truth, resamples=100).table
    pd.testing.assert_frame_equal(
        table, validate(tmp_path / "scores.csv", truth, resamples=100).table
    )
    bare = validate(ranking.scores, truth, resamples=100)
    assert bare.table["seconds"].isna().all()
    assert any("no record" in words for words in bare.verdict)


def test_validate_of_a_record_of_something_else(scored, truth, tmp_path):
    (tmp_path / "scores.csv").write_text(scored.read_text())
    (tmp_path / "scores.csv.json").write_text('{"passes": ["naswot"]}')
    with pytest.raises(ZeroshotError, match="run record does not tell passes and seconds"):
        validate(tmp_path / "scores.csv", truth, resamples=100)


# -- advise ----------------------------------------------------------------------------------------


def told(space=SPACE, **options):
    given = {"sample": 6, "proxies": "naswot,snip", "batch_size": 4, "workers": 1} | options
    return advise(space, **given)


def test_advise_is_of_the_ranking_of_a_sample(tmp_path):
    found = told(proxies=("naswot", "flops", LOGITS), out=tmp_path / "new" / "advice")
    assert found.table["name"].tolist() == ["naswot", "flops", "own", "params", "depth"]
    assert (found.table["seeds"] == 3).all()
    ranked = fast(
        archs=None, sample=6, repeats=3, proxies=("naswot", "flops", LOGITS, "params", "depth")
    )
    pd.testing.assert_frame_equal(found.scores, ranked.scores)
    assert found.report == tmp_path / "new" / "advice" / "advice.html"
    assert {path.name for path in found.report.parent.iterdir()} == {
        *("advice.csv", "advice.html", "scores.csv", "scores.csv.json")
    }
    assert found.record["run"]["better"]["own"] == "lower"
    rows = found.table.set_index("name")
    assert rows.loc["naswot", "seconds"] > rows.loc["flops", "seconds"] == 0
    again = told(proxies=("naswot", "flops", LOGITS), out=tmp_path / "new" / "advice")
    assert again.record == found.record  # what is finished is read
    pd.testing.assert_frame_equal(again.table, found.table)
    assert again.verdict == found.verdict


def test_advise_on_a_space_of_ones_own():
    found = told(Widths(), proxies="naswot", repeats=1)
    assert found.table["n"].tolist() == [3, 3, 3, 3]
    assert found.table["seed_agreement"].isna().all()
    assert any("one seed" in words for words in found.verdict)
    assert found.report is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sample": 2}, "a sample of 2; expected at least 3"),
        ({"repeats": 0}, "0 repeats"),
        ({"proxies": "x"}, "unknown proxy 'x'"),
        ({"space": "x"}, "unknown space 'x'"),
        ({"data": "x"}, "unknown data 'x'"),
        ({"out": "/proc/advice"}, "/proc/advice cannot be written"),
    ],
)
def test_advise_refuses(options, words):
    with pytest.raises(ZeroshotError, match=words):
        told(**options)


@pytest.mark.parametrize(
    ("seeds", "told"), [("[0]", "0"), ('[0, "a"]', "0, a"), ("[[1]]", r"\[1\]"), ("[]", "none")]
)
def test_a_record_of_another_run_is_refused(tmp_path, seeds, told):
    path = tmp_path / "scores.csv"
    path.write_text("arch,seed,params\n0,1,5\n1,1,6\n2,1,7\n")
    (tmp_path / "scores.csv.json").write_text(f'{{"run": {{"seeds": {seeds}}}}}')
    truth = pd.Series([1.0, 2.0, 3.0], index=["0", "1", "2"])
    with pytest.raises(ZeroshotError, match=rf"scores of seed 1, its record .* tells of {told}:"):
        validate(path, truth)


def test_scores_of_several_networks_are_a_table():
    batch, _ = load_batch(batch_size=4)
    scores = zeroshot.evaluate(torch.nn.Flatten(), batch, "params,snip")
    table = pd.DataFrame([scores, pickle.loads(pickle.dumps(scores))])
    assert list(table.columns) == ["params", "snip"]
    assert table["params"].tolist() == [0.0, 0.0]


def test_results_introduce_themselves_in_a_line():
    batch, _ = load_batch(batch_size=4)
    assert repr(batch) == "<Batch of 4: inputs (4, 3, 32, 32), targets (4,)>"
    scores = zeroshot.evaluate(torch.nn.Flatten(), batch, "params,snip")
    assert repr(scores).startswith("Scores({'params': 0.0, 'snip': nan}, reasons={'snip': ")
    found = zeroshot.rank("nasbench201", archs=[5, 6], proxies="params,flops", data=batch)
    assert repr(found) == f"<Ranking of 2 by params, best first: {', '.join(found.order.index)}>"


def test_a_bar_shows_progress(capsys):
    given = {"archs": [0, 13714], "proxies": "naswot", "small": True, "batch_size": 4, "workers": 1}
    zeroshot.rank("nasbench201", **given)
    assert capsys.readouterr() == ("", "")
    zeroshot.rank("nasbench201", progress=True, **given)
    told = capsys.readouterr()
    assert "networks" in told.err
    assert "2/2" in told.err
    assert not told.out


def length(weights: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return torch.cat([weight.flatten() for weight in weights]).norm()


LOWER = Proxy("mine", (Weights(),), length, "lower", "mine")


def test_a_table_of_rank_knows_directions():
    found = zeroshot.rank("nasbench201", archs=range(12), proxies=LOWER, small=True, workers=1)
    truth = found.scores.set_index("arch")["mine"]
    for scores in (found, found.scores):
        table = validate(scores, truth, resamples=100).table.set_index("name")
        assert table.loc["mine", "kendall"] == pytest.approx(-1)


class Tower(NasBench201):
    """Of one's own, though it spells architectures as the package does."""


def test_baselines_are_of_the_space_that_was_ranked():
    found = zeroshot.rank(Tower(channels=4, cells=1), archs=[0, 5, 9], proxies="snip", workers=1)
    told = found.record | {"run": found.record["run"] | {"space": "Other()"}}
    own = replace(found, record=told)
    truth = found.scores.set_index("arch")["snip"].rank()
    table = validate(own, truth, resamples=100).table
    assert "params" in set(table["name"])
    alone = replace(own, built=None)
    assert "params" not in set(validate(alone, truth, resamples=100).table["name"])


def test_accuracies_in_hand_in_other_notation(scored):
    table = zeroshot.eval.tables.read_scores(scored)
    truth = {str(index): 1 + index / 15_000 for index in range(0, 15_000, 600)}
    assert (validate(scored, truth, resamples=100).table["unmatched"] == 0).all()
    assert len(table) == len(ARCHS)
    with pytest.raises(ZeroshotError, match=r"'90%' of .* is no number"):
        validate(scored, pd.Series(dict.fromkeys(truth, "90%")))


def test_values_are_told_in_a_line():
    assert len(brief(list(range(10_000)))) == 100
    assert brief("short") == "'short'"


def test_two_prunings_do_not_share_a_folder(tmp_path):
    with locked(tmp_path / "out"), pytest.raises(ZeroshotError, match="another process is writing"):
        zeroshot.prune("nasbench201", criterion="params", out=tmp_path / "out", workers=1)
