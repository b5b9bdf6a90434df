"""Gradients of the loss for parts of the batch, down to single samples."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from zeroshot.core import Batch, Net, Pass
from zeroshot.errors import Undefined
from zeroshot.passes.backward import check_reached, gradients, rows_of
from zeroshot.passes.forward import Forward, Trace
from zeroshot.passes.structure import leaves_of, needing_statistics, weights_of
from zeroshot.passes.twice import cheap_on_few_channels


@dataclass(frozen=True)
class SplitGrads(Pass[tuple[Float[Tensor, "parts ..."], ...]]):
    """Gradients of the mean loss of each part of the batch, for every weight.

    Attributes:
        parts: into how many the batch is cut, in order; their sizes differ by one at most. Each
            is normalised with its own statistics.
    """

    parts: int = 2

    def run(self, net: Net, batch: Batch) -> tuple[Float[Tensor, "parts ..."], ...]:
        """One forward and backward run of each part; Undefined if one has fewer than 2 samples."""
        if len(batch) < 2 * self.parts:
            raise Undefined(
                f"{len(batch)} samples cannot be cut into {self.parts} parts of 2 or more"
            )
        return tuple(map(torch.stack, zip(*_grads(net, batch, self.parts), strict=True)))


@dataclass(frozen=True)
class SignSums(Pass[tuple[Float[Tensor, "..."], ...]]):
    """Σ sign ∂L/∂w over samples for every weight, L being one sample's loss.

    Attributes:
        fidelity: 'paper': L of a sample of the batch, normalised with the batch's statistics.
            'official': L of the sample run by itself and normalised with its own, as the authors'
            code has it.
        chunk: samples per backward run: speed and memory, never the result ('paper' only). See
            `rows_of`.
    """

    fidelity: Literal["paper", "official"] = "paper"
    chunk: int | None = None
    needs = (Forward(),)

    def run(self, net: Net, batch: Batch, trace: Trace) -> tuple[Float[Tensor, "..."], ...]:
        """Add up signs; Undefined if a normalisation cannot do with the one sample it gets."""
        weights = weights_of(net, trace.leaves)
        # Half precision does not count beyond 256 or 2,048.
        sums = [weight.new_zeros(weight.shape, dtype=_counting(weight)) for weight in weights]
        rows = (
            self._rows(batch, trace, weights)
            if self.fidelity == "paper"
            else _grads(net, batch, len(batch))
        )
        for found in rows:
            for total, gradient in zip(sums, found, strict=True):
                if gradient is not None:
                    total += gradient.sign().to(total.dtype).sum_to_size(total.shape)
        return tuple(sums)

    def _rows(
        self, batch: Batch, trace: Trace, weights: tuple[Tensor, ...]
    ) -> Iterator[tuple[Tensor | None, ...]]:
        """Gradients of `chunk` samples at a time; None where a weight reaches nothing."""
        losses = batch.losses(trace.logits)
        check_reached(losses)
        yield from rows_of(losses, weights, self.chunk)


def _counting(weight: Tensor) -> torch.dtype:
    return torch.promote_types(weight.dtype, torch.float32)


def _grads(net: Net, batch: Batch, parts: int) -> Iterator[tuple[Tensor, ...]]:
    """Gradients of the mean loss of each part of the batch, run by itself."""
    cuts = (tensor.tensor_split(parts) for tensor in (batch.inputs, batch.targets))
    for inputs, targets in zip(*cuts, strict=True):
        leaves = leaves_of(net)
        weights = weights_of(net, leaves)
        with needing_statistics(), cheap_on_few_channels(), sdpa_kernel(SDPBackend.MATH):
            loss = batch.loss(net(inputs, leaves), targets).mean()
        yield gradients(loss, weights)
