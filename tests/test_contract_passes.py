"""What holds for every pass, and what sharing passes saves."""

import copy
import dataclasses
import inspect
from collections import Counter

import pytest
import torch
from torch import Tensor

from tests.checks import CELLS, KINDS, NETS, TASK, TINY, batch, of_space, unchanged
from zeroshot import passes
from zeroshot.core import Net, Pass
from zeroshot.errors import Undefined
from zeroshot.proxies import PROXIES
from zeroshot.scoring import evaluate

FORESIGHT = (
    *("fisher", "grad_norm", "grasp", "jacob_cov"),
    *("plain", "snip", "synflow", "synflow_bn"),
)


def closure(wanted: tuple[Pass, ...]) -> dict[Pass, None]:
    found: dict[Pass, None] = {}
    for one in wanted:
        found |= closure(one.needs) | {one: None}
    return found


PASSES = (
    *closure(tuple(need for proxy in PROXIES for need in proxy.needs)),
    passes.Perturbed(fidelity="official"),
    passes.SignSums(fidelity="official"),
    passes.FisherInformation(fidelity="official"),
    passes.TangentKernel(chunk=3, budget=1),
    passes.FixedTangentKernel(),
    passes.Patterns(samples=50, together=20),
)


def run(wanted: Pass, net: Net, shown) -> object:
    return wanted.run(net, shown, *(run(need, net, shown) for need in wanted.needs))


def tensors(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    return [t for part in value for t in tensors(part)] if isinstance(value, tuple) else []


def test_every_pass_is_tried():
    defined = {
        value
        for value in vars(passes).values()
        if inspect.isclass(value) and issubclass(value, Pass) and value is not Pass
    }
    assert defined == {type(wanted) for wanted in PASSES}


@pytest.mark.parametrize("wanted", PASSES, ids=repr)
class TestEveryPass:
    def test_is_a_value(self, wanted):
        assert dataclasses.is_dataclass(wanted)
        twin = dataclasses.replace(wanted)
        assert twin is not wanted
        assert twin == wanted
        assert hash(twin) == hash(wanted)
        assert len({wanted, twin}) == 1
        with pytest.raises(dataclasses.FrozenInstanceError):
            wanted.chunk = 5
        for field in dataclasses.fields(wanted):
            if field.compare and isinstance(field.default, (int, float)):
                value = type(field.default)(getattr(wanted, field.name) == 0)
                assert dataclasses.replace(wanted, **{field.name: value}) != wanted

    def test_says_what_it_is(self, wanted):
        assert type(wanted).__doc__
        assert type(wanted).run.__doc__

    @pytest.mark.parametrize("name", KINDS)
    def test_leaves_no_trace_and_repeats_itself(self, wanted, name):
        net, shown = dict(NETS)[name](torch.float32), batch(torch.float32)
        with unchanged(net, shown):
            try:
                once = run(wanted, net, shown)
            except Undefined as reason:
                assert str(reason)  # noqa: PT017 - being undefined is allowed
                return
        torch.manual_seed(1)
        again = run(wanted, net, shown)
        pairs = list(zip(tensors(once), tensors(again), strict=True))
        counted = (passes.Census, passes.Numbers, passes.PeakMemory)  # and not measured
        assert pairs or isinstance(wanted, counted)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_each_pass_runs_once(monkeypatch):
    runs: Counter[str] = Counter()
    for kind in {type(wanted) for wanted in PASSES}:

        def counted(self, *args, original=kind.run):
            runs[repr(self)] += 1
            return original(self, *args)

        monkeypatch.setattr(kind, "run", counted)
    scores = evaluate(of_space("convolutions"), batch(), [*PROXIES, *PROXIES])
    assert set(runs.values()) == {1}
    assert set(runs) == set(scores.seconds)
    assert all(seconds >= 0 for seconds in scores.seconds.values())


@pytest.mark.parametrize("proxy", PROXIES, ids=lambda proxy: proxy.name)
def test_only_what_is_needed_runs(proxy):
    scores = evaluate(of_space("pools"), batch(), [proxy])
    assert set(scores.seconds) == {repr(need) for need in closure(proxy.needs)}


def test_eight_measures_take_three_forward_runs_and_no_copy(monkeypatch):
    net = of_space("convolutions")
    calls: list[None] = []
    net.module.register_forward_pre_hook(lambda module, args: calls.append(None))
    monkeypatch.setattr(copy, "deepcopy", lambda *args: pytest.fail("a copy was made"))
    eight = [proxy for proxy in PROXIES if proxy.name in FORESIGHT]
    assert len(eight) == 8
    scores = evaluate(net, batch(), eight)
    assert not scores.reasons
    assert len(calls) == 3


class TestChunks:
    @pytest.mark.parametrize("name", ["Plain", "Transformer", "nasbench201-pools"])
    def test_change_nothing(self, name):
        net, shown = dict(NETS)[name](torch.float64), batch()
        expected = passes.TangentKernel(chunk=1).run(net, shown)
        for chunk, budget in ((3, 2**28), (16, 2**28), (100, 2**28), (8, 1), (1, 20_000)):
            found = passes.TangentKernel(chunk, budget).run(net, shown)
            assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12 * float(expected.max()))

    def test_budget_splits_weights_into_groups(self):
        leaves = {f"{i}.weight": torch.ones(10, requires_grad=True) for i in range(6)}
        leaves["0.bias"] = torch.ones(10, requires_grad=True)
        assert [len(group) for group in passes.tangent._groups(leaves, 25)] == [2, 2, 2]
        assert [len(group) for group in passes.tangent._groups(leaves, 0)] == [1] * 6
        assert [len(group) for group in passes.tangent._groups(leaves, 1000)] == [6]


def fields_of(found: object) -> tuple[object, ...]:
    return tuple(found) if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("name", dict(NETS))
def test_what_is_taken_instead_has_the_same_result(name):
    net, shown = dict(NETS)[name](torch.float64), batch()
    changed = [wanted for wanted in PASSES if wanted.among(PASSES) != wanted]
    assert changed
    for wanted in changed:
        one, other = run(wanted, net, shown), run(wanted.among(PASSES), net, shown)
        pairs = [
            pair
            for fields in zip(fields_of(one), fields_of(other), strict=True)
            for pair in zip(*map(tensors, fields), strict=False)  # another may have more of them
        ]
        assert pairs
        assert all(torch.equal(a, b) for a, b in pairs)


def test_crops_together_share_statistics_but_are_the_same():
    net, shown = of_space("pools"), batch()
    few, many = (passes.Patterns(samples=60, together=k) for k in (20, 60))
    assert torch.equal(few._crops(net, shown.inputs), many._crops(net, shown.inputs))
    assert few.run(net, shown).shape == many.run(net, shown).shape


def test_no_graph_outlives_its_evaluation(monkeypatch):
    """Not even until the garbage collector comes round."""
    import gc
    import weakref

    graphs = []
    original = passes.Forward.run

    def spied(self, net, shown):
        trace = original(self, net, shown)
        graphs.append(weakref.ref(trace.logits))
        return trace

    monkeypatch.setattr(passes.Forward, "run", spied)
    gc.disable()
    try:
        for name in ("Plain", "ReluFree", "InplaceRelu"):  # with undefined proxies, too
            evaluate(dict(NETS)[name](torch.float64), batch())
        assert [graph() for graph in graphs] == [None] * 3
    finally:
        gc.enable()


def test_seeds_of_passes_are_the_nets():
    arch = TINY.arch(*CELLS["convolutions"])
    module = TINY.network(arch, TASK).module
    drawn = passes.Perturbed()
    one, twin, other = (
        drawn.run(Net(module, seed=seed), batch(torch.float32)).clean for seed in (0, 0, 1)
    )
    assert torch.equal(one, twin)
    assert not torch.equal(one, other)
