"""Params: how many parameters the network has."""

from zeroshot.core import Cost, Proxy
from zeroshot.passes import Census


def params(cost: Cost) -> int:
    """Number of parameters, biases and normalisation included.

    Range: a whole number; 0 for a network without parameters. Shared parameters count once.
    Source: folklore, and the baseline that every proxy has to beat.
    Differs: on a space, the number that its benchmark states, which for NAS-Bench-201 includes
        operations that cannot reach the output.
    """
    return cost.params


PARAMS = Proxy("params", (Census(),), params, "higher", "baseline")
