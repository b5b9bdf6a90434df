"""FLOPs: how many multiply-adds one inference takes."""

from zeroshot.core import Cost, Proxy
from zeroshot.passes import Census


def flops(cost: Cost) -> int:
    """Multiply-adds (MACs) of convolutions and matrix products for one sample.

    Range: a whole number; 0 for a network without such operations. One multiply-add counts as one,
        as in NAS benchmarks; normalisation, pooling and activations are not counted.
    Source: folklore, and a baseline that every proxy has to beat.
    Differs: on a space, the number that its benchmark states.
    """
    return cost.macs


FLOPS = Proxy("flops", (Census(),), flops, "higher", "baseline", version=2)
