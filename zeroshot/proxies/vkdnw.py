"""VKDNW: number of parameter tensors, ties told apart by the entropy of the Fisher information."""

from jaxtyping import Float64
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import FisherInformation, Information
from zeroshot.proxies.vkdnw_entropy import vkdnw_entropy


def vkdnw(seen: Information) -> Float64[Tensor, ""]:
    """Number of parameter tensors + `vkdnw_entropy`.

    Range: (1, ∞). The entropy is below log 9 ≈ 2.2, so this is first of all a count of tensors, and
        between architectures of as many layers the entropy. Undefined where the entropy is.
    Source: Týbl and Neumann, 2025, arXiv:2502.04975: VKDNW_single.
    Differs: as `vkdnw_entropy` does.
    """
    return seen.tensors + vkdnw_entropy(seen)


VKDNW = Proxy("vkdnw", (FisherInformation(),), vkdnw, "higher", "arXiv:2502.04975")
