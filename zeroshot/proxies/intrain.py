"""InTrain: how many directions layers answer in, and how evenly gradients reach their weights."""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import Grads, LayerDimensions, LossGrads

EPSILON = 1e-10


def intrain(dimensions: Float64[Tensor, " layers"], found: Grads) -> Float64[Tensor, ""]:
    """γ (1 + o) / log(L + 1), γ = Σ log d over L layers, o = Σ min(1, σ(g) / (max |g| + ε)).

    d is the participation ratio (Σ λ)² / Σ λ² of the eigenvalues λ of the covariance of a layer's
    channels, over samples and positions: from 1 to their number. g is the gradient of the loss for
    one weight, σ its deviation.

    Range: [0, ∞), grows with depth and the logarithm of width. −∞ if a layer answers the same
        everywhere. Undefined if no layer answers more than one channel, or for weights that are
        computed from others.
    Source: Zhou et al., 2026, arXiv:2606.18676; the formula is from a summary of it, not checked
        against the paper's own text.
    Differs: layers are convolution and linear layers, each as often as it runs; gradients are those
        of the batch's own targets, where the authors take random ones on images of 64×64. They have
        published no code.
    """
    if not bool((dimensions > 0).all()):
        return dimensions.new_tensor(-torch.inf)
    capacity = dimensions.log().sum()
    health = capacity.new_zeros(())
    for gradient in found.grads:
        exact = gradient.double()
        if exact.numel() > 1:
            health += (exact.std() / (exact.abs().max() + EPSILON)).clamp(max=1)
    return capacity * (1 + health) / math.log(len(dimensions) + 1)


INTRAIN = Proxy(
    "intrain", (LayerDimensions(), LossGrads()), intrain, "higher", "arXiv:2606.18676", version=2
)
