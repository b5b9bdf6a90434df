"""epsinas: how differently two constant initialisations see the batch."""

import torch
from jaxtyping import Float64
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.errors import Undefined
from zeroshot.passes import ConstantWeights


def epsilon(
    runs: tuple[Float64[Tensor, " _"], Float64[Tensor, " _"]],
) -> Float64[Tensor, ""]:
    """Mean |p − q| / mean of both, p and q the logits of two runs, each scaled to lie in [0, 1].

    In one run all weights are 1e-7, in the other 1; biases are zero. What is 0 by construction, a
    run's least logits, is left out.

    Range: [0, 2). 0 up to rounding if the runs differ by a factor and an offset alone, as those of
        networks do without normalisation. Undefined if a run's logits are equal but for rounding,
        or overflow, and for layer normalisation, or that of groups, behind which they would be.
    Source: Gracheva, 2023, arXiv:2302.04406, under the name epsinas.
    Differs: in float64, where fewer logits vanish; least logits are recognised despite rounding.
        The constants depend on the space (the authors search for them); `ConstantWeights` takes
        others.
    """
    scaled = []
    for logits in runs:
        low, high = logits.min(), logits.max()
        spread = high - low
        if not bool(spread.isfinite() & (spread > TELLING * logits.abs().max())):
            raise Undefined("with constant weights all logits are equal, or overflow")
        scaled.append((logits - low) / spread)
    one, other = scaled
    kept, kept_other = one > TELLING, other > TELLING
    if not bool((kept & kept_other).any()):
        raise Undefined("with constant weights no logits but the least can be told apart")
    both = torch.cat([one[kept], other[kept_other]])
    return (one - other).abs()[kept & kept_other].mean() / both.mean()


TELLING = 1e-9  # smaller differences, relative to the largest, may be rounding

EPSILON = Proxy("epsilon", (ConstantWeights(),), epsilon, "higher", "arXiv:2302.04406", version=3)
