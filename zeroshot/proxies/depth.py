"""Depth: how many weight tensors the network has."""

from zeroshot.core import Cost, Proxy
from zeroshot.passes import Census


def depth(cost: Cost) -> int:
    """Number of convolution and linear weight tensors.

    Range: a whole number; 0 for a network without such layers.
    Source: arXiv:2503.18561 (VKDNW), which finds that such a count rivals many proxies.
    Differs: VKDNW counts all parameter tensors, normalisation and biases too.
    """
    return cost.tensors


DEPTH = Proxy("depth", (Census(),), depth, "higher", "baseline")
