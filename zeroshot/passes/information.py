"""Fisher information: what the classes that the network answers would tell about its weights."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.autograd import grad
from torch.nn.attention import SDPBackend, sdpa_kernel

from zeroshot.core import Batch, Net, Pass
from zeroshot.errors import Undefined
from zeroshot.passes.backward import differentiating_twice
from zeroshot.passes.forward import Forward, Trace
from zeroshot.passes.structure import leaves_of


class Information(NamedTuple):
    """Fisher information of a few weights."""

    matrix: Float64[Tensor, "p p"]
    tensors: int  # that the network's parameters are in, those not looked at included


@dataclass(frozen=True)
class FisherInformation(Pass[Information]):
    """Fisher information of the first weight of every parameter tensor, in float64.

    The mean over samples of Jᵀ (diag σ − σσᵀ) J, where J holds the gradients of a sample's logits
    and σ are its class probabilities; no targets are involved.

    Attributes:
        most: parameter tensors looked at; the others, after them, are not.
        fidelity: 'paper': samples are normalised with the batch's statistics. 'official': with the
            stored ones, which in a fresh network change nothing, and σ has a twentieth of the
            uniform distribution mixed in, as in the authors' code.
    """

    most: int = 128
    fidelity: Literal["paper", "official"] = "paper"
    needs = (Forward(twice=True),)

    def run(self, net: Net, batch: Batch, trace: Trace) -> Information:
        """Differentiate the logits; Undefined if no weight reaches them, or no second time."""
        leaves, logits = trace.leaves, trace.logits
        if self.fidelity == "official":
            leaves = leaves_of(net)
            with sdpa_kernel(SDPBackend.MATH):
                logits = net(batch.inputs, leaves, statistics="stored")
        if logits.ndim != 2 or not batch.has_classes:
            raise Undefined(f"logits of shape {tuple(logits.shape)} are no classes'")
        seen = tuple(leaves.values())[: self.most]
        jacobian = self._jacobian(logits, tuple(leaf for leaf in seen if leaf.requires_grad))
        chances = logits.detach().double().softmax(1)
        if self.fidelity == "official":
            chances = 0.95 * chances + 0.05 / chances.shape[1]
        about = jacobian - (chances * jacobian).sum(2, keepdim=True)
        rows = (chances.sqrt() * about).flatten(1)
        return Information(rows @ rows.T / len(batch), len(leaves))

    def _jacobian(
        self, logits: Float[Tensor, "n c"], leaves: tuple[Tensor, ...]
    ) -> Float64[Tensor, "p n c"]:
        """Gradients of all logits for the first entry of every leaf.

        One backward run from the logits' weights v gives gradients that are linear in v, and their
        own gradients for v are the rows wanted: a run for each of the few leaves takes the place of
        one for each of the many logits, and goes no deeper than to its leaf.
        """
        weights = torch.zeros_like(logits, requires_grad=True)
        found: tuple[Tensor | None, ...] = ()
        if leaves and logits.requires_grad:
            found = grad(
                logits, leaves, weights, create_graph=True, retain_graph=True, allow_unused=True
            )
        if all(gradient is None for gradient in found):
            raise Undefined("no weight reaches the logits")
        rows = torch.zeros(len(found), *logits.shape, dtype=torch.float64, device=logits.device)
        with differentiating_twice("not have been used"):
            for row, gradient in zip(rows, found, strict=True):
                if gradient is not None:
                    row += grad(gradient.flatten()[0], weights, retain_graph=True)[0]
        return rows
