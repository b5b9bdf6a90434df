"""DeepMAD's entropy: what layers of this width and depth could tell at every scale."""

import math

from zeroshot.core import Proxy
from zeroshot.errors import Undefined
from zeroshot.passes import Forward, Trace


def deepmad(trace: Trace, last: float = 8.0) -> float:
    """Weighted sum over scales of log(positions · channels) · Σ log(weights per channel).

    Layers are convolution and linear layers in the order in which they run. A scale is a number of
    positions; the first factor is that of its last layer, the sum is over all layers up to that.
    The scale of the very last layer weighs `last`, be it the coarsest or not; others weigh 1.

    Range: [0, ∞). Depends on shapes alone, neither on weights nor on the batch. Undefined if no
        layer answers more than one position; layers that answer one (classifiers,
        squeeze-and-excitation) do not count.
    Source: Shen et al., 2023, arXiv:2303.02165, where five scales weigh 1, 1, 1, 1 and `last`. The
        entropy of networks with Gaussian weights is from Sun et al., 2022, arXiv:2111.13336.
    Differs: no bound on depth by width, which is the search's affair there. Layers side by side
        count as if in a row, shortcuts too; the authors' code, for its own blocks, leaves these out
        and takes half of each logarithm. Projections held by an attention itself are not counted.
    """
    samples, information = len(trace.logits), 0.0
    scales: dict[int, float] = {}
    for layer in trace.layers:
        channels = layer.output.shape[layer.channels]
        positions = layer.output.numel() // (channels * samples)
        if positions > 1:
            information += math.log(layer.fan_in)
            scales.pop(positions, None)
            scales[positions] = math.log(positions * channels) * information
    if not scales:
        raise Undefined("no convolution or linear layer answers more than one position")
    *others, final = scales.values()
    return sum(others) + last * final


DEEPMAD = Proxy("deepmad", (Forward(),), deepmad, "higher", "arXiv:2303.02165", version=2)
