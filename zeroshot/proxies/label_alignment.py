"""Label-gradient alignment: whether samples of a class pull the weights the same way."""

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.errors import Undefined
from zeroshot.passes import TangentKernel, Targets


def label_alignment(
    kernel: Float64[Tensor, "n n"], targets: Int[Tensor, " n"]
) -> Float[Tensor, ""]:
    """Correlation of the n² entries of the tangent kernel with those of the label matrix.

    The label matrix is 1 where two samples are of one class and −1 elsewhere; as both matrices are
    centred by their means, any two numbers would do.

    Range: [−1, 1]; free of size. Undefined if all samples are of one class, if the kernel is
        constant, or if no weight reaches the logits.
    Source: Mok et al., 2022, arXiv:2203.14577, who recommend it after a few epochs of training:
        at initialisation it says little.
    Differs: the kernel is that of the summed logits.
    """
    alike = (targets[:, None] == targets).double()
    centred = [matrix - matrix.mean() for matrix in (kernel, alike)]
    norms = [matrix.norm() for matrix in centred]
    if norms[1] == 0:
        raise Undefined("all samples are of one class")
    if norms[0] <= len(kernel) * torch.finfo(kernel.dtype).eps * kernel.norm():
        raise Undefined("all samples have the same gradient")
    return (centred[0] * centred[1]).sum() / (norms[0] * norms[1])


LABEL_ALIGNMENT = Proxy(
    "label_alignment",
    (TangentKernel(), Targets()),
    label_alignment,
    "higher",
    "arXiv:2203.14577",
    version=5,
)
