"""Plain: the loss gradient along the weights."""

import torch
from jaxtyping import Float
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import Grads, LossGrads


def plain(at: Grads) -> Float[Tensor, ""]:
    """Sum of w · ∂L/∂w over convolution and linear weights, signs kept.

    Range: any real number, in nats. Zero if no weight reaches the logits. A weight before batch
        normalisation contributes nothing, for its scale does not matter, so that the sum is
        rounding noise but for the rest.
    Source: Mozer and Smolensky, 1989; as a proxy in Abdelfattah et al., 2021, arXiv:2101.08134.
    """
    return torch.stack([(w * g).sum() for w, g in zip(*at, strict=True)]).sum()


PLAIN = Proxy("plain", (LossGrads(),), plain, "higher", "arXiv:2101.08134")
