"""Operations that are cheap to differentiate twice, against PyTorch's own."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function, grad, gradcheck, gradgradcheck
from torch.utils.flop_counter import FlopCounterMode

from tests import networks
from tests.checks import NETS, batch
from zeroshot.core import Batch, Net
from zeroshot.passes import Curvature, Forward, LossBackward
from zeroshot.passes.forward import Trace
from zeroshot.passes.twice import cheap_to_differentiate_twice
from zeroshot.scoring import evaluate


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normalised(inputs: Tensor, *affine: Tensor) -> Tensor:
    weight, bias = affine or (None, None)
    return F.batch_norm(inputs, None, None, weight, bias, training=True)


SHAPES = {"rows": (7, 3), "sequences": (4, 3, 5), "maps": (4, 3, 5, 2)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("affine", [False, True])
def test_derivatives_of_batch_norm_are_those_of_differences(shape, affine):
    given = [drawn(*shape), drawn(3, seed=1) + 3, drawn(3, seed=2)][: 3 if affine else 1]
    for each in given:
        each.requires_grad_()
    with cheap_to_differentiate_twice():
        assert gradcheck(normalised, given)
        assert gradgradcheck(normalised, given)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("seen", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_second_derivatives_are_pytorchs(layout, seen):
    """Through ReLU too, from the gradients `seen` of inputs, scale and shift."""

    def run(*, cheap: bool) -> tuple[list[Tensor], list[Tensor]]:
        inputs = (2 * drawn(6, 4, 5, 3) + 1).contiguous(memory_format=layout)
        leaves = [inputs, drawn(4, seed=1), drawn(4, seed=2)]
        leaves = [leaf.requires_grad_() for leaf in leaves]
        outward = drawn(6, 4, 5, 3, seed=3).requires_grad_()
        with cheap_to_differentiate_twice() if cheap else nullcontext():
            output = F.relu(normalised(*leaves))
        first = grad(output, leaves, outward, create_graph=True)
        total = torch.stack([(first[i] * drawn(*first[i].shape, seed=4)).sum() for i in seen]).sum()
        second = grad(total, [*leaves, outward], materialize_grads=True)
        return [output, *first], list(second)

    (first, second), (expected, twice) = run(cheap=True), run(cheap=False)
    assert all(torch.equal(a, b) for a, b in zip(first, expected, strict=True))
    for a, b in zip(second, twice, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


CONVOLUTIONS = {
    "3x3": (nn.Conv2d(3, 4, 3, padding=1, bias=False), (2, 3, 5, 4)),
    "strided": (nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), (2, 3, 5, 6)),
    "1x1": (nn.Conv2d(3, 2, 1, bias=False), (2, 3, 3, 3)),
    "grouped, dilated": (nn.Conv2d(4, 4, 3, dilation=2, groups=2, bias=False), (2, 4, 6, 5)),
    "depthwise": (nn.Conv2d(3, 3, (3, 1), padding=(1, 0), groups=3, bias=False), (2, 3, 4, 4)),
}


@pytest.mark.parametrize(("layer", "shape"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_derivatives_of_convolutions_are_those_of_differences(layer, shape):
    weight = drawn(*layer.weight.shape, seed=1).requires_grad_()
    inputs = drawn(*shape).requires_grad_()

    def convolved(inputs: Tensor, weight: Tensor) -> Tensor:
        with cheap_to_differentiate_twice():
            return torch.func.functional_call(layer, {"weight": weight}, (inputs,))

    assert "Joined" in type(convolved(inputs, weight).grad_fn).__name__
    assert gradcheck(convolved, (inputs, weight))
    assert gradgradcheck(convolved, (inputs, weight))
    own = layer._conv_forward(inputs, weight, None)
    pairs = [grad(out.square().sum(), (inputs, weight)) for out in (own, convolved(inputs, weight))]
    assert all(torch.equal(a, b) for a, b in zip(*pairs, strict=True))


def test_only_the_gradients_asked_for_are_computed():
    layer, inputs = nn.Conv2d(3, 4, 3, bias=False), torch.randn(2, 3, 8, 8).requires_grad_()
    with cheap_to_differentiate_twice():
        output = layer(inputs).sum()
    with FlopCounterMode(display=False) as counter:
        grad(output, inputs, retain_graph=True)
    one = counter.get_total_flops()
    with FlopCounterMode(display=False) as counter:
        grad(output, (inputs, layer.weight))
    assert one == 2 * 2 * 4 * 6 * 6 * 27
    assert counter.get_total_flops() == 2 * one


def test_overwriting_what_a_convolution_needs_is_an_error():
    layer, inputs = nn.Conv2d(3, 3, 1, bias=False), torch.randn(2, 3, 4, 4).requires_grad_()
    with cheap_to_differentiate_twice():
        own = inputs * 1
        output = layer(own)
        own.relu_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        grad(output.sum(), layer.weight)


def test_scales_of_zero_and_layers_that_overwrite_are_pytorchs_own():
    layers = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(inplace=True)).double()
    nn.init.zeros_(layers[0].weight)  # type: ignore[arg-type]
    with cheap_to_differentiate_twice():
        output = layers(drawn(4, 3, 2, 2).requires_grad_())
    assert "cheap" not in str(output.grad_fn)
    assert type(output.grad_fn).__name__ == "ReluBackward0"
    with cheap_to_differentiate_twice(), pytest.raises(ValueError, match="more than 1 value"):
        layers(drawn(1, 3, 1, 1).requires_grad_())


def curvature(net: Net, shown: Batch, *, twice: bool) -> tuple[Tensor, Trace]:
    trace = Forward(twice).run(net, shown)
    first = LossBackward(twice=True).run(net, shown, trace)
    return Curvature().run(net, shown, trace, first), trace


@pytest.mark.parametrize("name", ["Plain", "Residual", "InplaceRelu", "nasbench201-convolutions"])
def test_products_with_the_hessian_are_those_of_pytorchs_own(name):
    net, shown = dict(NETS)[name](torch.float64), batch()
    one, _ = curvature(net, shown, twice=True)
    other, plain = curvature(net, shown, twice=False)
    assert not plain.scales
    torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


class Reads(nn.Module):
    """Reads a weight in several ways."""

    def __init__(self, body: Callable[["Reads", Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.again = (nn.Conv2d(3, 3, 3, padding=1, bias=False) for _ in range(2))
        self.norm, self.head = nn.BatchNorm2d(3), nn.Linear(3, 10)
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.norm(self.body(self, x))).mean((2, 3)))


class Doubled(Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        return 2 * weight.sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient.expand(3, 3, 3, 3)


READS = {
    "once": (lambda n, x: n.again(F.relu(n.stem(x))), 2),
    "twice": (lambda n, x: n.again(F.relu(n.again(n.stem(x)))) + n.stem(x), 2),
    "decay": (lambda n, x: n.again(n.stem(x)) + n.again.weight.square().sum(), 1),
    "standardised": (
        lambda n, x: n.again(F.conv2d(x, n.stem.weight - n.stem.weight.mean(), padding=1)),
        1,
    ),
    "with a bias": (
        lambda n, x: n.again(F.conv2d(x, n.stem.weight, x.new_ones(3), padding=1)),
        1,
    ),
    "in a list": (lambda n, x: n.again(n.stem(x)) + torch.stack([n.again.weight]).sum(), 1),
    "in parts": (lambda n, x: n.again(n.stem(x)) + n.again.weight.chunk(3)[0].sum(), 1),
    "a function of its own": (lambda n, x: n.again(n.stem(x)) + Doubled.apply(n.again.weight), 1),
    "its shape": (lambda n, x: n.again(n.stem(x)) * n.again.weight.shape[0], 2),
    "by name": (lambda n, x: F.conv2d(n.stem(x), weight=n.again.weight, stride=2), 2),
}


@pytest.mark.parametrize(("body", "scaled"), READS.values(), ids=READS)
def test_weights_have_scales_where_convolutions_alone_read_them(body, scaled):
    net, shown = Net(networks.fill(Reads(body)).double()), batch()
    one, trace = curvature(net, shown, twice=True)
    assert len(trace.scales) == scaled
    other, _ = curvature(net, shown, twice=False)
    torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_the_trace_made_for_it_is_the_same_to_the_last_bit():
    net, shown = dict(NETS)["nasbench201-convolutions"](torch.float32), batch(torch.float32)
    one, other = Forward().run(net, shown), Forward(twice=True).run(net, shown)
    assert torch.equal(one.logits, other.logits)
    names = net.weights()
    leaves = ([t.inputs, *(t.leaves[name] for name in names)] for t in (one, other))
    grads = (grad(t.logits.sum(), held) for t, held in zip((one, other), leaves, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_what_a_network_casts_is_left_alone():
    class Casts(networks.Plain):
        def forward(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return super().forward(x).to(x.dtype)

    module, shown = networks.fill(Casts()), batch(torch.float32)
    both = evaluate(module, shown, "snip,grasp")
    assert not both.reasons
    assert both["snip"] == evaluate(module, shown, "snip")["snip"]
