"""SWAP: how many different things the units of a network see in the batch."""

import torch
from jaxtyping import Bool
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import Codes


def swap(codes: tuple[Bool[Tensor, "n _"], ...]) -> int:
    """Number of different patterns among units, a pattern saying for which samples it is active.

    Range: 1 to the number of units, and at most 2ⁿ: with too few samples n all networks have the
        same score. Exact. Undefined without any ReLU-like activation.
    Source: Peng et al., 2024, arXiv:2403.04161; its regularised form is `swap_reg`.
    Differs: all activations count; the authors' code takes those of maps that `nn.ReLU` computes.
        One network; they average 32 draws from N(0, 1): average over seeds with init "gaussian".
    """
    units = torch.cat(codes, dim=1)
    patterns = torch.zeros(units.shape[1], dtype=torch.long, device=units.device)
    for some in units.split(31):  # further bits, behind an index of at most 31 bits, fit 63
        for sample in some:
            patterns = 2 * patterns + sample
        patterns = torch.unique(patterns, return_inverse=True)[1]
    return int(patterns.max()) + 1


SWAP = Proxy("swap", (Codes(),), swap, "higher", "arXiv:2403.04161", version=2)
