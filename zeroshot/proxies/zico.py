"""ZiCo: how large the gradients are, beside their spread between parts of the batch."""

import torch
from jaxtyping import Float
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import SplitGrads


def zico(parts: tuple[Float[Tensor, "parts ..."], ...]) -> Float[Tensor, ""]:
    """Σ log Σ mean|g| / σ(g), over layers and within each over its weights.

    g are the gradients of the mean cross-entropy of each part of the batch, mean and deviation σ
    (that of the population) are over the parts. Weights with σ = 0 are left out, and layers in
    which none is left.

    Range: [0, ∞) for two parts, where each weight adds 1 or more to its layer; grows with the
        number of layers, and with the logarithm of their size. 0 if no weight reaches the logits.
        Undefined for fewer than 2 samples a part.
    Source: Li, Yang, Bhardwaj and Marculescu, 2023, arXiv:2301.11300.
    Differs: the two parts are halves of the one batch; the authors take two batches. Their code
        fails where a layer has no gradient; here it adds nothing, as one without deviation does.
    """
    sums = torch.stack([_certainty(layer.double()) for layer in parts])
    return torch.where(sums == 0, 1.0, sums).log().sum()


def _certainty(grads: Float[Tensor, "parts ..."]) -> Float[Tensor, ""]:
    away = grads - grads[0]  # exactly 0 where the parts agree
    spread = (away - away.mean(0)).square().mean(0).sqrt()  # many times faster than torch.std
    return torch.where(spread == 0, 0.0, grads.abs().mean(0) / spread).sum()


ZICO = Proxy("zico", (SplitGrads(),), zico, "higher", "arXiv:2301.11300")
