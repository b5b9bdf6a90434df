"""Zen-score: how much the features move with the input, normalisation undone."""

import torch
from jaxtyping import Float
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import Perturbation, Perturbed


def zen(seen: Perturbation) -> Float[Tensor, ""]:
    """Log mean |f(x) − f(x + γ x′)| summed over features, plus Σ log σ̄ over batch normalisations.

    f are the features before the last global pooling, with weights, x and x′ from N(0, 1);
    σ̄² is the mean of a layer's channel variances.

    Range: (−∞, ∞), grows with depth and width. −∞ if the features do not depend on the input; ∞ or
        NaN if they overflow (use float64). Undefined without a global pooling.
    Source: Lin et al., 2021, arXiv:2102.01063. Its authors do not recommend it for topologies with
        irregular skips, such as those of NAS-Bench-201.
    Differs: the variances are the batch's, as in the paper; `Perturbed(fidelity="official")` reads
        running variances as the authors' code does. One draw; average over seeds for more.
    """
    moved = (seen.clean - seen.perturbed).abs().flatten(1).sum(1).mean()
    scales = [variance.mean().sqrt().log() for variance in seen.variances]
    return moved.log() + (torch.stack(scales).sum() if scales else 0.0)


ZEN = Proxy("zen", (Perturbed(),), zen, "higher", "arXiv:2102.01063", version=2)
