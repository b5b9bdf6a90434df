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
    n = len(codes)
    same = torch.zeros(n, n, dtype=torch.float64, device=codes.device)
    for part in codes.split(2**18, dim=1):  # float32 counts exactly up to 2²⁴
        signs = part.float().mul_(2).sub_(1)
        same += ((signs @ signs.T) + part.shape[1]) / 2
    return same
