"""AZ-NAS' trainability: whether blocks keep the size of gradients that pass through them."""

import torch
from jaxtyping import Float64
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import BlockHandover, Handover


def az_trainability(seen: Handover) -> Float64[Tensor, ""]:
    """Mean of 2 − σ − 1/σ over blocks.

    σ is the spectral norm of the covariance, over samples and positions, of a gradient of random
    signs at the block's output with that gradient carried back to the block before.

    Range: (−∞, 0], 0 if every σ is 1. −∞ if a block hands back no gradient, or hands it back as it
        came, which shortcuts do that are all of a block. Undefined for fewer than two blocks.
    Source: Lee and Ham, 2024, arXiv:2403.19232; one of its four proxies, to be ranked together.
    Differs: 1/σ is exact; the authors' code computes 1/(σ + 1e-6). Their code for transformers
        leaves out blocks that hand gradients back as they came, that for convolutional networks
        gives −∞ as here. Where maps do not shrink by a whole number, ours crops or pads them.
    """
    scores = torch.where(seen.unchanged, -torch.inf, 2 - seen.norms - 1 / seen.norms)
    return scores.mean()


AZ_TRAINABILITY = Proxy(
    "az_trainability", (BlockHandover(),), az_trainability, "higher", "arXiv:2403.19232", version=3
)
