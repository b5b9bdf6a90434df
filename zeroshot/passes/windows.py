"""Many gradients at once through convolutions and the batch normalisations after them.

For a gradient u of what a normalised convolution answers, autograd computes, sample by sample of
the batch's n maps and row by row of a Jacobian,

    y = W ∗ z,   x̂ = (y − mean y) s,   v = γ s (u − mean u − x̂ · mean(u x̂)),

and then v ⋆ z for W, Wᵀ ∗ v for z, and Σ u x̂ for γ. Two things save most of it. As x̂ is linear in
the windows of z, the product of u with the windows gives the gradient of W and mean(u x̂) alike.
And Wᵀ ∗ x̂, channel by channel, is the same for every row, so that v need never be written down.
Convolutions that read one map and receive one gradient, as a mixture's do, are one convolution.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

CACHED = 2**18  # bytes

Rows = Float[Tensor, "rows ..."]  # a gradient for each row of the Jacobian


@dataclass(frozen=True, eq=False)
class Gradient:
    """Gradients that are `rows` times a number and, perhaps, a mask; not multiplied before needed.

    Attributes:
        rows: may be read by others.
        scale: of all of them.
        mask: zeros and ones, for all rows.
        own: whether nothing else reads `rows`.
    """

    rows: Rows
    scale: float = 1.0
    mask: Tensor | None = None
    own: bool = False

    @property
    def whole(self) -> Rows:
        """The product."""
        rows = self.rows if self.mask is None else self.rows * self.mask
        return rows if self.scale == 1.0 else rows * self.scale

    def add_to(self, rows: Rows) -> Rows:
        """Add the product to other rows, in place."""
        if self.mask is None:
            return rows.add_(self.rows, alpha=self.scale)
        return rows.addcmul_(self.rows, self.mask, value=self.scale)


Found = Iterable[tuple[Tensor, Gradient]]  # a tensor, and gradients of it


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
        given = gradient.whole
        axes = (1, *range(3, given.ndim))
        along = (given * self.normal).mean(axes, keepdim=True)
        centred = given - given.mean(axes, keepdim=True)
        slope = self.slope.view(-1, *[1] * (given.ndim - 3))
        yield inputs, Gradient((centred - self.normal * along) * slope, own=True)
        if self.weight is not None:
            count = self.normal.numel() // len(self.scale)
            yield self.weight, Gradient(along.flatten(1) * count, own=True)


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
    def is_pointwise(self) -> bool:
        """Whether every place of the output sees one of the input, and every one."""
        return self.weight[0, 0].numel() == self.stride[0] == self.stride[1] == 1 and not any(
            self.padding
        )

    @property
    def nbytes(self) -> int:
        """About what a `Source` keeps of it, at most."""
        return self.maps.nbytes * (self.weight[0, 0].numel() + 2 * len(self.weight))


Member = tuple[Convolution, Norm | None]  # a convolution, and what alone reads its output


class Source:
    """Convolutions of one map that are kin.

    Args:
        groups: those of a group receive one gradient, and all or none have a normalisation.
    """

    def __init__(self, groups: Sequence[tuple[Member, ...]]) -> None:
        convs = [conv for conv, _ in chain(*groups)]
        first = convs[0]
        self.maps = first.maps
        # The smallest kernel that has room for all of them.
        self.size = [max(sizes) for sizes in zip(*(c.weight.shape[2:] for c in convs), strict=True)]
        more = zip(first.padding, first.dilation, self.size, first.weight.shape[2:], strict=True)
        padding = [pad + apart * (size - own) // 2 for pad, apart, size, own in more]
        self.how = (list(first.stride), padding, list(first.dilation))
        self.windows = _windows(self.maps, self.size, *self.how)
        self.count = len(self.windows)  # places in all maps
        self.mean = self.windows[:, :-1].mean(0)
        self.inward = self.maps.requires_grad
        self.groups = [self._prepared(members) for members in groups]
        self.kept = (
            self._kept() if self.inward and any(group.norms for group in self.groups) else None
        )

    def _prepared(self, members: tuple[Member, ...]) -> "_Group":
        weights = [_padded(conv.weight, self.size) for conv, _ in members]
        norms = [norm for _, norm in members if norm is not None]
        if not norms:
            return _Group(members, weights, sum(weights[1:], weights[0]), [])
        pairs = zip(weights, norms, strict=True)
        whole = sum((w * norm.slope[:, None, None, None] for w, norm in pairs), 0 * weights[0])
        products = [_as_rows(norm.normal).T @ self.windows[:, :-1] for norm in norms]
        return _Group(members, weights, whole, products)

    def _seen(self, given: Float[Tensor, "rows places o"]) -> Float[Tensor, "rows o seen"]:
        """The product with the windows, of some places at a time, which stay in the cache."""
        step = max(1, CACHED // self.windows[0].nbytes)
        found = given.new_zeros(len(given), given.shape[2], self.windows.shape[1])
        for start in range(0, self.count, step):
            part = slice(start, start + step)
            found.baddbmm_(
                given[:, part].transpose(1, 2), self.windows[part].expand(len(given), -1, -1)
            )
        return found

    def _kept(self) -> Float[Tensor, "lines numbers"]:
        """Wᵀ ∗ x̂ by channel, and Wᵀ ∗ 1 for all of a group together; numbers as maps lie."""
        each: list[tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]] = []
        for group in self.groups:
            for (conv, norm), weight in zip(group.members, group.weights, strict=True):
                if norm is not None and conv.is_pointwise:
                    each.append((norm.normal, conv.weight, torch.mul))
                elif norm is not None:
                    each.append((norm.normal, weight, self._transposed))
            if group.norms:
                ones = torch.ones_like(group.norms[0].normal[:1])
                each.append((ones, group.weight, self._transposed))
        n, channels, high, wide = self.maps.shape
        lines = sum(len(weight) for _, weight, _ in each)
        kept = self.maps.new_empty(lines, n, high, wide, channels)
        places = iter(kept)
        for maps, weight, back in each:
            for channel in range(len(weight)):
                one = slice(channel, channel + 1)
                found = back(maps[:, one], weight[one])
                next(places).copy_(found.permute(0, 2, 3, 1))
        return kept.flatten(1)

    def back(self, gradients: Sequence[Gradient]) -> Found:
        """Gradients for weights, scales and, if it has one, the map, from one for each group."""
        lines: list[Tensor] = []
        total: Tensor | None = None
        for group, given in zip(self.groups, gradients, strict=True):
            yield from self._weights(group, given, lines)
            if self.inward:
                back = self._transposed(given.rows.flatten(0, 1), group.weight * given.scale)
                total = back if total is None else total.add_(back)
        if total is not None:
            if self.kept is not None:
                total = total.contiguous(memory_format=torch.channels_last)  # it is, mostly
                flat = total.permute(0, 2, 3, 1).view(len(gradients[0].rows), -1)
                flat.addmm_(torch.cat(lines, dim=1), self.kept, alpha=-1 / self.count)
            yield self.maps, Gradient(total.unflatten(0, (-1, len(self.maps))), own=True)

    def _weights(self, group: "_Group", given: Gradient, lines: list[Tensor]) -> Found:
        rows = given.rows.movedim(2, -1)
        found = self._seen(rows.reshape(len(rows), self.count, -1)).mul_(given.scale)
        found, sums = found[..., :-1], found[..., -1]
        if group.products:
            found = found - sums.unsqueeze(-1) * self.mean
        for i, (conv, norm) in enumerate(group.members):
            if norm is None:
                yield conv.weight, Gradient(self._cut(found, conv.weight))
                continue
            along = (found * _flat(group.weights[i])).sum(-1) * norm.scale  # Σ u x̂
            own = found - along.unsqueeze(-1) * (group.products[i] / self.count)
            yield conv.weight, Gradient(self._cut(own * norm.slope[:, None], conv.weight))
            if norm.weight is not None:
                yield norm.weight, Gradient(along)
            lines.append(along * norm.slope)
        if group.products:
            lines.append(sums)

    def _transposed(self, maps: Tensor, weight: Tensor) -> Tensor:
        """The gradient for the input from that of the output."""
        stride, padding, dilation = self.how
        shape = (len(maps), *self.maps.shape[1:])
        if max(stride) > 1 and max(dilation) == 1:
            return _interleaved(maps, weight, shape, stride, padding)
        sizes = zip(weight.shape[2:], padding, dilation, strict=True)
        beyond = [apart * (size - 1) - pad for size, pad, apart in sizes]
        if max(stride) == 1 and min(beyond) >= 0:  # a little faster than the other way
            turned = weight.flip(2, 3).transpose(0, 1).contiguous()
            return F.conv2d(maps, turned, None, 1, beyond, dilation)
        like = torch.empty(
            shape, dtype=maps.dtype, device=maps.device, memory_format=torch.channels_last
        )
        return torch.ops.aten.convolution_backward(
            maps, like, weight, None, *self.how, False, [0, 0], 1, [True, False, False]
        )[0]

    def _cut(self, rows: Tensor, weight: Tensor) -> Tensor:
        """What concerns a weight's own kernel."""
        (high, wide), (tall, broad) = self.size, weight.shape[2:]
        top, left = (high - tall) // 2, (wide - broad) // 2
        rows = rows.unflatten(-1, (high, wide, -1)).movedim(-1, 2)
        return rows[..., top : top + tall, left : left + broad]


@dataclass(frozen=True, eq=False)
class _Group:
    members: tuple[Member, ...]
    weights: list[Float[Tensor, "o i a b"]]  # of one size
    weight: Float[Tensor, "o i a b"]  # of all together, slopes included
    products: list[Float[Tensor, "o windows"]]  # x̂ with the windows, for each normalisation

    @property
    def norms(self) -> list[Norm]:
        """The normalisations: one for each member, or none."""
        return [norm for _, norm in self.members if norm is not None]


def _windows(
    maps: Tensor, size: list[int], stride: list[int], padding: list[int], dilation: list[int]
) -> Float[Tensor, "places windows_and_1"]:
    """What each place of the output sees, by place in the kernel and channel; and a 1."""
    (high, wide), (down, right), (y, x), (tall, broad) = size, stride, padding, dilation
    maps = F.pad(maps, (x, x, y, y)).permute(0, 2, 3, 1).contiguous()
    n, height, width, channels = maps.shape
    rows = (height - tall * (high - 1) - 1) // down + 1
    columns = (width - broad * (wide - 1) - 1) // right + 1
    found = maps.new_ones(n * rows * columns, high * wide * channels + 1)
    sample, line, place, _ = maps.stride()
    seen = maps.as_strided(
        (n, rows, columns, high, wide, channels),
        (sample, down * line, right * place, tall * line, broad * place, 1),
    )
    found[:, :-1].view(seen.shape).copy_(seen)
    return found


def _interleaved(
    maps: Tensor, weight: Tensor, shape: tuple[int, ...], stride: list[int], padding: list[int]
) -> Tensor:
    """What `Source._transposed` gives of steps above one, in half the time.

    Each of stride × stride neighbours sees some places of the kernel: as many convolutions of step
    one, in one.
    """
    _, channels, high, wide = shape
    seen = [
        [(a, k, (a + p - k) // s) for a in range(s) for k in range(size) if (a + p - k) % s == 0]
        for s, p, size in zip(stride, padding, weight.shape[2:], strict=True)
    ]
    first, last = ([edge(off for *_, off in axis) for axis in seen] for edge in (min, max))
    sizes = [stop - start + 1 for start, stop in zip(first, last, strict=True)]
    kernel = weight.new_zeros(*stride, channels, len(weight), *sizes)
    for a, k, down in seen[0]:
        for b, m, right in seen[1]:
            kernel[a, b, ..., down - first[0], right - first[1]] = weight[..., k, m].T
    lines, columns = -(-high // stride[0]), -(-wide // stride[1])
    edges = (
        *(-first[1], last[1] + columns - maps.shape[3]),
        *(-first[0], last[0] + lines - maps.shape[2]),
    )
    found = F.conv2d(F.pad(maps, edges), kernel.flatten(0, 2)).permute(0, 2, 3, 1)
    found = found.unflatten(3, (*stride, channels)).transpose(2, 3).flatten(1, 2).flatten(2, 3)
    return found[:, :high, :wide].permute(0, 3, 1, 2)


def _padded(weight: Tensor, size: Sequence[int]) -> Tensor:
    high, wide = ((s - k) // 2 for s, k in zip(size, weight.shape[2:], strict=True))
    return F.pad(weight, (wide, wide, high, high))


def _flat(weight: Tensor) -> Tensor:
    """In the order of windows."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _as_rows(maps: Tensor) -> Tensor:
    return maps.movedim(1, -1).flatten(0, -2)
