import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests import networks
from tests.checks import assert_close, batch, of_space
from zeroshot import observe, passes
from zeroshot.core import Batch, Cost, Net
from zeroshot.errors import Undefined, ZeroshotError
from zeroshot.passes import (
    Census,
    Curvature,
    Forward,
    InputGrads,
    LossBackward,
    Patterns,
    Perturbed,
    Synflow,
    TangentKernel,
    Targets,
    Weights,
    census,
)
from zeroshot.passes.structure import UNCOUNTED
from zeroshot.proxies.fisher import FISHER
from zeroshot.scoring import evaluate

DEFINED = {"snip", "plain", "grasp", "fisher", "synflow", "naswot", "linear_regions", "ntk_cond"}
MEMORY = {"memory", "memory_train"}  # less where a network overwrites


def traced(module, shown=None):
    return Forward(codes=True).run(Net(module), shown or batch())


class TestCensus:
    def test_asks_the_space_first(self):
        stated = Cost(1, 2, 3)
        assert Census().run(Net(nn.Linear(768, 10), cost=lambda: stated), batch()) is stated

    def test_needs_no_numbers(self):
        module = networks.Plain().to("meta")
        assert census(Net(module), torch.empty(1, 3, 16, 16, device="meta")) == census(
            Net(networks.Plain()), torch.ones(1, 3, 16, 16)
        )

    def test_dead_branches_that_run_are_counted(self):
        cost = census(Net(networks.Disconnected()), torch.ones(1, 3, 16, 16))
        assert cost.macs == 256 * (27 * 8 + 2 * 72 * 8) + 80
        assert cost.tensors == 5


class Recurrent(nn.Module):
    """The last answer of a recurrent layer."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0][:, -1]


class Applies(nn.Module):
    """A function of the input, a matrix and a vector."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.matrix, self.vector = nn.Parameter(torch.ones(30, 30)), nn.Parameter(torch.ones(30))

    def forward(self, x):
        return self.function(x, self.matrix, self.vector)


class TestProductsThatPyTorchDoesNotCount:
    STEPS, SIZE, HIDDEN = 5, 30, 16
    SHOWN = torch.ones(1, STEPS, SIZE)

    @pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
    @pytest.mark.parametrize("device", ["cpu", "meta"])
    def test_recurrent_layers(self, kind, gates, device):
        def macs(**options):
            layer = kind(self.SIZE, self.HIDDEN, batch_first=True, **options)
            return census(Net(Recurrent(layer).to(device)), self.SHOWN.to(device)).macs

        def one(inputs):
            return self.STEPS * gates * self.HIDDEN * (inputs + self.HIDDEN)

        assert macs() == macs(bias=False) == one(self.SIZE)
        both = 2 * one(self.SIZE) + 2 * one(2 * self.HIDDEN)
        assert macs(num_layers=2, bidirectional=True) == both

    @pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
    def test_projected_states(self):
        layer = nn.LSTM(self.SIZE, self.HIDDEN, proj_size=7, batch_first=True)
        weights = sum(p.numel() for p in layer.parameters() if p.ndim == 2)
        assert census(Net(Recurrent(layer)), self.SHOWN).macs == self.STEPS * weights

    def test_as_cudnn_is_given_them(self):
        shapes = [(64, 30), (64, 16), (64,), (64,)]
        counted = UNCOUNTED[torch.ops.aten._cudnn_rnn]((5, 1, 30), shapes, 4, None)
        assert counted == 2 * 5 * 64 * (30 + 16)

    @pytest.mark.parametrize(
        ("function", "macs"),
        [
            (lambda x, w, v: x @ v, 5 * 30),
            (lambda x, w, v: torch.einsum("ntd,d->nt", x, v), 5 * 30),
            (lambda x, w, v: torch.einsum("nti,ij->ntj", x, w), 5 * 900),
            (lambda x, w, v: torch.addmv(v, w, x[0, 0])[None], 900),
            (lambda x, w, v: torch.addbmm(x[0], x, w[None])[None], 5 * 900),
            (lambda x, w, v: torch.conv_tbc(x, w[None], v), 5 * 900),
            (lambda x, w, v: F.bilinear(x, x, w[None]), 5 * (900 + 30)),
            (lambda x, w, v: F.scaled_dot_product_attention(x, x @ w, x), 5 * 900 + 2 * 25 * 30),
        ],
    )
    @pytest.mark.parametrize("device", ["cpu", "meta"])
    def test_other_products(self, function, macs, device):
        assert census(Net(Applies(function).to(device)), self.SHOWN.to(device)).macs == macs


class TestForward:
    def test_what_it_keeps(self):
        module = networks.network("Plain")
        trace = traced(module)
        assert trace.inputs.requires_grad
        assert trace.inputs.is_leaf
        assert trace.leaves.keys() == dict(module.named_parameters()).keys()
        assert [layer.fan_in for layer in trace.layers] == [27, 72, 144, 16]
        assert [layer.channels for layer in trace.layers] == [1, 1, 1, 1]
        assert [code.shape[1] for code in trace.codes] == [8, 16, 16]

    def test_logits_are_those_of_train_mode_normalisation(self):
        module = networks.network("Plain")
        assert torch.equal(traced(module).logits, module(batch().inputs))

    @pytest.mark.parametrize(("name", "count"), [("NoNorm", 3), ("MethodRelu", 3)])
    def test_sees_functions_and_methods(self, name, count):
        assert len(traced(networks.network(name)).codes) == count

    def test_sees_modules_used_twice(self):
        trace = traced(networks.network("InplaceRelu"))
        assert len(trace.codes) == 2

    def test_sees_every_kind(self):
        assert len(traced(networks.network("Activations")).codes) == 4

    def test_codes_are_taken_before_an_activation_overwrites_them(self):
        codes = {}
        for inplace in (False, True):
            torch.manual_seed(0)
            module = nn.Sequential(
                nn.Conv2d(3, 4, 3), nn.LeakyReLU(-1.0, inplace=inplace), nn.Flatten()
            )
            codes[inplace] = traced(module.double()).codes
        assert torch.equal(codes[True][0], codes[False][0])

    def test_a_module_used_twice_is_two_layers(self):
        layer = nn.Linear(8, 8).double()
        module = nn.Sequential(layer, nn.ReLU(), layer)
        shown = Batch(torch.eye(8, dtype=torch.float64), torch.arange(8))
        assert len(traced(module, shown).layers) == 2

    def test_shared_weights(self):
        first, second = nn.Linear(8, 8).double(), nn.Linear(8, 8).double()
        second.weight = first.weight
        shown = Batch(torch.eye(8, dtype=torch.float64), torch.arange(8))
        trace = traced(nn.Sequential(first, nn.ReLU(), second), shown)
        assert list(Net(nn.Sequential(first, nn.ReLU(), second)).weights()) == ["0.weight"]
        assert len(trace.layers) == 2
        scores = evaluate(nn.Sequential(first, nn.ReLU(), second), shown)
        assert scores["params"] == 64 + 8 + 8
        assert scores["depth"] == 1
        assert "zen" in scores.reasons
        assert DEFINED.isdisjoint(scores.reasons)

    def test_parametrised_weights(self):
        layer = nn.utils.parametrizations.weight_norm(nn.Linear(768, 10)).double()
        module = nn.Sequential(nn.Flatten(), layer, nn.ReLU(), nn.Linear(10, 10).double())
        scores = evaluate(module, batch())
        assert scores["fisher"] > 0
        assert scores["depth"] == 2

    def test_logits_without_samples(self):
        class Summed(nn.Linear):
            def forward(self, x):
                return super().forward(x.flatten(1)).sum(0)

        with pytest.raises(Undefined, match=r"\(10,\) for 16 samples"):
            traced(Summed(768, 10).double())


class Overwrites(nn.Module):
    """Convolution and ReLU, without batch normalisation between them."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.relu = nn.ReLU(inplace=how == "module")
        self.head = nn.Linear(4, 10)
        networks.fill(self.double())

    def activate(self, x):
        if self.how == "function":
            return F.relu(x, inplace=True)
        if self.how == "method":
            return x.relu_()
        if self.how == "view":
            x.flatten(1).relu_()
            return x
        return self.relu(x)

    def forward(self, x):
        if self.how == "input":
            x = F.relu(x.mul_(1.0), inplace=True)
        x = self.activate(self.conv2(self.activate(self.conv1(x))))
        return self.head(x.mean((2, 3)))


def blocks_of(module):
    return Net(module, blocks=("conv1", "conv2"))


class TestInPlace:
    @pytest.mark.parametrize("how", ["module", "function", "method", "view"])
    def test_scores_are_those_of_the_network_that_copies(self, how):
        found, expected = (evaluate(blocks_of(Overwrites(h)), batch()) for h in (how, "copies"))
        assert found.reasons.keys() == expected.reasons.keys() == {"dss"}
        for proxy in expected.keys() - {"dss", *MEMORY}:
            assert_close(found[proxy], expected[proxy], 1e-12)

    def test_fisher_needs_a_second_run(self):
        calls = []
        module = Overwrites("module")
        module.register_forward_pre_hook(lambda module, args: calls.append(None))
        evaluate(module, batch(), [FISHER])
        assert len(calls) == 2

    def test_a_network_may_overwrite_its_input(self):
        shown = batch()
        before = shown.inputs.clone()
        scores = evaluate(blocks_of(Overwrites("input")), shown)
        assert scores.reasons.keys() == {"dss"}  # it has no attention
        assert torch.equal(shown.inputs, before)


class TestLoss:
    def test_targets_beyond_the_classes(self):
        with pytest.raises(ZeroshotError, match="targets up to 9, but the network answers 4"):
            evaluate(networks.network("Plain", classes=4), batch())

    def test_logits_per_pixel(self):
        module = nn.Conv2d(3, 10, 1).double()
        with pytest.raises(Undefined, match="no cross-entropy"):
            LossBackward().run(Net(module), batch(), traced(module))

    def test_zeros_where_a_weight_reaches_nothing(self):
        module = networks.network("Disconnected")
        trace = traced(module)
        found = LossBackward().run(Net(module), batch(), trace)
        sizes = (float(g.abs().sum()) for g in found.grads.grads)
        zero = dict(zip(Net(module).weights(), sizes, strict=True))
        assert zero["dropped.weight"] == 0
        assert zero["idle.weight"] == 0
        assert zero["used.weight"] > 0
        twice = LossBackward(twice=True).run(Net(module), batch(), trace)
        curved = Curvature().run(Net(module), batch(), trace, twice)
        assert [float(part) != 0 for part in curved] == [value > 0 for value in zero.values()]

    def test_undefined_if_nothing_reaches_the_logits(self):
        class Detached(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(768, 10).double()

            def forward(self, x):
                with torch.no_grad():
                    return self.layer(x.flatten(1))

        scores = evaluate(Detached(), batch())
        for proxy in ("grad_norm", "snip", "gradsign", "grasp", "fisher", "synflow", "jacob_cov"):
            assert "do they run under no_grad?" in scores.reasons[proxy]
        assert {"epe_nas", "ntk_cond"} < scores.reasons.keys()

    def test_a_part_without_gradients(self):
        class Frozen(networks.Plain):
            def forward(self, x):
                with torch.no_grad():
                    x = self.pool(self.features(x)).flatten(1)
                return self.head(x)

        module = networks.fill(Frozen()).double()
        scores = evaluate(module, batch(), "grad_norm,snip,grasp,fisher,plain,intrain")
        assert not scores.reasons
        seen = []
        with observe.hooked([module.head], lambda _, given, __: seen.append(given[0])):
            Net(module)(batch().inputs)
        alone = evaluate(module.head, Batch(seen[0], batch().targets), "snip,grad_norm,grasp")
        for name, score in alone.found.items():
            assert_close(scores[name], score, 1e-9)


class TestNetworksWithoutMuch:
    def test_no_weights(self):
        module = nn.Sequential(nn.AdaptiveAvgPool2d((2, 5)), nn.ReLU(), nn.Flatten())
        with pytest.raises(Undefined, match="no convolution or linear weight"):
            Weights().run(Net(module), batch())
        scores = evaluate(module, batch(torch.float32))
        assert scores["params"] == scores["depth"] == scores["flops"] == 0
        assert {"snip", "synflow", "ntk_cond", "l2_norm"} < scores.reasons.keys()
        assert math.isfinite(scores["naswot"])

    def test_whole_numbers_as_inputs(self):
        module = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(12, 3), nn.ReLU())
        networks.fill(module)
        shown = Batch(torch.arange(12).reshape(4, 3) % 5, torch.tensor([0, 1, 2, 0]))
        scores = evaluate(module, shown)
        assert {"jacob_cov", "epe_nas", "synflow", "synflow_bn", "zen"} < scores.reasons.keys()
        assert (DEFINED - {"synflow"}).isdisjoint(scores.reasons)
        for wanted in (Synflow(), Perturbed()):
            with pytest.raises(Undefined, match=r"torch.int64"):
                wanted.run(Net(module), shown)
        with pytest.raises(Undefined, match=r"torch.int64 have no gradient"):
            InputGrads().run(Net(module), shown, traced(module, shown))

    def test_a_weight_that_reaches_some_samples_only(self):
        class First(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = networks.fill(nn.Linear(768, 10).double())

            def forward(self, x):
                logits = self.layer(x.flatten(1))
                return torch.cat([logits[:8], logits[8:].detach()])

        module = First()
        kernel = TangentKernel().run(Net(module), batch())
        assert bool((kernel[:8, :8].diagonal() > 0).all())
        assert bool((kernel[8:] == 0).all())

    def test_targets(self):
        assert torch.equal(Targets().run(Net(nn.ReLU()), batch()), batch().targets)


class TestPatterns:
    def test_bits(self):
        net = Net(networks.network("Plain"))
        rows = Patterns().run(net, batch())
        units = sum(code.flatten(1).shape[1] for code in traced(net.module).codes)
        assert rows.dtype == torch.uint8
        assert rows.shape == (16, -(-units // 8))
        codes = torch.cat([code.flatten(1) for code in traced(net.module).codes], dim=1)
        bits = (rows[:, :, None] >> torch.arange(8)) & 1
        assert torch.equal(bits.flatten(1)[:, :units].bool(), codes)

    def test_crops_come_from_every_image_channel_and_place(self):
        images = torch.arange(2 * 3 * 4 * 4.0).reshape(2, 3, 4, 4)
        crops = Patterns(samples=600)._crops(Net(nn.ReLU()), images)
        assert crops.shape == (600, 1, 3, 3)
        assert set(crops[:, 0, 0, 0].tolist()) == set(images[:, :, :2, :2].flatten().tolist())
        assert torch.equal(crops[0, 0] - crops[0, 0, 0, 0], images[0, 0, :3, :3])

    def test_crops_of_images_too_small(self):
        scores = evaluate(of_space("convolutions"), batch(h=2, w=2), "linear_regions")
        assert scores.reasons == {"linear_regions": "images of 2 × 2 pixels have no crops of 3 × 3"}


class TestInputGrads:
    @pytest.mark.parametrize(
        ("dtype", "share", "zero"),
        [
            (torch.bfloat16, 0.1, False),
            (torch.bfloat16, 0.01, True),
            (torch.float32, 0.01, False),
            (torch.float32, 1e-5, True),
        ],
    )
    def test_what_is_small_beside_other_sums_is_rounding(self, dtype, share, zero):
        """Logits w·x and −(1 − share)·w·x: their sum has about half the share of their difference.

        Half precision cannot be held to as many times its rounding as others are.
        """
        layer = nn.Linear(4, 2)
        nn.init.constant_(layer.weight[0], 1.0)
        nn.init.constant_(layer.weight[1], share - 1)
        shown = Batch(torch.full((8, 4), 100.0, dtype=dtype), torch.arange(8) % 2)
        net = Net(layer.to(dtype))
        found = InputGrads().run(net, shown, Forward().run(net, shown))
        assert found.shape == (8, 4)
        assert bool((found == 0).all()) is zero


class TestPerturbed:
    def test_gamma_scales_the_second_input(self):
        net, shown = Net(networks.network("Plain")), batch()
        small, none = (Perturbed(gamma=g).run(net, shown) for g in (1e-6, 0.0))
        assert torch.equal(none.clean, none.perturbed)
        assert torch.equal(none.clean, small.clean)
        assert 0 < float((small.clean - small.perturbed).abs().max()) < 1e-2

    def test_every_average_over_the_whole_map_is_a_global_pooling(self):
        pools = (
            nn.AdaptiveAvgPool2d(1),
            nn.AdaptiveMaxPool2d(1),
            nn.AvgPool2d(16),
            lambda x: x.mean((2, 3)),
            lambda x: x.mean([-1, -2], keepdim=True),
            lambda x: torch.mean(x, dim=(2, 3)),
        )
        for pool in pools:
            module = networks.Plain().double()
            module.conv2.stride = (1, 1)
            module.pool = pool if isinstance(pool, nn.Module) else nn.Identity()
            module.forward = lambda x, m=module, pool=pool: m.head(pool(m.features(x)).flatten(1))
            assert Perturbed().run(Net(module), batch()).clean.shape == (16, 16, 16, 16)

    def test_other_averages_are_not(self):
        class Rows(nn.Module):
            def forward(self, x):
                return F.avg_pool2d(x, 2).mean(3).mean()[None].expand(len(x), 1)

        with pytest.raises(Undefined, match="no global pooling"):
            Perturbed().run(Net(Rows()), batch())

    def test_what_is_overwritten_after_a_pooling_is_kept_as_it_was(self):
        class Gated(networks.Plain):
            def __init__(self, inplace):
                super().__init__()
                self.inplace = inplace

            def forward(self, x):
                x = self.features(x)
                gate = x.mean((2, 3), keepdim=True).sigmoid()
                x = x.mul_(gate) if self.inplace else x * gate
                return self.head(x.flatten(2).mean(2))

        one, other = (networks.fill(Gated(inplace)).double() for inplace in (True, False))
        assert evaluate(one, batch(), "zen").found == evaluate(other, batch(), "zen").found

    @pytest.mark.parametrize("names", ["ab", "ba"])
    def test_a_layer_that_shares_its_weight_gets_noise(self, names):
        class Tied(nn.Module):
            def __init__(self):
                super().__init__()
                made = {"a": nn.Embedding(3, 3), "b": nn.Linear(3, 3, bias=False)}
                for name in names:
                    self.add_module(name, made[name])
                self.b.weight = self.a.weight

            def forward(self, x):
                return F.adaptive_avg_pool2d(self.b(x.movedim(1, -1)), 1).flatten(1)

        clean = []
        for constant in (1.0, 2.0):
            module = Tied().double()
            nn.init.constant_(module.a.weight, constant)
            clean.append(Perturbed().run(Net(module), batch()).clean)
        assert torch.equal(*clean)


class TestFixedTangentKernel:
    @pytest.mark.parametrize("name", ["Plain", "Residual", "NoNorm", "InplaceRelu", "Activations"])
    def test_equals_the_kernel_of_a_network_whose_statistics_are_constants(self, monkeypatch, name):
        net, shown = Net(networks.network(name)), batch()
        monkeypatch.setattr(passes.tangent, "_is_narrow", lambda net: False)  # by autograd
        with observe.freezing_batch_norm([]):
            rows = passes.TangentKernel().run(net, shown)
        torch.testing.assert_close(
            passes.FixedTangentKernel().run(net, shown), rows, rtol=1e-9, atol=1e-12
        )

    def test_of_grouped_strided_and_dilated_convolutions(self, monkeypatch):
        module = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2, 1, groups=3), nn.BatchNorm2d(6), nn.ReLU(),
            nn.Conv2d(6, 4, 3, padding=2, dilation=2, bias=False), nn.BatchNorm2d(4, affine=False),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10),
        )  # fmt: skip
        net, shown = Net(networks.fill(module).double()), batch()
        monkeypatch.setattr(passes.tangent, "_is_narrow", lambda net: False)  # by autograd
        with observe.freezing_batch_norm([]):
            rows = passes.TangentKernel().run(net, shown)
        torch.testing.assert_close(
            passes.FixedTangentKernel().run(net, shown), rows, rtol=1e-9, atol=1e-12
        )

    def test_is_the_exact_kernel_without_normalisation(self):
        net, shown = Net(networks.network("NoNorm")), batch()
        exact = passes.TangentKernel().run(net, shown)
        torch.testing.assert_close(passes.FixedTangentKernel().run(net, shown), exact)

    @pytest.mark.parametrize("name", ["Transformer"])
    def test_says_which_weight_it_cannot_tell_apart(self, name):
        with pytest.raises(Undefined, match="not told apart"):
            passes.FixedTangentKernel().run(Net(networks.network(name)), batch())

    @pytest.mark.parametrize(
        "body",
        [
            lambda net, x: net.b(F.relu(x, inplace=True)),
            lambda net, x: net.b(net.b(x).relu()),
            lambda net, x: net.b(x) + F.conv2d(x, net.a.weight, padding=(1, 1)),
        ],
        ids=("once", "a module twice", "a function beside a module"),
    )
    @pytest.mark.parametrize("tied", [False, True])
    def test_of_weights_that_several_read(self, body, tied):
        module = Shares(body).double()
        if tied:
            module.b.weight = module.a.weight
        net, shown = Net(module), batch(n=5)
        exact = passes.TangentKernel().run(net, shown)
        torch.testing.assert_close(passes.FixedTangentKernel().run(net, shown), exact)

    def test_undefined_where_a_weight_is_read_otherwise(self):
        net = Net(Shares(lambda net, x: net.b(x) * net.a.weight.mean()).double())
        with pytest.raises(Undefined, match=r"gradients of a\.weight are not told apart by sample"):
            passes.FixedTangentKernel().run(net, batch(n=5))


class Shares(nn.Module):
    """Two convolutions, put together by `body`."""

    def __init__(self, body):
        super().__init__()
        self.a = nn.Conv2d(3, 3, 3, stride=2, padding=1, padding_mode="reflect", bias=False)
        self.b = nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Linear(3, 4)
        self.body = body
        networks.fill(self)

    def forward(self, x):
        return self.head(self.body(self, self.a(x)).mean((2, 3)))
