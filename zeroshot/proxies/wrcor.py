"""WRCor: whether activations and gradients tell samples apart, the deeper the more they count."""

import torch
from jaxtyping import Float64
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import ResponseCorrelations


def wrcor(found: Float64[Tensor, "depths n n"]) -> Float64[Tensor, ""]:
    """log|det Σ 2ᵈ · |C|| over activations, d the number of blocks that ran before.

    Each activation gives two C, the correlations between samples: of its inputs, and of the
    gradients of the mean cross-entropy for these. | | of C is taken element by element.

    Range: (−∞, ∞), grows with the number of blocks and activations. Very low, down to −∞, if two
        samples are hardly told apart, or where no activation tells them apart. Undefined if the
        network names no blocks, or without any ReLU-like activation.
    Source: Jing et al., 2025, arXiv:2507.08841.
    Differs: activations before the first block or within a stem that is one count, too; on
        NAS-Bench-201 there are none, but d is thereby greater by one. As in the authors' code, a C
        in which a sample's values are constant is left out.
    """
    weights = 2.0 ** torch.arange(len(found), dtype=found.dtype, device=found.device)
    return torch.linalg.slogdet(torch.einsum("d,dnm->nm", weights, found)).logabsdet


WRCOR = Proxy("wrcor", (ResponseCorrelations(),), wrcor, "higher", "arXiv:2507.08841", version=2)
