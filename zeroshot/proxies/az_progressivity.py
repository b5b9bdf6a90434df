"""AZ-NAS' progressivity: whether every block spreads its features further than the one before."""

import torch
from jaxtyping import Float64
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.errors import Undefined
from zeroshot.passes import BlockSpectra
from zeroshot.proxies.az_expressivity import entropy


def az_progressivity(spectra: tuple[Float64[Tensor, " _"], ...]) -> Float64[Tensor, ""]:
    """The least growth of the entropy (see `az_expressivity`) from one block to the next.

    Range: (−∞, ∞). −∞ if a block's features are constant. Undefined for fewer than two blocks.
    Source: Lee and Ham, 2024, arXiv:2403.19232; one of its four proxies, to be ranked together.
    Differs: as `az_expressivity`.
    """
    if len(spectra) < 2:
        raise Undefined("the features of a network of one block do not progress")
    entropies = torch.stack([entropy(spectrum) for spectrum in spectra])
    if entropies.isneginf().any():
        return entropies.new_tensor(-torch.inf)
    return entropies.diff().min()


AZ_PROGRESSIVITY = Proxy(
    "az_progressivity", (BlockSpectra(),), az_progressivity, "higher", "arXiv:2403.19232", version=3
)
