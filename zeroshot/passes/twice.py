"""Operations that take PyTorch long on the CPU, run in another way: the same but for rounding."""

from collections.abc import Callable
from inspect import signature
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from zeroshot.narrow import (
    Norm,
    average_of_neighbours,
    is_average_of_neighbours,
    is_narrow,
    normalise,
    normalise_backward,
)
from zeroshot.observe import tensors_in


class cheap_on_few_channels(TorchFunctionMode):  # noqa: N801 - reads as `with cheap…`
    """Run normalisation and pooling of maps with few channels faster; see `narrow`.

    But for what a network runs in another precision of its own accord, under autocast.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _is_cast():
            return func(*args, **kwargs)
        if func is F.batch_norm:
            norm = Norm.of(*args, **kwargs)
            if is_narrow(norm.inputs) and _is_plain(norm):
                return _normalised(norm)
        elif func is F.avg_pool2d and is_average_of_neighbours(*args, **kwargs):
            return average_of_neighbours(args[0])
        return func(*args, **kwargs)


class cheap_to_differentiate_twice(cheap_on_few_channels):  # noqa: N801 - reads as `with cheap…`
    """Run convolutions, ReLU and batch normalisation so that gradients of gradients cost little.

    On the CPU, where PyTorch puts the second derivative of batch normalisation together from some
    twenty runs over the map, and that of a convolution from convolutions with kernels as large as
    maps. Answers and gradients are to the last bit those of `cheap_on_few_channels`, and second
    derivatives the same but for rounding.
    """

    def __init__(self) -> None:
        super().__init__()
        self._scales: dict[int, Tensor] = {}
        self._elsewhere: set[int] = set()  # leaves that something else reads

    @property
    def scales(self) -> dict[int, Tensor]:
        """By a weight's id: a 1, as if it were multiplied with the weight wherever that is read.

        A derivative for it is one along the weight. What a convolution gives is in proportion to
        its weight, so that this takes a sum over the map, no gradient for the weight. Of those
        leaves alone that nothing but such convolutions read.
        """
        own = self._scales.keys() - self._elsewhere
        return {key: scale for key, scale in self._scales.items() if key in own}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _is_cast():
            output = func(*args, **kwargs)
        else:
            if func is F.conv2d:
                inputs, weight, bias, *rest = convolution_arguments(*args, **kwargs)
                how = _How(*rest)
                plain = bias is None and inputs.ndim == 4 and not isinstance(how.padding, str)
                if plain and _is_differentiated(inputs):
                    return _convolution(inputs, weight, how, self._scale_of(weight))
            output = self._run(func, types, args, kwargs)
        if any(True for _ in tensors_in(output)):  # what gives none tells a shape, say
            self._elsewhere |= {id(part) for part in tensors_in((args, kwargs)) if _is_leaf(part)}
        return output

    def _scale_of(self, weight: Tensor) -> Tensor | None:
        if not _is_leaf(weight):
            return None
        return self._scales.setdefault(id(weight), weight.new_ones(()).requires_grad_())

    def _run(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func is F.relu:
            call = _RELU.bind(*args, **kwargs).arguments
            if _is_differentiated(call["input"]) and not call.get("inplace"):
                return _Relu.apply(call["input"])
        elif func is F.batch_norm:
            norm = Norm.of(*args, **kwargs)
            few = norm.inputs.ndim < 2 or norm.inputs.numel() <= norm.inputs.shape[1]  # an error
            if not few and _is_differentiated(norm.inputs) and _is_plain(norm):
                return _normalised(norm)
        return super().__torch_function__(func, types, args, kwargs)


def _is_leaf(tensor: Tensor) -> bool:
    return tensor.requires_grad and tensor.is_leaf


def _is_plain(norm: Norm) -> bool:
    """Whether it takes the batch's statistics, and no weight is zero, by which is divided below."""
    return norm.training and (norm.weight is None or bool(norm.weight.all()))


def _normalised(norm: Norm) -> Tensor:
    inputs, mean, variance, weight, bias, _, momentum, epsilon = norm
    return _BatchNorm.apply(inputs, weight, bias, mean, variance, momentum, epsilon)


def _is_cast() -> bool:
    """Whether the CPU, where alone anything is run in another way, casts what functions get."""
    return torch.is_autocast_enabled("cpu")


def _is_differentiated(inputs: Tensor) -> bool:
    return inputs.device.type == "cpu" and inputs.requires_grad and torch.is_grad_enabled()


class _How(NamedTuple):
    stride: Any
    padding: Any
    dilation: Any
    groups: int


def _conv2d(
    input: Tensor,  # noqa: A002 - so called by callers
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> None:
    """The arguments of F.conv2d, which tells no signature."""


_RELU, _CONV = signature(F.relu), signature(_conv2d)


def convolution_arguments(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """All arguments of a call of F.conv2d, in order."""
    call = _CONV.bind(*args, **kwargs)
    call.apply_defaults()
    return call.args


# A convolution and its two gradients are products of two of three things: x, w, and a gradient g of
# the output. The derivatives of each of these products are the other two.


def _convolution(x: Tensor, w: Tensor, how: _How, scale: Tensor | None = None) -> Tensor:
    value = F.conv2d(x.detach(), w.detach(), None, *how)
    return _product(
        value,
        (x, w),
        lambda g, x, w: _inward(g, w, x.detach(), how, scale),
        lambda g, x, w: _of_weight(g, x, w.detach(), how),
        scale=scale,
    )


def _inward(g: Tensor, w: Tensor, like: Tensor, how: _How, scale: Tensor | None = None) -> Tensor:
    return _product(
        _kernel(g, like, w, how, 0),
        (g, w),
        lambda v, g, w: _convolution(v, w, how),
        lambda v, g, w: _of_weight(g, v, w.detach(), how),
        scale=scale,
    )


def _of_weight(g: Tensor, x: Tensor, like: Tensor, how: _How) -> Tensor:
    return _product(
        _kernel(g, x, like, how, 1),
        (g, x),
        lambda v, g, x: _convolution(x, v, how),
        lambda v, g, x: _inward(g, v, x.detach(), how),
    )


def _kernel(g: Tensor, x: Tensor, w: Tensor, how: _How, which: int) -> Tensor:
    """PyTorch's gradient of a convolution for its inputs (0) or weight (1)."""
    stride, padding, dilation = ([n, n] if isinstance(n, int) else list(n) for n in how[:3])
    given = (g.detach(), x.detach(), w.detach())
    wanted = [which == 0, which == 1, False]
    return torch.ops.aten.convolution_backward(
        *given, None, stride, padding, dilation, False, [0, 0], how.groups, wanted
    )[which]


Back = Callable[..., Tensor]


def _product(
    value: Tensor, factors: tuple[Tensor, Tensor], *backs: Back, scale: Tensor | None = None
) -> Tensor:
    """A value with an edge of its own to each factor, so that no gradient is computed in vain.

    One function of both factors would compute both gradients even if one is asked for.
    """
    if not torch.is_grad_enabled():
        return value
    pairs = zip(factors, backs, strict=True)
    edges = [_Edge.apply(f, value, back, factors) for f, back in pairs if f.requires_grad]
    if scale is not None and edges:
        edges.append(_Scale.apply(scale, value))
    return _Joined.apply([value], *edges) if edges else value


class _Edge(Function):
    """Zero in the shape of the value, whose gradient it carries back to one factor."""

    @staticmethod
    def forward(
        ctx: Any, factor: Tensor, value: Tensor, back: Back, factors: tuple[Tensor, Tensor]
    ) -> Tensor:
        ctx.back = back
        ctx.save_for_backward(*factors)
        return value.new_zeros(()).expand(value.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.back(gradient, *ctx.saved_tensors), None, None, None


class _Scale(Function):
    """Zero in the shape of the value, as an edge to a factor of one."""

    @staticmethod
    def forward(ctx: Any, scale: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(value.detach())  # or the value would hold itself alive
        return value.new_zeros(()).expand(value.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (value,) = ctx.saved_tensors
        return _sums(gradient, value).sum(), None


class _Joined(Function):
    """The value, as the sum of its edges."""

    @staticmethod
    def forward(ctx: Any, held: list[Tensor], *edges: Tensor) -> Tensor:
        ctx.count = len(edges)
        return held.pop()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *[gradient] * ctx.count


class _Relu(Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        output = inputs.relu()
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (output,) = ctx.saved_tensors
        return _Masked.apply(gradient, output.detach())


class _Masked(Function):
    """Linear in the gradient, and without a derivative for what masks it."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, output: Tensor) -> Tensor:
        ctx.save_for_backward(output)
        return torch.ops.aten.threshold_backward(gradient, output, 0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Masked.apply(gradient, *ctx.saved_tensors), None


class _BatchNorm(Function):
    """x̂ · γ + β with x̂ = (x − mean x) s and s = 1 / √(var x + ε), per channel."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        momentum: float,
        epsilon: float,
    ) -> Tensor:
        norm = Norm(inputs, running_mean, running_var, weight, bias, True, momentum, epsilon)
        output, mean, scale = normalise(norm)
        ctx.save_for_backward(inputs, weight, mean, scale)
        ctx.epsilon = epsilon
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, mean, scale = ctx.saved_tensors
        back = _BatchNormBackward.apply if torch.is_grad_enabled() else _backward
        found = back(gradient, inputs, weight, mean, scale, ctx.epsilon)
        wanted = ctx.needs_input_grad[:3]
        return *(g if want else None for g, want in zip(found, wanted, strict=True)), *[None] * 4


class _BatchNormBackward(Function):
    """From a gradient u of the output: γ s P u for the inputs, Σ u x̂ for γ and Σ u for β.

    P u = u − mean u − x̂ · mean(u x̂), with sums and means over all but the channels.
    """

    @staticmethod
    def forward(
        ctx: Any,
        gradient: Tensor,
        inputs: Tensor,
        weight: Tensor | None,
        mean: Tensor,
        scale: Tensor,
        epsilon: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        back, of_weight, of_bias = _backward(gradient, inputs, weight, mean, scale, epsilon)
        ctx.save_for_backward(inputs, weight, mean, scale, back, of_weight)
        ctx.epsilon = epsilon
        ctx.set_materialize_grads(False)
        return back, of_weight, of_bias

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, second: Tensor | None, a: Tensor | None, b: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """From v for the first result, and a and b per channel for the others.

        For u: γ s P v + a x̂ + b. For γ: φ = Σ v · s P u. For the inputs, n values per channel:
        −(γ s / n) (x̂ φ + (Σ v x̂) · s P u + (Σ u x̂) · s P v) + a s P u.
        """
        inputs, weight, mean, scale, back, of_weight = ctx.saved_tensors
        over = -scale * inputs.shape[1] / inputs.numel()
        none = torch.zeros_like(scale)
        for_weight, of_second, dot = None, none, none
        carried = None
        if second is not None:
            carried, of_second, _ = _backward(second, inputs, weight, mean, scale, ctx.epsilon)
            dot = _sums(second, back)
            if weight is not None:
                for_weight = dot / weight
        slope = dot * over * scale  # of x in x̂
        for_inputs = torch.addcmul(
            _spread(-slope * mean, inputs), inputs, _spread(slope, inputs)
        ).addcmul_(back, _spread(of_second * over, inputs))
        if carried is not None:
            for_inputs.addcmul_(carried, _spread(of_weight * over, inputs))
        for_gradient = carried
        if a is not None:
            share = a if weight is None else a / weight
            for_inputs.addcmul_(back, _spread(share, inputs))
            slope = a * scale
            line = torch.addcmul(_spread(-slope * mean, inputs), inputs, _spread(slope, inputs))
            for_gradient = line if for_gradient is None else for_gradient + line
        if b is not None:
            line = _spread(b, inputs)
            for_gradient = line.expand_as(inputs) if for_gradient is None else for_gradient + line
        return for_gradient, for_inputs, for_weight, None, None, None


def _backward(
    gradient: Tensor,
    inputs: Tensor,
    weight: Tensor | None,
    mean: Tensor,
    scale: Tensor,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor]:
    if is_narrow(inputs):
        return normalise_backward(gradient, inputs, weight, mean, scale)
    return torch.ops.aten.native_batch_norm_backward(
        gradient, inputs, weight, None, None, mean, scale, True, epsilon, [True, True, True]
    )


def _sums(one: Tensor, other: Tensor) -> Tensor:
    """Σ one · other per channel, in one run over both: what the gradient of a scale comes to."""
    zero = one.new_zeros(one.shape[1])
    _, found, _ = torch.ops.aten.native_batch_norm_backward(
        one, other, None, None, None, zero, zero + 1, True, 0.0, [False, True, False]
    )
    return found


def _spread(numbers: Tensor, like: Tensor) -> Tensor:
    """A number per channel as one sample of a map, in its layout: products with it are faster."""
    return torch.empty_like(like[:1]).copy_(numbers.view(1, -1, *[1] * (like.ndim - 2)))
