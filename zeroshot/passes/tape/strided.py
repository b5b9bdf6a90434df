"""The gradient for a convolution's input, of whatever stride, as convolutions of step one."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# Adds a convolution to what is there as it runs, if PyTorch has oneDNN. One row confuses it.
_ADDING = getattr(torch.ops.mkldnn, "_convolution_pointwise_", None)


def parts(
    weight: Float[Tensor, "o i a b"],
    how: tuple[Sequence[int], Sequence[int], Sequence[int]],
    length: Sequence[int],
    given: Sequence[int],
) -> Iterator["Part"]:
    """The gradient for a convolution's input as convolutions of step one.

    Each gives some of the places of the input.

    Args:
        weight: of the convolution.
        how: its stride, padding and dilation.
        length: rows and columns of its input.
        given: rows and columns of its output.
    """
    sizes = weight.shape[2:]
    axes = zip(sizes, *how, length, given, strict=True)
    for down, right in product(*(list(_along(*axis)) for axis in axes)):
        kernel = weight.new_zeros(*weight.shape[1::-1], down.length, right.length)
        for (a, top), (b, left) in product(down.seen, right.seen):
            kernel[:, :, top, left] = weight[:, :, a, b].T
        yield Part(kernel, down, right)


def add_convolution(
    plane: Float[Tensor, "n h w o"],
    maps: Float[Tensor, "n i high wide"],
    kernel: Tensor,
    padding: tuple[int, int] = (0, 0),
    stride: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> None:
    """Add a convolution to a plane."""
    if _ADDING is None or plane.dtype != torch.float32 or plane.shape[-1] == 1:
        found = F.conv2d(maps, kernel, None, stride, padding, 1, groups)
        plane.add_(found.permute(0, 2, 3, 1))
    else:
        how = list(padding), list(stride), [1, 1], groups, "add", None, None, [], None
        _ADDING.binary(plane.permute(0, 3, 1, 2), maps, kernel, None, *how)


class _Axis(NamedTuple):
    """Rows or columns of a map that see the same numbers of a kernel."""

    seen: list[tuple[int, int]]  # which number of the kernel lies where in one of step one
    length: int  # of that
    padding: int
    read: slice  # of what it gives
    write: slice
    is_whole: bool  # all that it gives is for all of them


class Part(NamedTuple):
    """A convolution of step one for some places."""

    kernel: Float[Tensor, "i o c d"]
    down: _Axis
    right: _Axis

    @property
    def write(self) -> tuple[slice, slice, slice]:
        """The places, of all maps."""
        return slice(None), self.down.write, self.right.write

    def run(self, maps: Tensor, kernel: Tensor, groups: int = 1, step: int = 1) -> Tensor:
        """What a kernel of this size gives for the places, channels last.

        `step` columns of `maps` are one.
        """
        padding = self.down.padding, self.right.padding * step
        found = F.conv2d(maps, kernel, None, (1, step), padding, 1, groups)
        return found.permute(0, 2, 3, 1)[:, self.down.read, self.right.read]

    def add_to(self, plane: Tensor, maps: Tensor, kernel: Tensor, step: int) -> None:
        """Add what a kernel for each channel gives to the places of a plane."""
        groups = len(kernel)
        if self.down.is_whole and self.right.is_whole:
            padding = self.down.padding, self.right.padding * step
            add_convolution(plane, maps, kernel, padding, (1, step), groups)
        else:
            plane[self.write].add_(self.run(maps, kernel, groups, step))


def _along(
    size: int, stride: int, padding: int, dilation: int, length: int, given: int
) -> Iterator[_Axis]:
    """How a map's `length` rows, or columns, see `given` ones of a convolution's output."""
    for first in range(min(stride, length)):
        steps = [(k, first + padding - dilation * k) for k in range(size)]
        seen = [(k, step // stride) for k, step in steps if step % stride == 0]
        low, high = (edge((off for _, off in seen), default=0) for edge in (min, max))
        count = len(range(first, length, stride))
        beyond = max(-low, high + count - given, 0)
        places = [(k, off - low) for k, off in seen]
        long = high - low + 1
        read = slice(low + beyond, low + beyond + count)
        is_whole = read == slice(0, given + 2 * beyond - long + 1) and stride == 1
        yield _Axis(places, long, beyond, read, slice(first, None, stride), is_whole)
