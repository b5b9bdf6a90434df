"""GraSP: how much removing each weight would reduce the gradient flow."""

from jaxtyping import Float
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import Curvature


def grasp(along: Float[Tensor, " weights"]) -> Float[Tensor, ""]:
    """Sum of −w · (H g) over convolution and linear weights, g = ∂L/∂w and H its Jacobian.

    Range: any real number. Zero if no weight reaches the logits.
    Source: Wang, Zhang and Grosse, 2020, arXiv:2002.07376; summed over the network by
        Abdelfattah et al., 2021, arXiv:2101.08134.
    Differs: the sign is that of the latter, opposite to pruning, where the most positive go. No
        temperature on the logits, one batch.
    """
    return -along.sum()


GRASP = Proxy("grasp", (Curvature(),), grasp, "higher", "arXiv:2002.07376", version=2)
