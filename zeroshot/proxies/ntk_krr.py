"""NTK kernel regression: how well one half of the batch predicts the classes of the other."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.errors import Undefined
from zeroshot.passes import TangentKernel, Targets


def ntk_krr(kernel: Float64[Tensor, "n n"], targets: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean ‖K₂₁ K₁₁⁻¹ Y₁ − Y₂‖² over the second half of the batch; lower is better.

    K is the tangent kernel, cut into blocks by halves of the batch (of which the first holds the
    odd sample); Y are one-hot classes less the first half's mean.

    Range: [0, ∞). About 1 for predictions that know nothing; a nearly singular kernel can do far
        worse. Undefined if K₁₁ is singular, as `ntk_cond` tells it, or no weight reaches the
        logits.
    Source: Chen et al., 2021, arXiv:2108.11939 (TEG-NAS).
    Differs: the halves are normalised together and the kernel covers all weights; the authors run
        two batches, take the gradients of the cells' weights alone, and centre each half's classes
        by its own mean. Their code answers −1, the best score, for a singular kernel.
    """
    fit = (len(targets) + 1) // 2
    classes = F.one_hot(targets).double()
    classes = classes - classes[:fit].mean(0)
    values, vectors = torch.linalg.eigh(kernel[:fit, :fit])
    if values[0] <= fit * torch.finfo(kernel.dtype).eps * values[-1]:
        raise Undefined("the kernel of the first half of the batch is singular")
    weights = vectors @ (vectors.T @ classes[:fit] / values[:, None])
    return (kernel[fit:, :fit] @ weights - classes[fit:]).square().sum(1).mean()


NTK_KRR = Proxy(
    "ntk_krr", (TangentKernel(), Targets()), ntk_krr, "lower", "arXiv:2108.11939", version=5
)
