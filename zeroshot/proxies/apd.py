"""APD: how many directions normalised features fill, times how evenly weights are spread."""

import torch
from jaxtyping import Float64
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import NormSpectra, Weights


def apd(
    spectra: tuple[Float64[Tensor, " _"], ...], weights: tuple[Tensor, ...]
) -> Float64[Tensor, ""]:
    """Σ ‖M‖²_F / ‖M‖₂² over batch normalisations · Σ ‖w‖₁ / ‖w‖₂ over convolution weights.

    M holds what a normalisation answers, a row for each sample and position, a column for each
    channel: its stable rank, from 1 to the number of channels. ‖w‖₁ / ‖w‖₂ is about the root of the
    number of weights, so that size and depth count too.

    Range: [0, ∞). A normalisation that answers nothing but zeros, and a weight of zeros, add
        nothing. Undefined without batch normalisation.
    Source: "APD", NeurIPS 2025, found by a language model's search for proxies.
    Differs: the source names M the batch normalisation's matrix and no more. That it is what the
        layer answers, not its scale (a vector, of rank 1), is our reading.
    """
    ranks = [values.sum() / values[-1] for values in spectra if values[-1] > 0]
    spreads = [
        w.double().abs().sum() / w.double().norm() for w in weights if w.ndim > 2 and w.any()
    ]
    zero = torch.zeros((), dtype=torch.float64)
    return sum(ranks, zero) * sum(spreads, zero)


APD = Proxy("apd", (NormSpectra(), Weights()), apd, "higher", "NeurIPS 2025")
