"""APD: how many directions normalised features fill, times how evenly weights are spread."""

import torch
from jaxtyping import Float64
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import StableRanks, Weights


def apd(ranks: Float64[Tensor, " norms"], weights: tuple[Tensor, ...]) -> Float64[Tensor, ""]:
    """Σ ‖M‖²_F / ‖M‖₂² over batch normalisations · Σ ‖w‖₁ / ‖w‖₂ over convolution weights.

    M holds what a normalisation answers, a row for each sample and position, a column for each
    channel: its stable rank, from 1 to the number of channels. ‖w‖₁ / ‖w‖₂ is about the root of the
    number of weights, so that size and depth count too.

    Range: [0, ∞). A normalisation that answers nothing but zeros, and a weight of zeros, add
        nothing; 0 for networks without batch normalisation, or without convolutions.
    Source: "APD", NeurIPS 2025, found by a language model's search for proxies. The paper itself
        was not to be had; this follows a description of its formula, which names M the batch
        normalisation's matrix and no more.
    Differs: that M is what the layer answers, not its scale (a vector, of rank 1), is our reading;
        with the latter the proxy orders worse than the authors report, with the former better.
    """
    kernels = [w.double() for w in weights if w.ndim > 2]
    norms = [kernel.norm() for kernel in kernels]
    spreads = (
        torch.where(norm > 0, kernel.abs().sum() / norm, 0.0)
        for kernel, norm in zip(kernels, norms, strict=True)
    )
    return ranks.sum() * sum(spreads, ranks.new_zeros(()))


APD = Proxy("apd", (StableRanks(), Weights()), apd, "higher", "NeurIPS 2025", version=3)
