"""NTK condition number: how evenly the network could learn the batch."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import TangentKernel


def ntk_cond(kernel: Float64[Tensor, "n n"]) -> Float[Tensor, ""]:
    """λ_max / λ_min of the n × n tangent kernel; lower is better.

    Range: [1, ∞]. ∞ if the kernel is singular: λ_min is not above n · 2⁻⁵² · λ_max, the rounding
        error of the kernel. Undefined if no weight reaches the logits. Gradients of a float32
        network carry 1e-7 of rounding, so values beyond about 1e6 deserve a float64 network.
    Source: Chen, Gong and Wang, 2021, arXiv:2102.11535 (TE-NAS).
    Differs: float64, so that no eigenvalue turns negative and wins; never NaN as 100,000.
    """
    eigenvalues = torch.linalg.eigvalsh(kernel)
    low, high = eigenvalues[0], eigenvalues[-1]
    floor = len(kernel) * torch.finfo(kernel.dtype).eps * high
    return torch.where(low > floor, high / low, torch.inf)


NTK_COND = Proxy(
    "ntk_cond", (TangentKernel(),), ntk_cond, "lower", "arXiv:2102.11535", log=True, version=5
)
