"""Fisher: how much the loss depends on each channel."""

import torch
from jaxtyping import Float
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import LayerSaliency, Saliency


def fisher(layers: tuple[Saliency, ...]) -> Float[Tensor, ""]:
    """Sum over layers and channels of ½ · mean over samples of (Σ a · ∂L/∂a)², times its weights.

    a are the outputs of convolution and linear layers, the inner sum runs over positions, and a
    channel's value counts once for each of its weights.

    Range: [0, ∞). Zero if no layer reaches the logits.
    Source: Turner et al., 2020, arXiv:1906.04113; summed like this by Abdelfattah et al., 2021,
        arXiv:2101.08134.
    Differs: on sequences the channels of a linear layer are its last dimension, where the authors'
        code would take the second. Projections inside attention are not layers of their own.
    """
    each = [(layer.products.square().mean(0) / 2).sum() * layer.fan_in for layer in layers]
    return torch.stack(each).sum()


FISHER = Proxy("fisher", (LayerSaliency(),), fisher, "higher", "arXiv:1906.04113", version=3)
