"""Linear regions: how many pieces of a piecewise linear function the inputs fall into."""

from jaxtyping import UInt8
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import Patterns


def linear_regions(patterns: UInt8[Tensor, "n _"]) -> int:
    """Number of different activation patterns (bit-packed rows) among the inputs.

    Range: 1 to n, exact. Undefined without any ReLU-like activation. Without a thin network n is
        the batch, and nearly every network separates all of it.
    Source: Xiong et al., 2020, arXiv:2001.06892; TE-NAS, arXiv:2102.11535, for the protocol:
        3,000 random 3×3 crops through a thin network, on spaces that offer one.
    Differs: counted with a set of rows, not through a half-precision n × n product.
    """
    return len({row.tobytes() for row in patterns.cpu().numpy()})


LINEAR_REGIONS = Proxy(
    "linear_regions", (Patterns(),), linear_regions, "higher", "arXiv:2102.11535"
)
