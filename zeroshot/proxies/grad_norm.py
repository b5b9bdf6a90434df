"""Grad norm: how large the loss gradients are."""

import torch
from jaxtyping import Float
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import Grads, LossGrads


def grad_norm(at: Grads) -> Float[Tensor, ""]:
    """Sum over convolution and linear layers of ‖∂L/∂W‖₂, L the mean cross-entropy.

    Range: [0, ∞). Zero if no weight reaches the logits.
    Source: Abdelfattah et al., 2021, arXiv:2101.08134.
    """
    return torch.stack([g.norm() for g in at.grads]).sum()


GRAD_NORM = Proxy("grad_norm", (LossGrads(),), grad_norm, "higher", "arXiv:2101.08134")
