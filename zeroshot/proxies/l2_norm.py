"""L2 norm: how large the weights are."""

import torch
from jaxtyping import Float
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import Weights


def l2_norm(weights: tuple[Tensor, ...]) -> Float[Tensor, ""]:
    """Sum over convolution and linear layers of the Euclidean norm of the weight.

    Range: [0, ∞); at initialisation it is the size and the number of layers in disguise.
    Source: Abdelfattah et al., 2021, arXiv:2101.08134 (in their code).
    Differs: on spaces, weights that cannot reach the output are not there to be summed.
    """
    return torch.stack([w.norm() for w in weights]).sum()


L2_NORM = Proxy("l2_norm", (Weights(),), l2_norm, "higher", "arXiv:2101.08134")
