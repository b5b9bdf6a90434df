"""SWAP, regularised: patterns of units, held to a size."""

import math

from jaxtyping import Bool
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import Codes, Numbers
from zeroshot.proxies.swap import swap


def swap_reg(
    codes: tuple[Bool[Tensor, "n _"], ...], parameters: int, mu: float = 1e6, sigma: float = 1e12
) -> float:
    """Ψ · exp(−(P − µ)² / σ): Ψ as in `swap`, P the number of parameters of the network that runs.

    µ is the size that is wanted and √σ how far from it is tolerable; by default a million of
    parameters, and as many. Another size is a proxy of your own:
    `replace(SWAP_REG, name="swap_2m", formula=partial(swap_reg, mu=2e6))`.

    Range: [0, number of units]; 0 where the size is so far off that the factor underflows.
        Undefined without any ReLU-like activation.
    Source: Peng et al., 2024, arXiv:2403.04161.
    Differs: as `swap`; and P counts parameters, the authors' code thousands of them. Parameters of
        operations that cannot reach the output are not there where a space leaves these out.
    """
    return swap(codes) * math.exp(-((parameters - mu) ** 2) / sigma)


SWAP_REG = Proxy(
    "swap_reg", (Codes(), Numbers()), swap_reg, "higher", "arXiv:2403.04161", version=2
)
