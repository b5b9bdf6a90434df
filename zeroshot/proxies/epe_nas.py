"""EPE-NAS: whether samples of one class pull the logits in different directions."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.linalg import correlations
from zeroshot.passes import InputGrads, Targets


def epe_nas(
    jacobian: Float[Tensor, "n d"], targets: Int[Tensor, " n"], epsilon: float = 1e-5
) -> Float[Tensor, ""]:
    """Sum over classes c of |s_c|, s_c = Σ log(|r| + ε) over the class' correlation matrix r.

    Row i of `jacobian` is the gradient of the summed logits for sample i. Diagonals are included.
    With more than 100 classes in the batch: Σ |s_c − s_d| over ordered pairs, s_c divided by the
    number of samples of the class, and the sum by the number of classes.

    Range: [0, ∞). Near zero if no class has two samples. Undefined if a sample's gradient is
        constant: the logits ignore it, or their sum does (see `jacob_cov`).
    Source: Lopes, Alirezazadeh and Alexandre, 2021, arXiv:2102.08099.
    Differs: classes are counted in the batch; the authors' code assumes 10 whatever the data.
    """
    classes = targets.unique()
    many = len(classes) > 100
    sums = []
    for label in classes:
        rows = jacobian[targets == label]
        total = (correlations(rows).abs() + epsilon).log().sum()
        sums.append(total / len(rows) if many else total)
    scores = torch.stack(sums)
    if many:
        return (scores[:, None] - scores).abs().sum() / len(classes)
    return scores.abs().sum()


EPE_NAS = Proxy(
    "epe_nas", (InputGrads(), Targets()), epe_nas, "higher", "arXiv:2102.08099", version=2
)
