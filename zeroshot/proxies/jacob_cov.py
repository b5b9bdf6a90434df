"""Jacobian covariance: whether samples pull the logits in different directions."""

import torch
from jaxtyping import Float
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.linalg import correlations
from zeroshot.passes import InputGrads


def jacob_cov(jacobian: Float[Tensor, "n d"], epsilon: float = 1e-5) -> Float[Tensor, ""]:
    """−Σ log(λ + ε) + 1 / (λ + ε) over the eigenvalues λ of the samples' correlation matrix.

    Row i of `jacobian` is the gradient of the summed logits for sample i. The best possible value
    is −n (1 + log(1 + ε) …), for rows without any correlation.

    Range: (−∞, about −n]; −∞ if no sample has a gradient: the logits ignore the input, or their sum
        does. It does where batch normalisation by the batch's statistics is the last that is not
        linear, as in all networks of TransNAS-Bench-101. Undefined if the gradient of a sample is
        constant, but not zero for all.
    Source: Mellor et al., 2020, arXiv:2006.04647v1; as a proxy in Abdelfattah et al., 2021,
        arXiv:2101.08134.
    Differs: a solver for symmetric matrices, so that no eigenvalue is complex. The authors' code
        gives NaN where the logits ignore the input, and correlates rounding where their sum does.
    """
    if not bool(jacobian.any()):
        return jacobian.new_tensor(-torch.inf)
    eigenvalues = torch.linalg.eigvalsh(correlations(jacobian)).clamp(min=0) + epsilon
    return -(eigenvalues.log() + 1 / eigenvalues).sum()


JACOB_COV = Proxy("jacob_cov", (InputGrads(),), jacob_cov, "higher", "arXiv:2006.04647", version=3)
