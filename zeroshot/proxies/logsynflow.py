"""LogSynflow: SynFlow with the gradient's size tamed by a logarithm."""

import torch
from jaxtyping import Float
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import Grads, Synflow


def logsynflow(at: Grads) -> Float[Tensor, ""]:
    """Sum of |w| · log(1 + |∂R/∂|w||) over convolution and linear weights; R as in `synflow`.

    Range: [0, ∞); grows with the number of weights and with depth, no longer multiplies with it.
        ∞ where even float64 overflows. Zero if no weight reaches the logits.
    Source: Cavagnero et al., 2023, arXiv:2207.05135.
    Differs: the gradient's absolute value is taken, so that the logarithm exists where softmax or
        buffers make it negative; elsewhere that is the same. Buffers keep their signs.
    """
    return torch.stack([(w * g.abs().log1p()).sum() for w, g in zip(*at, strict=True)]).sum()


LOGSYNFLOW = Proxy("logsynflow", (Synflow(),), logsynflow, "higher", "arXiv:2207.05135")
