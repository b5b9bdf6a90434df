"""Normalisation and pooling of maps with few channels, which PyTorch's kernels take long for.

Laid out channels last, a map of c channels is a matrix of c columns, and PyTorch's kernels go along
its rows: with three channels they use a fifth of the processor's width and less. Here several
neighbouring rows count as one.
"""

from functools import lru_cache
from inspect import signature
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

# Below, and with at least so many positions, it is worth the while.
CHANNELS = 8  # for normalisation
POOLED = 24  # channels, for pooling
POSITIONS = 4096
WIDTH = 64  # numbers of a folded row, about

_BATCH_NORM = signature(F.batch_norm)  # anew for every call it would take as long as the call
_SAME = [(3, 3), (1, 1), (1, 1)]  # kernel, stride and padding of a pooling that keeps map sizes


class Norm(NamedTuple):
    """The arguments of `F.batch_norm`, as a call gives them."""

    inputs: Tensor
    mean: Tensor | None = None
    variance: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    training: bool = True
    momentum: float = 0.1
    epsilon: float = 1e-5

    @classmethod
    def of(cls, *args: Any, **kwargs: Any) -> "Norm":
        """Of a call."""
        call = _BATCH_NORM.bind(*args, **kwargs)
        call.apply_defaults()
        return cls(*call.args)


def is_narrow(maps: Tensor, channels: int = CHANNELS) -> bool:
    """Whether these maps, of fewer channels, are such that this file's functions are faster."""
    return (
        maps.ndim == 4
        and maps.device.type == "cpu"
        and maps.dtype in (torch.float32, torch.float64)  # others overflow
        and maps.shape[1] < channels
        and maps.numel() >= POSITIONS * maps.shape[1]
        and maps.is_contiguous(memory_format=torch.channels_last)
    )


def normalise(norm: Norm) -> tuple[Tensor, Tensor, Tensor]:
    """Training's batch normalisation: the output, every channel's mean and 1 / deviation.

    That of `torch.native_batch_norm`, but for rounding of narrow maps.
    """
    maps = norm.inputs
    if not is_narrow(maps):
        _, mean, variance, weight, bias, _, momentum, epsilon = norm
        return torch.native_batch_norm(maps, weight, bias, mean, variance, True, momentum, epsilon)
    channels = maps.shape[1]
    rows, count = _folded(maps), maps.numel() // channels
    mean = _by_channel(rows, channels) / count
    centred = rows - _repeated(mean, rows)
    variance = _by_channel(centred.square(), channels) / count
    scale = (variance + norm.epsilon).rsqrt()
    if norm.mean is not None and norm.variance is not None:
        norm.mean.lerp_(mean, norm.momentum)
        norm.variance.lerp_(variance * count / (count - 1), norm.momentum)
    slope = scale if norm.weight is None else scale * norm.weight
    if norm.bias is None:
        found = centred.mul_(_repeated(slope, rows))
    else:
        found = torch.addcmul(_repeated(norm.bias, rows), centred, _repeated(slope, rows))
    return _own(_unfolded(found, maps)), mean, scale


def normalise_backward(
    gradient: Tensor, maps: Tensor, weight: Tensor | None, mean: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for the inputs, the weight and the bias of `normalise`."""
    channels = maps.shape[1]
    rows, count = _folded(maps), maps.numel() // channels
    outward = _folded(gradient)
    centred = rows - _repeated(mean, rows)
    of_bias = _by_channel(outward, channels)
    of_weight = _by_channel(outward * centred, channels) * scale
    slope = scale if weight is None else scale * weight
    found = torch.addcmul(
        _repeated(-slope * of_bias / count, rows), outward, _repeated(slope, rows)
    )
    found = torch.addcmul(found, centred, _repeated(-slope * scale * of_weight / count, rows))
    return _unfolded(found, maps), of_weight, of_bias


def scaled(maps: Tensor, slope: Tensor | None, shift: Tensor | None) -> Tensor:
    """Maps · slope + shift, of each channel."""
    slope = maps.new_ones(maps.shape[1]) if slope is None else slope
    shift = torch.zeros_like(slope) if shift is None else shift
    if is_narrow(maps):
        return Scaled.apply(maps, slope, shift)
    wide = (-1, *[1] * (maps.ndim - 2))
    return torch.addcmul(shift.view(wide), maps, slope.view(wide))


class Scaled(Function):
    """A slope and a shift for every channel, which are constants."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, slope: Tensor, shift: Tensor) -> Tensor:
        """Narrow maps · slope + shift."""
        ctx.save_for_backward(slope)
        rows = _folded(maps)
        found = torch.addcmul(_repeated(shift, rows), rows, _repeated(slope, rows))
        return _own(_unfolded(found, maps))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """The gradient · slope."""
        (slope,) = ctx.saved_tensors
        rows = _folded(gradient)
        return _unfolded(rows * _repeated(slope, rows), gradient), None, None


def is_average_of_neighbours(*args: Any, **kwargs: Any) -> bool:
    """Whether a call of `F.avg_pool2d` takes the mean of 3×3 pixels of narrow maps.

    Without what lies beyond the border.
    """
    if not args or not is_narrow(args[0], POOLED):
        return False
    _, *sizes, ceil_mode, count_include_pad, divisor = avg_pool_arguments(*args, **kwargs)
    return sizes == _SAME and not (ceil_mode or count_include_pad or divisor)


def average_of_neighbours(maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """The mean of 3×3 pixels at every place, of those that there are; differentiable."""
    share = _shares(*maps.shape[2:], maps.dtype)
    return _Neighbours.apply(maps) * share.to(maps.device)


class _Neighbours(Function):
    """The sum of 3×3 pixels at every place. It is its own transpose, and so its own derivative."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        columns = maps.clone()
        columns[:, :, 1:] += maps[:, :, :-1]
        columns[:, :, :-1] += maps[:, :, 1:]
        sums = columns.clone()
        sums[..., 1:] += columns[..., :-1]
        sums[..., :-1] += columns[..., 1:]
        return sums

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Neighbours.apply(gradient)


@lru_cache(maxsize=32)
def _shares(height: int, width: int, dtype: torch.dtype) -> Tensor:
    """One divided by how many of its 3×3 pixels lie inside, at every place."""
    return 1 / _Neighbours.apply(torch.ones(1, 1, height, width, dtype=dtype))


def _avg_pool2d(
    input: Tensor,  # noqa: A002 - so called by callers
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> None:
    """The arguments of F.avg_pool2d, which tells no signature."""


_AVG_POOL = signature(_avg_pool2d)


def avg_pool_arguments(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """Maps and settings of a call of `F.avg_pool2d`, of which sizes are pairs."""
    call = _AVG_POOL.bind(*args, **kwargs)
    call.apply_defaults()
    maps, kernel, stride, padding, *how = call.args
    return maps, both(kernel), both(stride or kernel), both(padding), *how


def both(size: Any) -> tuple[Any, ...]:
    """A size for rows and one for columns, of which PyTorch lets one stand for two."""
    sizes = (size,) if isinstance(size, int) else tuple(size or ())
    return 2 * sizes if len(sizes) == 1 else sizes


def _folded(maps: Tensor) -> Tensor:
    """Maps as a matrix, neighbouring positions side by side."""
    channels = maps.shape[1]
    rows, fold = maps.numel() // channels, 1
    while channels * fold < WIDTH and rows % (2 * fold) == 0:
        fold *= 2
    return maps.permute(0, 2, 3, 1).reshape(-1, channels * fold)


def _unfolded(rows: Tensor, like: Tensor) -> Tensor:
    n, channels, height, width = like.shape
    return rows.reshape(n, height, width, channels).permute(0, 3, 1, 2)


def _own(view: Tensor) -> Tensor:
    """The same numbers, of which nothing else is a view: what a function answers is overwritten."""
    where = view.untyped_storage(), view.storage_offset(), view.shape, view.stride()
    return view.new_empty(0).set_(*where)


def _repeated(numbers: Tensor, rows: Tensor) -> Tensor:
    """A number per channel, for every number of a folded row."""
    return numbers.repeat(rows.shape[1] // len(numbers))


def _by_channel(rows: Tensor, channels: int) -> Tensor:
    return rows.sum(0).view(-1, channels).sum(0)
