"""MeCo: whether channels differ in what they answer."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import FeatureMaps, Map


def meco(maps: tuple[Map, ...]) -> Float64[Tensor, ""]:
    """Sum over layers of the least eigenvalue of the correlations between channels.

    Correlated are the positions of the layer's answer to the first sample of the batch.

    Range: from 0, where no layer has more positions than channels, to the number of layers. A
        constant channel correlates with nothing, not even itself, and makes its layer add nothing.
        Undefined if no layer answers more than one position.
    Source: Jiang, Wang and Bie, 2023, NeurIPS, "MeCo: Zero-Shot NAS with One Data and Single
        Forward Pass via Minimum Eigenvalue of Correlation".
    Differs: layers are convolution and linear layers. The authors' code takes the output of every
        module: those of activations and normalisations too, and those of containers once more. It
        runs one sample alone, ours is normalised with its batch.
    """
    return torch.stack([least(m.rows) for m in maps]).sum()


def least(rows: Float[Tensor, "c positions"]) -> Float64[Tensor, ""]:
    """The least eigenvalue of the rows' correlations; 0 if a row is constant."""
    exact = rows.double()
    centred = exact - exact.mean(1, keepdim=True)
    norms = centred.norm(dim=1, keepdim=True)
    varies = norms > 8 * torch.finfo(rows.dtype).eps * exact.norm(dim=1, keepdim=True)
    unit = torch.where(varies, centred / norms, 0.0)
    found = torch.linalg.eigvalsh(unit @ unit.T)[0].clamp(min=0)
    return torch.where(varies.all(), found, 0.0)  # not what rounding makes of it


MECO = Proxy("meco", (FeatureMaps(),), meco, "higher", "NeurIPS 2023", version=3)
