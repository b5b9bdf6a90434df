"""AZ-NAS' expressivity: whether blocks spread their features over all directions."""

import torch
from jaxtyping import Float64
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import BlockSpectra


def az_expressivity(spectra: tuple[Float64[Tensor, " _"], ...]) -> Float64[Tensor, ""]:
    """Sum over blocks of the entropy −Σ p log p, p = λ/Σλ.

    λ are the eigenvalues of the covariance of a block's channels over samples and positions.

    Range: [0, ∞); a block of c channels adds at most log c, so it grows with depth and width. −∞ if
        a block's features are constant. Undefined if the network names no blocks.
    Source: Lee and Ham, 2024, arXiv:2403.19232; one of its four proxies, to be ranked together.
    Differs: exact in float64; the authors' code computes −Σ p log(p + 1e-8) in float32. Network and
        batch are the caller's; theirs are initialised by Kaiming's normal rule and shown noise.
    """
    return torch.stack([entropy(spectrum) for spectrum in spectra]).sum()


def entropy(spectrum: Float64[Tensor, " _"]) -> Float64[Tensor, ""]:
    """How evenly eigenvalues are spread, in nats; −∞ if all are zero."""
    total = spectrum.sum()
    found = torch.special.entr(spectrum / total).sum()
    return torch.where(total > 0, found, -torch.inf)


AZ_EXPRESSIVITY = Proxy(
    "az_expressivity", (BlockSpectra(),), az_expressivity, "higher", "arXiv:2403.19232", version=3
)
