"""NTK trace: how fast the network would learn at first."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import TangentKernel


def ntk_trace(kernel: Float64[Tensor, "n n"]) -> Float[Tensor, ""]:
    """√(tr K / n) of the n × n tangent kernel: the root mean square of the samples' gradients.

    Range: [0, ∞), grows with the number of weights and with depth where nothing normalises.
        Undefined if no weight reaches the logits.
    Source: Shu et al., 2022, arXiv:2109.00817 (NASI); in this form 2022, arXiv:2201.09785. The
        bound that they derive falls as the trace grows only until learning becomes unstable, which
        is why NASI maximises it below a threshold that it sets by hand. Here no threshold is set:
        rank by it only among networks that learn steadily, such as normalised ones.
    Differs: K is that of the summed logits, with batch statistics and exact; the authors estimate
        the trace from gradients of the loss, and later code from the logits of the target classes.
    """
    return (torch.trace(kernel) / len(kernel)).sqrt()


NTK_TRACE = Proxy(
    "ntk_trace", (TangentKernel(),), ntk_trace, "higher", "arXiv:2109.00817", version=5
)
