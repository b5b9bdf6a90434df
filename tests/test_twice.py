"""ReLU and batch normalisation that are cheap to differentiate twice, against PyTorch's own."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import grad, gradcheck, gradgradcheck

from tests.checks import NETS, batch
from zeroshot.passes import CurvatureGrads, Forward, LossBackward
from zeroshot.passes.twice import cheap_to_differentiate_twice


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


def test_scales_of_zero_and_layers_that_overwrite_are_pytorchs_own():
    layers = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(inplace=True)).double()
    nn.init.zeros_(layers[0].weight)  # type: ignore[arg-type]
    with cheap_to_differentiate_twice():
        output = layers(drawn(4, 3, 2, 2).requires_grad_())
    assert "cheap" not in str(output.grad_fn)
    assert type(output.grad_fn).__name__ == "ReluBackward0"
    with cheap_to_differentiate_twice(), pytest.raises(ValueError, match="more than 1 value"):
        layers(drawn(1, 3, 1, 1).requires_grad_())


@pytest.mark.parametrize("name", ["Plain", "Residual", "InplaceRelu", "nasbench201-convolutions"])
def test_products_with_the_hessian_are_those_of_pytorchs_own(name):
    net, shown = dict(NETS)[name](torch.float64), batch()

    def products(*, twice: bool) -> tuple[Tensor, ...]:
        trace = Forward(twice).run(net, shown)
        first = LossBackward(twice=True).run(net, shown, trace)
        return CurvatureGrads().run(net, shown, trace, first).grads

    for one, other in zip(products(twice=True), products(twice=False), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_the_trace_made_for_it_is_the_same_to_the_last_bit():
    net, shown = dict(NETS)["nasbench201-convolutions"](torch.float32), batch(torch.float32)
    one, other = Forward().run(net, shown), Forward(twice=True).run(net, shown)
    assert torch.equal(one.logits, other.logits)
    grads = (grad(t.logits.sum(), [t.inputs, *t.weights.values()]) for t in (one, other))
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
