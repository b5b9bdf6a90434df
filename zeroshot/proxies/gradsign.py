"""GradSign: on how many weights the samples agree which way to go."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import SignSums


def gradsign(sums: tuple[Float[Tensor, "..."], ...]) -> Float64[Tensor, ""]:
    """Σ |Σ sign ∂L/∂w|: over samples inside, over convolution and linear weights outside.

    L is the cross-entropy of one sample.

    Range: [0, samples · weights], whole numbers; grows with the number of weights. A gradient of
        zero has no sign, so a weight that reaches nothing adds nothing; 0 if none reaches the
        logits. A gradient that is zero but for rounding has a sign, which may differ between
        machines.
    Source: Zhang and Jia, 2022, arXiv:2110.08616.
    Differs: samples are normalised together, as in training. The authors' code runs them one by
        one, so that batch normalisation sees a batch of one: `SignSums(fidelity="official")`.
        Later ports divide by the number of weights, which undoes the ranking; here, as in the
        paper, nothing is divided.
    """
    return torch.stack([layer.abs().sum(dtype=torch.float64) for layer in sums]).sum()


GRADSIGN = Proxy("gradsign", (SignSums(),), gradsign, "higher", "arXiv:2110.08616")
