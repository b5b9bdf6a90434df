"""DSS: saliency of a transformer's linear layers, diversity of its attentions."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import AttentionWeights, Grads, Synflow


def dss(at: Grads, attention: Bool[Tensor, " weights"]) -> Float[Tensor, ""]:
    """Sum of ‖∂R/∂w‖∗ · ‖w‖∗ over attention's weights and of |w · ∂R/∂w| over linear layers.

    ‖ ‖∗ is the nuclear norm of a matrix; R is that of `synflow`: the sum of the logits for one
    input of ones, every parameter replaced by its absolute value, in float64.

    Range: [0, ∞). Zero if the classifier starts at zero, as that of torchvision's transformers; ∞
        or NaN where even float64 overflows. Undefined without attention: a module with Attention in
        its class name.
    Source: Zhou et al., 2022, arXiv:2203.12217.
    Differs: projections that a module holds packed are one matrix, as in the authors' code. There
        an attention's layers are those of as many inputs as outputs or of a certain name. Buffers
        keep their signs.
    """
    terms = [
        _nuclear(w) * _nuclear(g) if attends else (w * g).abs().sum()
        for w, g, attends in zip(*at, attention.tolist(), strict=True)
        if w.ndim == 2
    ]
    return torch.stack(terms).sum()


def _nuclear(matrix: Float[Tensor, "a b"]) -> Float[Tensor, ""]:
    return torch.linalg.matrix_norm(matrix, "nuc")


DSS = Proxy("dss", (Synflow(), AttentionWeights()), dss, "higher", "arXiv:2203.12217", log=True)
