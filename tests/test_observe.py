import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from tests import networks
from zeroshot.core import Batch, Net
from zeroshot.errors import Undefined
from zeroshot.observe import (
    by_sample,
    bypassing_batch_norm,
    convolving_by_matrix,
    hooked,
    tapping_activations,
    watching_activations,
    watching_pools,
)
from zeroshot.scoring import evaluate

MODULES = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU),
    *(nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish),
)
X = torch.linspace(-2, 2, 12).reshape(3, 4)


def codes_of(function):
    codes = []
    with watching_activations(codes):
        function(X.clone())
    return codes


class TestTaps:
    @pytest.mark.parametrize("inplace", [False, True])
    def test_inputs_and_their_gradients_whatever_is_overwritten(self, inplace):
        seen, gradients = [], []

        def tap(given):
            seen.append(given.detach().clone())
            given.register_hook(gradients.append)

        leaf = X.clone().requires_grad_()
        with tapping_activations(tap):
            doubled = 2 * leaf
            output = F.leaky_relu(doubled, 0.5, inplace=inplace)
        assert (output is doubled) == inplace
        assert torch.equal(output, F.leaky_relu(2 * X, 0.5))
        output.sum().backward()
        slopes = torch.where(X > 0, 1.0, 0.5)
        assert torch.equal(seen[0], 2 * X)
        assert torch.equal(gradients[0], slopes)
        assert torch.equal(leaf.grad, 2 * slopes)

    def test_by_name_and_nothing_else(self):
        seen = []
        with tapping_activations(seen.append):
            F.relu(input=X)
            torch.tanh(X)
            F.hardtanh(X)
        assert len(seen) == 1


class TestActivations:
    @pytest.mark.parametrize("kind", MODULES)
    def test_modules(self, kind):
        (code,) = codes_of(kind())
        assert torch.equal(code, X > 0)

    @pytest.mark.parametrize("kind", [k for k in MODULES if k not in (nn.PReLU, nn.GELU)])
    def test_modules_in_place(self, kind):
        (code,) = codes_of(kind(inplace=True))
        assert torch.equal(code, X > 0)

    @pytest.mark.parametrize(
        "function",
        [
            F.relu,
            F.relu_,
            torch.relu,
            torch.relu_,
            torch.Tensor.relu,
            torch.Tensor.relu_,
            F.relu6,
            F.gelu,
            F.silu,
            lambda x: F.relu(x, inplace=True),
            lambda x: F.relu(input=x),
            lambda x: F.hardtanh(x, 0, 6),
            lambda x: F.hardtanh(x, min_val=0.0, max_val=6.0),
            lambda x: F.leaky_relu(x, 0.2),
            lambda x: x.view(2, 6).relu().view(3, 4),
        ],
    )
    def test_functions_and_methods(self, function):
        (code,) = codes_of(function)
        assert torch.equal(code.flatten(), X.flatten() > 0)

    @pytest.mark.parametrize(
        "function",
        [nn.Tanh(), nn.Sigmoid(), nn.Hardtanh(), nn.Hardsigmoid(), nn.Softplus(), torch.abs],
    )
    def test_what_does_not_bend_at_zero(self, function):
        assert codes_of(function) == []

    def test_outside_nothing_is_seen(self):
        codes = codes_of(nn.ReLU())
        nn.ReLU()(X)
        assert len(codes) == 1

    def test_the_result_is_what_it_would_be(self):
        with watching_activations([]):
            assert torch.equal(F.relu(X), X.clamp(min=0))


class TestPools:
    IMAGES = torch.rand(2, 3, 4, 4)

    @pytest.mark.parametrize(
        ("function", "seen"),
        [
            (nn.AdaptiveAvgPool2d(1), True),
            (nn.AdaptiveMaxPool2d(1), True),
            (nn.AvgPool2d(4), True),
            (nn.AvgPool2d(2), False),
            (lambda x: F.avg_pool2d(x, kernel_size=(4, 4)), True),
            (lambda x: x.mean((2, 3)), True),
            (lambda x: x.mean([-1, -2], True), True),
            (lambda x: torch.mean(x, dim=(3, 2)), True),
            (lambda x: torch.mean(input=x, dim=(3, 2)), True),
            (lambda x: x.mean(), False),
            (lambda x: x.mean(1), False),
            (lambda x: x.mean((0, 1)), False),
            (lambda x: x.flatten(2).mean(2), False),
        ],
    )
    def test_global_ones(self, function, seen):
        pooled = []
        with watching_pools(pooled):
            function(self.IMAGES)
        assert len(pooled) == seen
        assert all(torch.equal(given, self.IMAGES) for given in pooled)


class TestBatchNorm:
    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("kind", [nn.BatchNorm2d, nn.SyncBatchNorm])
    def test_is_bypassed(self, kind, training):
        images, norm = torch.rand(2, 3, 4, 4), kind(3).train(training)
        with bypassing_batch_norm():
            assert torch.equal(norm(images), images)

    def test_others_are_not(self):
        images = torch.rand(2, 4, 4, 4)
        with bypassing_batch_norm():
            for norm in (nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.LayerNorm(4)):
                assert not torch.equal(norm(images), images)


class TestConvolutions:
    @pytest.mark.parametrize(
        "layer",
        [
            nn.Conv2d(4, 6, 3, padding=1),
            nn.Conv2d(4, 6, 1, stride=2, bias=False),
            nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4),
            nn.Conv2d(4, 4, 3, padding="same", groups=2),
            nn.Conv2d(4, 2, 3, padding=1, padding_mode="circular"),
        ],
        ids=str,
    )
    def test_of_tiny_maps_are_the_same_by_matrix(self, layer):
        convolved = []

        class Watching(TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None):
                if func is F.conv2d:
                    convolved.append(args[0])
                return func(*args, **(kwargs or {}))

        images = torch.randn(5, 4, 3, 3)
        expected = layer(images)
        with Watching(), convolving_by_matrix(limit=4 * 5 * 5):  # circular padding comes first
            found = layer(images)
        (each,) = convolved
        assert torch.equal(each.flatten(1), torch.eye(len(each)))
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)

    def test_a_weight_and_its_transpose_share_memory_and_no_matrix(self):
        images, weight = torch.randn(5, 4, 3, 3), torch.randn(6, 4, 3, 3)
        with convolving_by_matrix():
            for one in (weight, weight.transpose(2, 3)):
                found = F.conv2d(images, one, padding=1)
                expected = nn.functional.unfold(images, 3, padding=1)
                expected = (one.flatten(1) @ expected).unflatten(2, (3, 3))
                torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)

    def test_of_larger_maps_and_of_single_images_are_left_alone(self):
        layer = nn.Conv2d(4, 6, 3)
        for images in (torch.randn(5, 4, 8, 8), torch.randn(4, 3, 3)):
            expected = layer(images)
            with convolving_by_matrix():
                assert torch.equal(layer(images), expected)


class TestHooks:
    def test_go_even_after_an_error(self):
        module = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        with pytest.raises(KeyError), hooked(module, lambda *_: None):
            raise KeyError
        assert not any(part._forward_hooks for part in module.modules())

    def test_one_for_each_module(self):
        seen = []
        module = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
        with hooked((module[2], module[0]), lambda part, *_: seen.append(part)):
            module(torch.ones(1, 2))
        assert seen == [module[0], module[2]]


class TestBySample:
    def test_samples_first(self):
        values = torch.rand(4, 3, 2)
        assert by_sample(values, 4) is values

    def test_samples_second(self):
        values = torch.rand(7, 4, 2)
        assert torch.equal(by_sample(values, 4), values.transpose(0, 1))

    def test_windows(self):
        values = torch.rand(12, 5, 2)
        assert torch.equal(by_sample(values, 4), values.view(4, 3, 5, 2))

    @pytest.mark.parametrize("shape", [(), (7,), (7, 3, 4)])
    def test_nowhere(self, shape):
        with pytest.raises(Undefined, match="4 samples are not found"):
            by_sample(torch.rand(shape), 4)

    def test_as_many_tokens_as_samples(self):
        values = torch.rand(4, 4, 2)
        assert by_sample(values, 4) is values
        with pytest.raises(Undefined, match="use another batch size"):
            by_sample(values, 4, nn.Sequential(nn.LSTM(2, 3)))
        assert by_sample(values, 4, nn.LSTM(2, 3, batch_first=True)) is values
        for one in (torch.rand(4, 4), torch.rand(4, 4, 3, 3)):
            assert by_sample(one, 4, nn.LSTM(2, 3)) is one

    def test_as_many_tokens_in_a_window_as_samples(self):
        values = torch.rand(12, 4, 2)
        assert torch.equal(by_sample(values, 4, nn.LSTM(2, 3)), values.transpose(0, 1))
        with pytest.raises(Undefined, match="use another batch size"):
            by_sample(values, 4, nn.Linear(2, 3))
        for one in (torch.rand(12, 4), torch.rand(12, 4, 3, 3)):
            assert torch.equal(by_sample(one, 4, nn.Linear(2, 3)), one.unflatten(0, (4, 3)))


@pytest.mark.parametrize("batch_first", [True, False])
def test_of_as_many_tokens_as_samples(batch_first):
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=batch_first)
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            x = self.layer(x if batch_first else x.transpose(0, 1))
            return self.head(x.mean(1 if batch_first else 0))

    for tokens in (5, 6):
        module = networks.fill(Tokens())
        shown = Batch(networks.batch(n=6, h=tokens, w=4)[0][:, 0].float(), torch.arange(6) % 3)
        reasons = evaluate(
            Net(module, blocks=("layer",)), shown, "fisher,naswot,swap,meco,wrcor"
        ).reasons
        assert len(reasons) == (0 if batch_first or tokens == 5 else 5)
        assert all("use another batch size" in reason for reason in reasons.values())
