"""NASWOT: whether the activations tell samples apart."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.linalg import agreements
from zeroshot.passes import Codes


def naswot(codes: tuple[Bool[Tensor, "n _"], ...]) -> Float[Tensor, ""]:
    """log|det K|, K counting on how many units two samples have the same code.

    A code is the sign of a ReLU-like activation's input.

    Range: (−∞, ∞), grows with the logarithm of the number of units; −∞ if K is singular but for
        rounding, as where two samples share a code or there are fewer units than samples.
        Undefined without any such activation.
    Source: Mellor et al., 2021, arXiv:2006.04647.
    Differs: all activations that are computed count. The authors' code takes those that a backward
        run visits, and on NAS-Bench-201 thereby some whose output is multiplied by zero.
    """
    kernel = sum(agreements(code) for code in codes)
    assert isinstance(kernel, Tensor)
    eigenvalues = torch.linalg.eigvalsh(kernel)
    if eigenvalues[0] <= len(kernel) * torch.finfo(kernel.dtype).eps * eigenvalues[-1]:
        return kernel.new_tensor(-torch.inf)
    return torch.linalg.slogdet(kernel).logabsdet


NASWOT = Proxy("naswot", (Codes(),), naswot, "higher", "arXiv:2006.04647", version=3)
