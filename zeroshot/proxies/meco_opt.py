"""MeCo, optimised: whether eight channels of each layer differ in what they answer."""

import torch
from jaxtyping import Float64
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import FeatureMaps, Map
from zeroshot.proxies.meco import least


def meco_opt(maps: tuple[Map, ...]) -> Float64[Tensor, ""]:
    """Sum over layers of c/8 times the least eigenvalue (see `meco`) of 8 of its c channels.

    Range: from 0 to an eighth of all channels. Layers of fewer channels take part with all.
        Undefined if no layer answers more than one position.
    Source: Jiang, Wang and Bie, 2023, NeurIPS, as `meco`: there it is to correct for the number of
        channels, of which many make the least eigenvalue small or zero.
    Differs: as `meco`; the authors' code fails for a layer of fewer than 8 channels.
    """
    return torch.stack([m.channels / len(m.rows) * least(m.rows) for m in maps]).sum()


MECO_OPT = Proxy(
    "meco_opt", (FeatureMaps(picked=8),), meco_opt, "higher", "NeurIPS 2023", version=3
)
