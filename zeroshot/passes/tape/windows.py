"""Many gradients at once through convolutions and the batch normalisations after them.

For a gradient u of what a normalised convolution answers, autograd computes, sample by sample of
the batch's n maps and row by row of a Jacobian,

    y = W ∗ z,   x̂ = (y − mean y) s,   v = γ s (u − mean u − x̂ · mean(u x̂)),

and then v ⋆ z for W, Wᵀ ∗ v for z, and Σ u x̂ for γ. Two things save most of it. As x̂ is linear in
the windows of z, the product of u with the windows gives the gradient of W and mean(u x̂) alike.
And Wᵀ ∗ x̂, channel by channel, is the same for every row, so that v need never be written down.
Convolutions that read one map and receive one gradient, as a mixture's do, are one convolution.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from zeroshot.passes.tape.rows import Found, Gradient, as_it_lies
from zeroshot.passes.tape.steps import Convolution, Norm
from zeroshot.passes.tape.strided import Part, add_convolution, parts

LANES = 12

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
        self.count = self.windows[:, 0].numel()  # places in all maps
        self.mean = self.windows[:, :-1].mean((0, 2, 3))
        self.inward = self.maps.requires_grad
        self.groups = [self._prepared(members) for members in groups]
        self.kept = self._kept() if self.inward else None

    def _prepared(self, members: tuple[Member, ...]) -> "_Group":
        weights = [_padded(conv.weight, self.size) for conv, _ in members]
        norms = [norm for _, norm in members if norm is not None]
        if not norms:
            return _Group(members, weights, sum(weights[1:], weights[0]), ())
        pairs = zip(weights, norms, strict=True)
        whole = sum((w * norm.slope[:, None, None, None] for w, norm in pairs), 0 * weights[0])
        products = _seen(torch.cat([norm.normal for norm in norms], dim=1), self.windows)
        return _Group(members, weights, whole, products[:, :-1].chunk(len(norms)))

    def _kept(self) -> Float[Tensor, "i n lines h w"] | None:
        """Wᵀ ∗ x̂ by channel, and Wᵀ ∗ 1 by channel for all of a group."""
        normals, weights = [], []
        for group in self.groups:
            if group.norms:
                each = [norm.normal for norm in group.norms]
                normals += [*each, torch.ones_like(each[0])]
                weights += [*group.weights, group.weight]
        if not normals:
            return None
        maps = torch.cat(normals, dim=1).contiguous(memory_format=torch.channels_last)
        n, channels, high, wide = self.maps.shape
        kept = maps.new_empty(channels, n, high, wide, maps.shape[1])
        weight = torch.cat(weights)
        for part in self._parts(weight, maps.shape[2:]):
            for plane, kernel in zip(kept, part.kernel.unsqueeze(2), strict=True):
                plane[part.write] = part.run(maps, kernel, groups=len(kernel))
        return kept.permute(0, 1, 4, 2, 3)

    def back(self, gradients: Sequence[Gradient]) -> Found:
        """Gradients for weights, scales and, if it has one, the map, from one for each group."""
        every = [as_it_lies(given.rows) for given in gradients]
        lines: list[Tensor] = []
        for group, rows, given in zip(self.groups, every, gradients, strict=True):
            yield from self._weights(group, rows, given.scale, lines)
        if not self.inward:
            return
        n, channels, high, wide = self.maps.shape
        planes = self.maps.new_zeros(channels, n, high, wide, every[0].shape[-1])
        for group, rows, given in zip(self.groups, every, gradients, strict=True):
            self._carry(rows, group.weight * given.scale, planes)
        if self.kept is not None:
            mixed = torch.cat(lines, dim=0).T.div(-self.count)[..., None, None]
            for plane, kept in zip(planes, self.kept, strict=True):
                add_convolution(plane, kept, mixed)
        yield self.maps, Gradient(planes.permute(1, 0, 2, 3, 4), own=True)

    def _weights(
        self,
        group: "_Group",
        rows: Float[Tensor, "n h w o rows"],
        scale: float,
        lines: list[Float[Tensor, "o rows"]],
    ) -> Found:
        outward = rows.shape[3]
        found = _seen(rows.flatten(3).permute(0, 3, 1, 2), self.windows).mul_(scale)
        found = found.unflatten(0, (outward, -1))
        found, sums = found[..., :-1], found[..., -1]
        if group.products:
            found = found - sums.unsqueeze(-1) * self.mean
        for i, (conv, norm) in enumerate(group.members):
            if norm is None:
                yield conv.weight, Gradient(self._cut(found, conv.weight))
                continue
            weight = _flat(group.weights[i]).unsqueeze(1)
            along = (found * weight).sum(-1) * norm.scale[:, None]  # Σ u x̂
            own = found - along.unsqueeze(-1) * (group.products[i] / self.count).unsqueeze(1)
            yield conv.weight, Gradient(self._cut(own * norm.slope[:, None, None], conv.weight))
            if norm.weight is not None:
                yield norm.weight, Gradient(along)
            lines.append(along * norm.slope[:, None])
        if group.products:
            lines.append(sums)

    def _carry(
        self,
        rows: Float[Tensor, "n high wide o rows"],
        weight: Float[Tensor, "o i a b"],
        planes: Float[Tensor, "i n h w rows"],
    ) -> None:
        """Add the gradient for the input that follows from that of the output."""
        n, high, wide, outward, count = rows.shape
        parts = self._parts(weight, (high, wide))
        if not runs_over_rows(weight):
            maps = rows.permute(4, 0, 1, 2, 3).flatten(0, 1).permute(0, 3, 1, 2)
            for part in parts:
                found = part.run(maps, part.kernel).unflatten(0, (count, n))
                planes[(slice(None), *part.write)].add_(found.permute(4, 1, 2, 3, 0))
            return
        # Channels of a line of pixels lie side by side, a step of `outward` from the next pixel's.
        lines = rows.flatten(2, 3).permute(0, 3, 1, 2)
        for part in parts:
            kernels = part.kernel.permute(0, 2, 3, 1).flatten(2)
            for plane, kernel in zip(planes, kernels, strict=True):
                part.add_to(plane, lines, kernel.expand(count, 1, -1, -1).contiguous(), outward)

    def _parts(self, weight: Tensor, given: Sequence[int]) -> Iterator[Part]:
        return parts(weight, self.how, self.maps.shape[2:], given)

    def _cut(self, rows: Tensor, weight: Tensor) -> Tensor:
        """What concerns a weight's own kernel."""
        (high, wide), (tall, broad) = self.size, weight.shape[2:]
        top, left = (high - tall) // 2, (wide - broad) // 2
        rows = rows.unflatten(2, (high, wide, -1)).permute(0, 4, 2, 3, 1)
        return rows[:, :, top : top + tall, left : left + broad]


def runs_over_rows(weight: Float[Tensor, "o i a b"]) -> bool:
    """Whether it is faster to carry back all rows for one channel, not a row for all channels."""
    return weight.shape[1] <= LANES and weight.dtype == torch.float32


@dataclass(frozen=True, eq=False)
class _Group:
    members: tuple[Member, ...]
    weights: list[Float[Tensor, "o i a b"]]  # of one size
    weight: Float[Tensor, "o i a b"]  # of all together, slopes included
    products: Sequence[Float[Tensor, "o windows"]]  # x̂ with the windows, for each normalisation

    @property
    def norms(self) -> list[Norm]:
        """The normalisations: one for each member, or none."""
        return [norm for _, norm in self.members if norm is not None]


def _windows(
    maps: Tensor, size: list[int], stride: list[int], padding: list[int], dilation: list[int]
) -> Float[Tensor, "n windows_and_1 high wide"]:
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
    return found.view(n, rows, columns, -1).permute(0, 3, 1, 2)


def _seen(
    given: Float[Tensor, "n o high wide"], windows: Float[Tensor, "n seen high wide"]
) -> Float[Tensor, "o seen"]:
    """The product of both over all places."""
    weight = given.new_empty(given.shape[1], windows.shape[1], 1, 1)
    how = None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [False, True, False]
    return torch.ops.aten.convolution_backward(given, windows, weight, *how)[1].flatten(1)


def _padded(weight: Tensor, size: Sequence[int]) -> Tensor:
    high, wide = ((s - k) // 2 for s, k in zip(size, weight.shape[2:], strict=True))
    return F.pad(weight, (wide, wide, high, high))


def _flat(weight: Tensor) -> Tensor:
    """In the order of windows."""
    return weight.permute(0, 2, 3, 1).flatten(1)
