"""SynFlow with batch normalisation kept: the flow that normalisation leaves; a control."""

from jaxtyping import Float
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import Grads, Synflow
from zeroshot.proxies.synflow import synflow


def synflow_bn(at: Grads) -> Float[Tensor, ""]:
    """Sum of | |w| · ∂R/∂|w| | over convolution and linear weights, R the sum of the logits.

    As `synflow`, but that batch normalisation is not left out.

    Range: [0, ∞); multiplies with depth, up to 1e61, so compare logarithms or ranks; ∞ where
        even float64 overflows. Zero if no weight reaches the logits.
    Source: Abdelfattah et al., 2021, arXiv:2101.08134.
    Differs: buffers keep their signs.
    """
    return synflow(at)


SYNFLOW_BN = Proxy(
    "synflow_bn", (Synflow(keep_bn=True),), synflow_bn, "higher", "arXiv:2101.08134", log=True
)
