"""What a tape holds: function calls, and how gradients of their outputs are carried back."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd import grad

from zeroshot.passes.tape.rows import Found, Gradient, as_it_lies, stacked


@dataclass(frozen=True, eq=False)
class Norm:
    """Batch normalisation by the batch's statistics, as it ran."""

    weight: Tensor | None  # γ
    scale: Float[Tensor, " c"]  # s, 1 / deviation
    normal: Float[Tensor, "n c ..."]  # x̂

    @cached_property
    def slope(self) -> Float[Tensor, " c"]:
        """γ s."""
        return self.scale if self.weight is None else self.scale * self.weight

    def back(self, gradient: Gradient, inputs: Tensor) -> Found:
        """Gradients for its inputs and γ."""
        given, normal = gradient.whole, self.normal.unsqueeze(-1)
        axes = (0, *range(2, self.normal.ndim))
        along = (given * normal).mean(axes, keepdim=True)
        centred = given - given.mean(axes, keepdim=True)
        slope = self.slope.view(-1, *[1] * (given.ndim - 2))
        yield inputs, Gradient((centred - normal * along) * slope, own=True)
        if self.weight is not None:
            count = self.normal.numel() // len(self.scale)
            yield self.weight, Gradient(along.view(len(self.scale), -1) * count, own=True)


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution without groups, as it ran."""

    maps: Float[Tensor, "n i h w"]  # z
    weight: Float[Tensor, "o i a b"]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @cached_property
    def kin(self) -> tuple[object, ...]:
        """Equal where one is the other with zeros around its kernel."""
        sizes = zip(self.weight.shape[2:], self.padding, self.dilation, strict=True)
        beyond = tuple(2 * padding - apart * (size - 1) for size, padding, apart in sizes)
        return self.stride, self.dilation, beyond, tuple(k % 2 for k in self.weight.shape[2:])

    @property
    def nbytes(self) -> int:
        """About what a `Source` keeps of it, at most."""
        return self.maps.nbytes * (self.weight[0, 0].numel() + 2 * len(self.weight))


@dataclass(frozen=True, eq=False)
class Step:
    """One function call."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Opaque(Step):
    """A function of whatever kind, differentiated by autograd row by row."""

    leaves: tuple[Tensor, ...]  # the inputs, in a graph of their own
    answers: tuple[Tensor, ...]  # the outputs there

    def back(self, gradients: Sequence[Gradient | None]) -> Found:
        """Gradients for the inputs, from gradients of the outputs."""
        pairs = zip(self.answers, gradients, strict=True)
        given = [(answer, gradient.whole) for answer, gradient in pairs if gradient is not None]
        if not given:
            return
        answers, told = zip(*given, strict=True)
        rows = [
            grad(answers, self.leaves, row, retain_graph=True, allow_unused=True)
            for row in zip(*(rows.unbind(-1) for rows in told), strict=True)
        ]
        for tensor, found in zip(self.inputs, zip(*rows, strict=True), strict=True):
            if found[0] is not None:
                yield tensor, Gradient(stacked(found), own=True)


class Rule(Step, ABC):
    """A function with one output, differentiated by us."""

    @abstractmethod
    def back(self, gradient: Gradient) -> Found:
        """Gradients for the inputs, from a gradient of the output."""


class Sum(Rule):
    """The sum of two tensors of one shape."""

    def back(self, gradient: Gradient) -> Found:
        """The gradient itself, for both."""
        for tensor in self.inputs:
            yield tensor, gradient


@dataclass(frozen=True, eq=False)
class Quotient(Rule):
    """A tensor divided by a number."""

    divisor: int | float

    def back(self, gradient: Gradient) -> Found:
        """A scaled gradient."""
        yield self.inputs[0], Gradient(gradient.rows, gradient.scale / self.divisor)


class Relu(Rule):
    """A ReLU."""

    @cached_property
    def _mask(self) -> Tensor:
        return (self.outputs[0] != 0).to(self.outputs[0].dtype).unsqueeze(-1)

    def back(self, gradient: Gradient) -> Found:
        """A masked gradient."""
        yield self.inputs[0], Gradient(gradient.rows, gradient.scale, self._mask)


@dataclass(frozen=True, eq=False)
class Pool(Rule):
    """Means over rectangles, of every row of a channel as if it were a channel."""

    how: tuple[Any, ...]  # settings of F.avg_pool2d, sizes as pairs; none if it is the adaptive one

    def back(self, gradient: Gradient) -> Found:
        """The gradient for the input."""
        given = as_it_lies(gradient.rows)
        found = self._undone(given.flatten(3).permute(0, 3, 1, 2), gradient.scale)
        found = found.permute(0, 2, 3, 1).unflatten(3, given.shape[3:])
        yield self.inputs[0], Gradient(found.permute(0, 3, 1, 2, 4), own=True)

    def _undone(self, maps: Tensor, scale: float) -> Tensor:
        n, channels = maps.shape[:2]
        if self._shares is not None:  # a convolution takes a third of the time
            kernel, _, padding, *_ = self.how
            beyond = [size - 1 - pad for size, pad in zip(kernel, padding, strict=True)]
            ones = maps.new_ones(channels, 1, *kernel)
            return F.conv2d(maps * (self._shares * scale), ones, None, 1, beyond, 1, channels)
        undo = torch.ops.aten.avg_pool2d_backward
        undo = undo if self.how else torch.ops.aten._adaptive_avg_pool2d_backward
        shape = n, channels, *self.inputs[0].shape[2:]
        like = torch.empty(shape, dtype=maps.dtype, memory_format=torch.channels_last)
        return undo(maps, like, *self.how).mul_(scale)

    @cached_property
    def _shares(self) -> Tensor | None:
        """What a window's sum was multiplied with, if windows are a step apart."""
        maps = self.inputs[0]
        if not self.how or self.how[1] != (1, 1) or maps.dtype != torch.float32:
            return None
        kernel, _, padding, *_ = self.how
        one = torch.ones_like(maps[:1, :1])
        return F.avg_pool2d(one, *self.how) / F.avg_pool2d(
            one, kernel, 1, padding, divisor_override=1
        )


@dataclass(frozen=True, eq=False)
class Normalised(Rule):
    """A batch normalisation."""

    norm: Norm

    def back(self, gradient: Gradient) -> Found:
        """Gradients for the input and γ."""
        yield from self.norm.back(gradient, self.inputs[0])


@dataclass(frozen=True, eq=False)
class Convolved(Step):
    """A convolution, which `Replay` carries back together with others."""

    conv: Convolution
