import inspect
import json
import math
import pickle
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import utils
from torch.nn.utils import parametrizations, parametrize, prune

from tests import networks
from tests.checks import assert_close, batch, of_space, toy
from tests.networks import fill
from zeroshot import passes
from zeroshot.core import Batch, Cost, Net, Proxy
from zeroshot.errors import OutOfMemoryError, Undefined, ZeroshotError
from zeroshot.measure import latency
from zeroshot.proxies import PROXIES
from zeroshot.proxies.naswot import NASWOT
from zeroshot.proxies.ntk_cond import NTK_COND
from zeroshot.proxies.params import PARAMS
from zeroshot.proxies.snip import SNIP
from zeroshot.proxies.zen import ZEN
from zeroshot.scoring import Scores, evaluate
from zeroshot.spaces import NasBench201

LINEAR = nn.Sequential(nn.Flatten(), nn.Linear(768, 10)).double()


def refusal(module, shown=None, proxies=PROXIES):
    """The one line that a user reads."""
    with pytest.raises(ZeroshotError) as error:
        evaluate(module, shown or batch(), proxies)
    line = str(error.value)
    assert line
    assert "\n" not in line
    return line


class TestScores:
    def test_is_a_mapping(self):
        scores = evaluate(networks.network("Plain"), batch(), [SNIP, PARAMS])
        assert list(scores) == ["snip", "params"]
        assert len(scores) == 2
        assert dict(scores) == scores.found
        assert "zen" not in scores
        with pytest.raises(KeyError):
            scores["zen"]

    def test_all_by_default(self):
        scores = evaluate(networks.network("Plain"), batch())
        assert list(scores) == [proxy.name for proxy in PROXIES]

    def test_none(self):
        assert evaluate(networks.network("Plain"), batch(), []) == Scores({})

    def test_any_iterable(self):
        found = evaluate(networks.network("Plain"), batch(), (p for p in (SNIP, PARAMS)))
        assert list(found) == ["snip", "params"]

    def test_a_module_is_a_net_of_seed_0(self):
        module = networks.network("Plain")
        assert evaluate(module, batch(), [ZEN]) == pytest.approx(
            evaluate(Net(module, seed=0), batch(), [ZEN])
        )

    def test_a_proxy_of_your_own(self):
        half = Proxy("half", (passes.Census(),), lambda cost: cost.params / 2, "higher", "you")
        assert evaluate(LINEAR, batch(), [half])["half"] == 7690 / 2

    def test_a_bug_in_a_formula_is_not_hidden(self):
        wrong = Proxy("wrong", (passes.Census(),), lambda cost: cost.oops, "higher", "you")
        assert "proxy wrong fails: AttributeError" in refusal(LINEAR, proxies=[wrong])

    def test_nan_has_a_reason_and_infinity_none(self):
        def proxy(name, value):
            return Proxy(name, (passes.Census(),), lambda cost: value, "higher", "you")

        scores = evaluate(LINEAR, batch(), [proxy("a", math.nan), proxy("b", math.inf)])
        assert scores.reasons == {"a": "the formula gives NaN"}
        assert scores["b"] == math.inf

    def test_undefined_by_the_formula(self):
        def say(cost: Cost) -> float:
            raise Undefined("because")

        mine = Proxy("mine", (passes.Census(),), say, "higher", "you")
        assert evaluate(LINEAR, batch(), [mine]).reasons == {"mine": "because"}


class TestNames:
    @pytest.mark.parametrize(
        "proxies", ["snip,params", ("snip", "params"), [SNIP, " params"], "snip, params"]
    )
    def test_are_as_good_as_proxies(self, proxies):
        expected = evaluate(LINEAR, batch(), (SNIP, PARAMS))
        assert evaluate(LINEAR, batch(), proxies).found == expected.found

    def test_a_proxy_alone(self):
        assert evaluate(LINEAR, batch(), PARAMS).found == {"params": 7690}
        assert evaluate(LINEAR, batch(), "params").found == {"params": 7690}

    @pytest.mark.parametrize("proxies", ["snap", ("snip", "snap"), "snip,snap", "my.module:SNAP"])
    def test_unknown(self, proxies):
        line = refusal(LINEAR, proxies=proxies)
        assert re.match("unknown proxy '(snap|my.module:SNAP)'; .*expected a zeroshot.Proxy", line)

    def test_the_signature_can_be_read(self):
        assert len(str(inspect.signature(evaluate))) < 300


class Switches:
    """What PyTorch's products and cuDNN are told."""

    NEW = hasattr(torch.backends.cudnn, "conv")
    WANTED = (True, False, *(["ieee"] * 6 if NEW else [False] * 2))
    LOWER = (
        "torch.set_float32_matmul_precision('medium')",
        "backends.cudnn.benchmark = True; backends.cudnn.allow_tf32 = True",
    )
    if NEW:
        LOWER += (
            "backends.mkldnn.conv.fp32_precision = backends.mkldnn.matmul.fp32_precision = 'bf16'",
            "backends.fp32_precision = 'tf32'",
        )

    @staticmethod
    def now() -> tuple[object, ...]:
        cudnn, cuda, mkldnn = torch.backends.cudnn, torch.backends.cuda, torch.backends.mkldnn
        if Switches.NEW:
            kinds = cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn
            products = [kind.fp32_precision for kind in kinds]
        else:
            products = [cudnn.allow_tf32, cuda.matmul.allow_tf32]
        return (cudnn.deterministic, cudnn.benchmark, *products)


class TestTheCallersContextDoesNotMatter:
    EXPECTED = evaluate(networks.network("Plain", torch.float32), batch(torch.float32))

    @pytest.mark.parametrize(
        "context",
        [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)],
    )
    def test_modes(self, context):
        module, shown = networks.network("Plain", torch.float32), batch(torch.float32)
        with context():
            assert evaluate(module, shown).found == self.EXPECTED.found

    def test_default_precision(self):
        module, shown = networks.network("Plain", torch.float32), batch(torch.float32)
        torch.set_default_dtype(torch.float64)
        try:
            assert evaluate(module, shown).found == self.EXPECTED.found
        finally:
            torch.set_default_dtype(torch.float32)

    def test_products_of_fewer_bits(self):
        """Each switch in a process of its own, for some cannot be put back; forked, for time."""
        code = """
import os
import torch
torch.set_num_threads(1)  # a process that has threads is not to be forked
from torch import backends
from tests import checks, networks
from tests.test_scoring import Switches
from zeroshot import evaluate
for switch in Switches.LOWER:
    child = os.fork()
    if not child:
        break
    assert os.waitpid(child, 0)[1] == 0, switch
else:
    raise SystemExit
exec(switch)
seen = []
module = networks.network("Plain", torch.float32)
module.register_forward_hook(lambda *_: seen.append(Switches.now()))
before = Switches.now()
evaluate(module, checks.batch(torch.float32), "grad_norm")
assert Switches.now() == before, (before, Switches.now())
assert seen and all(now == Switches.WANTED for now in seen), seen
"""
        root = Path(__file__).parents[1]
        subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=root)

    def test_the_batch_takes_the_networks_precision(self):
        module = networks.network("Plain", torch.float32)
        assert evaluate(module, batch(torch.float64)).found == self.EXPECTED.found

    def test_parameters_that_are_frozen(self):
        module = networks.network("Plain", torch.float32).requires_grad_(False).eval()
        assert evaluate(module, batch(torch.float32)).found == self.EXPECTED.found


def remove(layer):
    parametrize.remove_parametrizations(layer, "weight")


def prune_half(layer):
    prune.l1_unstructured(layer, "weight", 0.5)


class TestReparametrised:
    """A layer whose weight is no parameter must not vanish from what goes by weights."""

    WAYS = (
        (parametrizations.weight_norm, remove),
        (parametrizations.spectral_norm, remove),
        (utils.weight_norm, utils.remove_weight_norm),
        (utils.spectral_norm, utils.remove_spectral_norm),
        (prune_half, lambda layer: prune.remove(layer, "weight")),
    )
    BY_WEIGHTS = frozenset(
        (
            *("l2_norm", "grad_norm", "snip", "grasp", "plain", "zico", "gradsign", "dss"),
            *("synflow", "synflow_bn", "logsynflow", "zen", "epsilon"),
            *("ntk_cond", "ntk_trace", "ntk_krr", "label_alignment", "apd", "intrain"),
        )
    )
    BY_PARAMETERS = frozenset(
        ["params", "memory", "memory_train", "swap_reg", "vkdnw", "vkdnw_entropy"]
    )

    @pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
    @pytest.mark.parametrize(("change", "undo"), WAYS)
    def test_is_undefined_or_the_same_as_without(self, change, undo):
        net = toy("Plain")
        change(net.module.conv2)
        found = evaluate(net, batch())
        undo(net.module.conv2)
        plain = evaluate(net, batch())
        for name, reason in found.reasons.items():
            assert reason.startswith("conv2.weight is reparametrised"), name
        assert found.reasons.keys() == self.BY_WEIGHTS
        alike = set(found) - self.BY_WEIGHTS - self.BY_PARAMETERS
        if "spectral" in change.__name__:
            assert found["flops"] - plain["flops"] == net.module.conv2.weight.numel()  # W · v
            alike -= {"flops"}
        assert {"naswot", "jacob_cov", "depth", "az_expressivity"} < alike
        for name in alike:
            assert_close(found[name], plain[name], 1e-6)

    def test_projections_of_attention(self):
        net = Net(networks.network("Transformer"))
        parametrizations.weight_norm(net.module.layer.self_attn, "in_proj_weight")
        reasons = evaluate(net, batch(), [SNIP, PARAMS]).reasons
        assert "layer.self_attn.in_proj_weight is reparametrised" in reasons["snip"]
        assert list(reasons) == ["snip"]

    def test_a_filter_that_is_not_learnt_is_no_weight(self):
        module = networks.network("Plain")
        fixed = module.conv2.weight.detach()
        del module.conv2.weight
        module.conv2.register_buffer("weight", fixed)
        assert list(Net(module).weights()) == ["conv1.weight", "conv3.weight", "head.weight"]


class TestRefusals:
    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_weights(self, bad):
        module = networks.network("Plain")
        with torch.no_grad():
            module.conv2.weight[0, 0, 0, 0] = bad
        assert "parameter conv2.weight holds NaN or infinite values" in refusal(module)

    def test_whole_numbers_are_finite(self):
        module = networks.network("Plain")
        module.order = nn.Parameter(torch.arange(8), requires_grad=False)
        plain, wanted = networks.network("Plain"), "snip,synflow,naswot"
        assert evaluate(module, batch(), wanted).found == evaluate(plain, batch(), wanted).found

    @pytest.mark.filterwarnings("ignore:Lazy modules")
    def test_lazy_networks(self):
        lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))
        assert "parameter 1.weight has no shape yet" in refusal(lazy)

    def test_networks_without_values(self):
        assert "'meta'" in refusal(networks.Plain().to("meta"))

    @pytest.mark.filterwarnings("ignore:.*torch.jit")
    def test_torchscript_of_which_layers_cannot_be_seen(self):
        inner = torch.jit.trace(nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8))
        assert "the network is TorchScript" in refusal(inner)
        assert "0 is TorchScript" in refusal(nn.Sequential(inner, nn.Flatten()))

    def test_copies_on_several_devices(self):
        assert "is DataParallel" in refusal(nn.DataParallel(LINEAR))
        assert "give the network inside, its `.module`" in refusal(nn.DataParallel(LINEAR))

    def test_what_is_compiled_of_which_layers_cannot_be_seen(self):
        inner = networks.network("Plain")
        assert "0 is compiled" in refusal(nn.Sequential(torch.compile(inner)))
        inner.compile()
        assert "the network is compiled" in refusal(inner)

    def test_functions_that_are_compiled_run_as_they_are_written(self):
        plain, compiled = networks.network("Plain"), networks.network("Plain")
        compiled.forward = torch.compile(compiled.forward)
        proxies = "snip,fisher,naswot,zico,synflow,jacob_cov,ntk_cond"
        assert evaluate(compiled, batch(), proxies) == evaluate(plain, batch(), proxies)

    def test_a_network_without_gradients(self):
        silent = networks.network("Plain")
        silent.forward = torch.no_grad()(silent.forward)
        scores = evaluate(silent, batch(), "snip,synflow,jacob_cov,naswot,params")
        for name in ("snip", "synflow", "jacob_cov"):
            assert math.isnan(scores[name])
            assert "do they run under no_grad?" in scores.reasons[name]
        assert scores["naswot"] == evaluate(networks.network("Plain"), batch(), "naswot")["naswot"]

    def test_a_loss_beside_the_logits(self):
        class Tasked(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = networks.network("Plain")

            def forward(self, x):
                logits = self.inner(x)
                return {"loss": logits.mean(), "scores": logits}

        found = evaluate(Tasked(), batch(), "snip,synflow")
        assert found == evaluate(networks.network("Plain"), batch(), "snip,synflow")

    def test_blocks_that_are_not_there(self):
        with pytest.raises(ZeroshotError, match="block 'layer9': the network has no such"):
            Net(LINEAR, blocks=("1", "layer9"))

    def test_targets_beyond_the_classes(self):
        line = refusal(networks.network("Plain", classes=4))
        assert "targets up to 9" in line
        assert "4 classes" in line

    def test_inputs_of_the_wrong_shape(self):
        line = refusal(networks.network("Plain"), batch(c=5))
        assert "(16, 5, 16, 16)" in line
        assert line.startswith("the network fails on inputs of shape")
        assert "--size" in line
        rows = Batch(torch.zeros(4, 5), torch.arange(4))  # of which there is no other size
        assert "--size" not in refusal(nn.Linear(7, 10), rows)

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (RuntimeError("first line\nsecond line"), "first line"),
            (ValueError("a value"), "ValueError: a value"),
            (KeyError("name"), "KeyError: 'name'"),
            (AssertionError(), "AssertionError"),
            (RuntimeError(), "RuntimeError"),
            (IndexError("\n\n  indented\n"), "IndexError: indented"),
        ],
    )
    def test_a_network_that_raises(self, error, words):
        class Raises(nn.Linear):
            def forward(self, x):
                raise error

        line = refusal(Raises(3, 3))
        assert line.startswith("the network fails on inputs of shape (16, 3, 16")
        assert line.endswith(f": {words}")

    def test_what_fails_in_some_passes_alone(self):
        class Blurs(networks.Plain):
            def forward(self, x):
                blur = torch.ones(x.shape[1], 1, 3, 3)
                return super().forward(nn.functional.conv2d(x, blur, groups=x.shape[1], padding=1))

        shown = batch(torch.float32)
        scores = evaluate(networks.fill(Blurs()), shown)
        assert {"synflow", "epsilon"} < scores.reasons.keys()
        assert scores.reasons["synflow"].startswith("the network fails in pass Synflow(keep_bn=Fa")
        assert scores.reasons["synflow"].endswith("expected scalar type Double but found Float")
        assert not {"naswot", "snip", "ntk_cond", "params"} & scores.reasons.keys()
        # A loss that fails is another matter: nothing can be said of any network then.
        wrong = Batch(shown.inputs, shown.targets, lambda answers, targets: targets.no_such_thing)
        with pytest.raises(ZeroshotError, match=r"fails in pass LossBackward.*no_such_thing"):
            evaluate(networks.fill(Blurs()), wrong, "snip")

    def test_what_fails_in_some_passes_alone_and_has_no_loss(self):
        """Answers for each pixel, of which there is no cross-entropy, of a fixed type."""

        class Blurs(nn.Conv2d):
            def forward(self, x):
                blur = torch.ones(x.shape[1], 1, 3, 3)
                return super().forward(nn.functional.conv2d(x, blur, groups=x.shape[1]))

        scores = evaluate(Blurs(3, 10, 1), batch(torch.float32), "synflow,snip,l2_norm")
        assert scores.reasons["synflow"].startswith("the network fails in pass Synflow(keep_bn=Fa")
        assert "no cross-entropy" in scores.reasons["snip"]
        assert scores["l2_norm"] > 0

    def test_an_interrupt_is_not_caught(self):
        class Interrupted(nn.Linear):
            def forward(self, x):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            evaluate(Interrupted(3, 3), batch())


class TestOutOfMemory:
    ERRORS = (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nMore."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: tried to"),
        MemoryError(),
    )

    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
    @pytest.mark.parametrize(
        ("wanted", "proxy", "lower"),
        [
            (passes.Forward, NASWOT, ()),
            (passes.TangentKernel, NTK_COND, ("chunk",)),
            (passes.Perturbed, ZEN, ()),
        ],
    )
    def test_names_the_pass_and_what_to_lower(self, monkeypatch, wanted, proxy, lower, error):
        def fails(self, *args):
            raise error

        monkeypatch.setattr(wanted, "run", fails)
        net = of_space("convolutions")
        line = refusal(net, proxies=[proxy])
        assert f"out of memory in pass {wanted.__name__}(" in line
        assert "batch size (16)" in line
        assert ("chunk" in line.partition("):")[2]) == bool(lower)
        with pytest.raises(OutOfMemoryError):
            evaluate(net, batch(), [proxy])

    def test_nothing_is_computed_on_less(self, monkeypatch):
        sizes = []

        def fails(self, net, shown):
            sizes.append(len(shown))
            raise torch.OutOfMemoryError

        monkeypatch.setattr(passes.Forward, "run", fails)
        refusal(of_space("convolutions"))
        assert sizes == [16]

    def test_the_network_is_as_before(self, monkeypatch):
        net = of_space("convolutions")
        monkeypatch.setattr(
            torch.nn.functional,
            "cross_entropy",
            lambda *_, **__: (_ for _ in ()).throw(MemoryError()),
        )
        modes = [part.training for part in net.module.modules()]
        refusal(net, proxies=[SNIP])
        assert [part.training for part in net.module.modules()] == modes
        assert not any(part._forward_hooks for part in net.module.modules())


def test_a_batch_of_one():
    with pytest.raises(ZeroshotError, match="at least 2 samples"):
        Batch(torch.rand(1, 3, 4, 4), torch.tensor([0]))


def test_a_formula_may_give_a_tensor_with_a_graph():
    alive = Proxy(
        "alive",
        (passes.Weights(),),
        lambda weights: torch.ones((), requires_grad=True),
        "higher",
        "test",
    )
    assert evaluate(networks.network("Plain"), batch(), [alive])["alive"] == 1


class Fills(nn.Module):
    """Fills a buffer at its first call, and adds another."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.register_buffer("places", None)

    def forward(self, x):
        if self.places is None:
            self.places = torch.linspace(0, 1, 8, dtype=x.dtype)
            self.register_buffer("more", torch.zeros(2))
        return self.layer(x + self.places)


def test_buffers_that_a_network_fills_are_empty_again():
    net = Fills()
    shown = Batch(torch.randn(8, 8), torch.arange(8))
    evaluate(net, shown, "synflow,snip")
    assert list(net.state_dict()) == ["layer.weight", "layer.bias"]
    assert net.places is None
    assert net(torch.randn(2, 8)).shape == (2, 8)


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(12, 8, dtype=torch.cfloat)

    def forward(self, x):
        return self.layer(x.to(torch.cfloat)).abs()


def test_complex_weights_have_no_gradients():
    found = evaluate(Complex(), Batch(torch.randn(8, 12), torch.arange(8)), "grad_norm,snip,zico")
    assert set(found.reasons.values()) == {"weights are complex"}
    assert set(found.reasons) == {"grad_norm", "snip", "zico"}


def test_precision_that_was_inherited_is_afterwards():
    backends = torch.backends
    if not hasattr(backends.cudnn, "conv"):
        pytest.skip("switches of PyTorch 2.9")
    before = backends.fp32_precision
    try:
        backends.fp32_precision = "tf32"
        evaluate(LINEAR, batch(), "snip")
        backends.fp32_precision = "ieee"
        assert backends.mkldnn.matmul.fp32_precision == "ieee"
    finally:
        backends.fp32_precision = before


class Keeping(nn.Module):
    """Keeps what it computes from a weight, in an attribute and in a dictionary."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 10)
        self.scale = nn.Parameter(torch.rand(8))
        self.kept, self.tables = None, {}

    def forward(self, x):
        if self.kept is None:
            self.kept = self.scale.exp().view(1, -1, 1, 1)
        table = self.tables.setdefault(x.dtype, self.scale.sin().view(1, -1, 1, 1))
        return self.head((self.layer(x) * self.kept + table).relu().mean((2, 3)))


def test_what_a_network_keeps_of_a_run_does_not_reach_the_next():
    net, shown = fill(Keeping()).double().eval(), batch(torch.float64)
    alone = {name: evaluate(net, shown, name)[name] for name in ("synflow", "snip", "zen")}
    assert dict(evaluate(net, shown, ",".join(alone))) == alone
    assert net.kept is None
    assert net.tables == {}
    latency(net, shown, repeats=1, warmup=1)
    net(shown.inputs).sum().backward()


def test_what_inference_mode_has_made():
    with torch.inference_mode():
        net, shown = fill(networks.Plain()), batch()
        copied = Batch(shown.inputs.clone(), shown.targets.clone())
    found = evaluate(net, copied, "snip,synflow,grasp")
    assert dict(found) == dict(evaluate(fill(networks.Plain()), shown, "snip,synflow,grasp"))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("can't allocate memory: tried"),
    ],
)
def test_memory_that_runs_out_in_a_formula(error):
    def formula():
        raise error

    own = Proxy("own", (), formula, "higher", "here")
    with pytest.raises(OutOfMemoryError, match="out of memory in own: lower the batch size"):
        evaluate(LINEAR, batch(), [own])


def test_sparse_gradients_have_a_kernel():
    class Tokens(nn.Module):
        def __init__(self, sparse):
            super().__init__()
            self.embedding, self.head = nn.Embedding(7, 4, sparse=sparse), nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.embedding(x).mean(1))

    shown = Batch(torch.arange(24).view(6, 4) % 7, torch.arange(6) % 3)
    dense, sparse = (evaluate(fill(Tokens(kind)), shown, "ntk_trace") for kind in (False, True))
    assert dict(dense) == dict(sparse)


def test_threads_wait_for_each_other():
    shown, proxies = batch(), "snip,naswot"
    space = NasBench201(channels=4, cells=1)

    def scored(number):
        return evaluate(space.network(space.at(number % 2), seed=1), shown, proxies).found

    expected = [scored(number) for number in range(2)]
    before = torch.backends.cudnn.deterministic, torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(scored, range(16)))
    assert found == [expected[n % 2] for n in range(16)]
    assert torch.backends.cudnn.deterministic == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_scores_of_several_networks_are_a_table():
    found = {name: evaluate(LINEAR, batch(), "params,snip") for name in "ab"}
    table = pd.DataFrame(found)
    assert table.loc["params", "a"] == 7690
    assert pd.DataFrame(list(found.values())).shape == (2, 2)
    assert json.loads(json.dumps(found["a"])) == found["a"]
    assert pickle.loads(pickle.dumps(found["a"])).seconds == found["a"].seconds


class TestUnusualModules:
    class Tokens(nn.Conv2d):
        """A convolution that answers tokens, as patches are embedded."""

        def forward(self, x):
            return super().forward(x).flatten(2).transpose(1, 2)

    class Patches(nn.Module):
        def __init__(self, kind):
            super().__init__()
            self.embed = kind(3, 24, 4, stride=4)
            self.mix, self.head = nn.Linear(24, 24), nn.Linear(24, 10)

        def forward(self, x):
            tokens = self.embed(x)
            if tokens.ndim > 3:
                tokens = tokens.flatten(2).transpose(1, 2)
            return self.head(self.mix(tokens).relu().mean(1))

    def test_layers_that_answer_in_another_shape(self):
        one, other = (fill(self.Patches(kind)) for kind in (nn.Conv2d, self.Tokens))
        proxies = "fisher,meco,intrain,deepmad"
        expected, found = (evaluate(net, batch(torch.float32), proxies) for net in (one, other))
        assert not found.reasons
        for name, score in expected.items():
            assert_close(found[name], score, 1e-6)

    def test_layers_that_answer_more_than_a_tensor(self):
        class Two(nn.Linear):
            def forward(self, x):
                return super().forward(x), x

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner, self.head = Two(3 * 256, 16), nn.Linear(16, 10)

            def forward(self, x):
                return self.head(self.inner(x.flatten(1))[0].relu())

        scores = evaluate(fill(Net()), batch(torch.float32))
        assert not {"fisher", "snip", "naswot", "ntk_cond"} & scores.reasons.keys()

    def test_a_module_that_several_blocks_share(self):
        layer = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
        module = fill(nn.Sequential(nn.Conv2d(3, 8, 3), layer, layer, layer, head))
        net = Net(module, blocks=("1", "2", "3"))
        trace = passes.Forward().run(net, batch(torch.float32))
        assert [block.name for block in trace.blocks] == ["1", "2", "3"]
        assert not evaluate(net, batch(torch.float32), "az_trainability,az_progressivity").reasons

    def test_random_numbers_of_a_networks_own(self):
        class Draws(nn.Module):
            def __init__(self):
                super().__init__()
                self.of_torch = torch.Generator().manual_seed(3)
                self.of_numpy, self.of_python = np.random.default_rng(3), random.Random(3)
                self.older = np.random.RandomState(3)
                self.head = nn.Linear(3 * 256, 10)

            def forward(self, x):
                noise = torch.randn(1, generator=self.of_torch) + self.of_numpy.normal()
                return self.head(x.flatten(1) + noise + self.of_python.random() + self.older.rand())

        net = fill(Draws())
        first = net(batch(torch.float32).inputs)
        net = fill(Draws())
        one, other = (evaluate(net, batch(torch.float32), "snip,jacob_cov") for _ in range(2))
        assert one == other
        assert torch.equal(net(batch(torch.float32).inputs), first)

    def test_weights_that_a_hook_sets_are_the_same_tensors_afterwards(self):
        module = fill(nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 10)))
        prune.l1_unstructured(module[1], "weight", 0.5)
        weight = module[1].weight
        evaluate(module, batch(torch.float32), "naswot,jacob_cov")
        assert module[1].weight is weight
        weight.sum().backward()

    def test_quantised_layers_are_refused(self):
        # PyTorch warns of its own, which are to go.
        quantised = type("Linear", (nn.Module,), {"__module__": "torch.ao.nn.quantized.dynamic"})
        line = refusal(nn.Sequential(nn.Flatten(), quantised()))
        assert line.startswith("1 is Linear of torch.ao.nn.quantized")
