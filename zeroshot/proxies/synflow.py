"""SynFlow: how much signal flows through each weight when all are positive."""

import torch
from jaxtyping import Float
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import Grads, Synflow


def synflow(at: Grads) -> Float[Tensor, ""]:
    """Sum of | |w| · ∂R/∂|w| | over convolution and linear weights, R the sum of the logits.

    R is computed for one input of ones, with every parameter replaced by its absolute value and
    without batch normalisation, in float64.

    Range: [0, ∞); multiplies with depth, up to 1e61, so compare logarithms or ranks; ∞ where even
        float64 overflows. Zero if no weight reaches the logits.
    Source: Tanaka et al., 2020, arXiv:2006.05467; summed over the network by Abdelfattah et al.,
        2021, arXiv:2101.08134.
    Differs: buffers keep their signs.
    """
    return torch.stack([(w * g).abs().sum() for w, g in zip(*at, strict=True)]).sum()


SYNFLOW = Proxy("synflow", (Synflow(),), synflow, "higher", "arXiv:2006.05467", log=True)
