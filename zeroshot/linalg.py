"""Matrices of samples, in float64."""

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from zeroshot.errors import Undefined


def correlations(rows: Float[Tensor, "n d"]) -> Float64[Tensor, "n n"]:
    """Pearson correlations of rows, as numpy.corrcoef gives them.

    Raises:
        Undefined: if a row is constant or not finite.
    """
    exact = rows.double()
    centred = exact - exact.mean(1, keepdim=True)
    norms = centred.norm(dim=1, keepdim=True)
    rounding = 8 * torch.finfo(rows.dtype).eps * exact.norm(dim=1, keepdim=True)
    if not bool(((norms > rounding) & norms.isfinite()).all()):
        raise Undefined("the logits ignore a sample: its input gradient is constant or not finite")
    unit = centred / norms
    return (unit @ unit.T).clamp(-1, 1)


def agreements(codes: Bool[Tensor, "n d"]) -> Float64[Tensor, "n n"]:
    """On how many of the d units two samples have the same code; exact."""
    n, d = codes.shape
    both = torch.zeros(n, n, dtype=torch.float64, device=codes.device)  # are active
    for part in codes.split(2**18, dim=1):  # float32 counts exactly up to 2²⁴
        bits = part.view(torch.uint8).float()  # several times faster than from bool
        both += bits @ bits.T
    active = both.diagonal()
    return 2 * both + (d - active - active[:, None])


BLOCK = 1024  # rows
WIDTH = 16  # columns that a product takes no longer for than for fewer


def crossed(one: Float[Tensor, "m c"], other: Float[Tensor, "m d"]) -> Float64[Tensor, "c d"]:
    """oneᵀ · other, for many more rows than columns.

    Rows are multiplied in their own precision, a block at a time, and the blocks added up in
    float64: for float32 that takes a fifth of the time of a product in float64, and is off by some
    1e-7 of the largest entry. Elsewhere than on the CPU everything is in float64, for looking
    whether that went well would wait for the device.
    """
    if one.device.type != "cpu":
        return one.double().T @ other.double()
    (c, d), whole = (one.shape[1], other.shape[1]), len(one) // BLOCK * BLOCK
    # Few columns: neighbouring rows side by side, and of their products those of each with itself.
    side = 1
    while 2 * side * max(c, d, 1) <= WIDTH:
        side *= 2
    blocks, rows = whole // BLOCK, BLOCK // side
    left = one[:whole].reshape(blocks, rows, side * c).transpose(1, 2)
    right = other[:whole].reshape(blocks, rows, side * d)
    found = torch.bmm(left, right).sum(0, dtype=torch.float64)
    if side > 1:
        found = found.view(side, c, side, d).diagonal(dim1=0, dim2=2).sum(-1)
    found += one[whole:].T @ other[whole:]
    if 2**-60 < float(found.abs().max()) < 2**120:
        return found
    return one.double().T @ other.double()  # where float32 underflows or overflows
