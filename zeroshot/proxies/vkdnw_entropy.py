"""VKDNW entropy: how evenly the network's answers tell about its weights."""

import torch
from jaxtyping import Float64
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.errors import Undefined
from zeroshot.passes import FisherInformation, Information


def vkdnw_entropy(seen: Information) -> Float64[Tensor, ""]:
    """Entropy −Σ p log p of the nine deciles of the eigenvalues of the Fisher information.

    The deciles are divided by their sum to give p; the information is that of one weight of every
    parameter tensor.

    Range: [0, log 9], in nats; free of size. Undefined if the deciles are zero, for then nine in
        ten of the weights do not matter, or if no weight reaches the logits.
    Source: Týbl and Neumann, 2025, arXiv:2502.04975, where it is a member of VKDNW_agg, an
        ensemble with FLOPs and three measures of AZ-NAS.
    Differs: batch normalisation uses the batch's statistics; the authors' code runs it with the
        stored ones, and smooths the class probabilities: `FisherInformation(fidelity="official")`.
        They draw weights as `kaiming_normal` does; the order of networks depends on both choices.
        In either case the formula is exact; their code takes a Cholesky factor of diag σ − σσᵀ for
        its transpose and smooths in half precision, which moves the entropy by up to 1 %.
    """
    values = torch.linalg.eigvalsh(seen.matrix)
    rounding = len(values) * torch.finfo(values.dtype).eps * values[-1]
    values = torch.where(values > rounding, values, 0.0)
    deciles = torch.quantile(values, torch.arange(1, 10).to(values) / 10)
    if not deciles[-1] > 0:
        raise Undefined("nine in ten of the weights looked at do not change the logits")
    return torch.special.entr(deciles / deciles.sum()).sum()


VKDNW_ENTROPY = Proxy(
    "vkdnw_entropy", (FisherInformation(),), vkdnw_entropy, "higher", "arXiv:2502.04975"
)
