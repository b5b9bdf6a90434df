"""SNIP: how much the loss moves as each weight is scaled towards zero."""

import torch
from jaxtyping import Float
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import Grads, LossGrads


def snip(at: Grads) -> Float[Tensor, ""]:
    """Sum of |w · ∂L/∂w| over convolution and linear weights.

    Range: [0, ∞), in nats; grows with the number of weights. Zero if no weight reaches the logits.
    Source: Lee, Ajanthan and Torr, 2019, arXiv:1810.02340; summed over the network by
        Abdelfattah et al., 2021, arXiv:2101.08134.
    Differs: no mask is built, for at mask = 1 its gradient is w · ∂L/∂w. Not normalised.
    """
    return torch.stack([(w * g).abs().sum() for w, g in zip(*at, strict=True)]).sum()


SNIP = Proxy("snip", (LossGrads(),), snip, "higher", "arXiv:1810.02340")
