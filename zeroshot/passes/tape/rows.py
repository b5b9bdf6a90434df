"""Gradients of several rows of a Jacobian at once, and their sums.

Rows lie innermost, as a processor's vectors would have them: for three channels, a convolution that
runs over channels uses three numbers of a vector, and one that runs over rows uses all of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

RECENT = 4  # results that may be asked for again; more would only fill the cache

# A gradient of a tensor for each row of the Jacobian. Rows lie innermost in memory, channels next.
Rows = Float[Tensor, "... rows"]


@dataclass(frozen=True, eq=False)
class Gradient:
    """Gradients that are `rows` times a number and, perhaps, a mask; not multiplied before needed.

    Attributes:
        rows: may be read by others.
        scale: of all of them.
        mask: zeros and ones, for all rows; one number where `rows` has one for each.
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


class Gradients:
    """Gradients on their way, in parts, by the id of what they are gradients of."""

    def __init__(self) -> None:
        self._parts: dict[int, list[Gradient]] = {}
        self._sums: dict[object, tuple[object, Rows]] = {}

    def add(self, found: Found) -> None:
        """Add parts."""
        for tensor, gradient in found:
            self._parts.setdefault(id(tensor), []).append(gradient)

    def take(self, key: int) -> Gradient | None:
        """The sum of the parts, without a mask. May be that of others, so is only read."""
        parts = self._parts.pop(key, [])
        plain = [part for part in parts if not part.own and part.mask is None]
        rest = [part for part in parts if part.own] + [
            part for part in parts if part.mask is not None
        ]
        lent = self._sum(tuple(plain)) if plain else None
        if not rest:
            return lent
        first, *others = rest if lent is None else (*rest, lent)
        total = first.rows if first.own else first.whole
        for part in others:
            part.add_to(total)
        return Gradient(total)

    def left(self) -> set[int]:
        """Of what there are gradients."""
        return set(self._parts)

    def _sum(self, parts: tuple[Gradient, ...]) -> Gradient:
        """Their sum; what has just been made, as for others that read a node, is not made again."""
        *before, last = parts
        if not before:
            return last
        name = tuple((id(part.rows), part.scale) for part in parts)
        if name not in self._sums:
            total = self._sum(tuple(before))
            made = torch.add(total.rows, last.rows, alpha=last.scale / total.scale)
            self._sums[name] = parts, made  # these live, or their ids were those of others
            if len(self._sums) > RECENT:
                del self._sums[next(iter(self._sums))]
        return Gradient(self._sums[name][1], parts[0].scale)


def stacked(rows: tuple[Tensor, ...]) -> Rows:
    """Rows, innermost; of maps, channels next."""
    if rows[0].ndim != 4:
        return torch.stack(rows, dim=-1)
    maps = [row.permute(0, 2, 3, 1) for row in rows]
    return torch.stack(maps, dim=-1).permute(0, 3, 1, 2, 4)


def as_it_lies(rows: Float[Tensor, "n c h w rows"]) -> Float[Tensor, "n h w c rows"]:
    """Gradients of maps, contiguous."""
    return rows.permute(0, 2, 3, 1, 4).contiguous()
