"""Backward runs of the one forward run: gradients of the loss, and of the logits for inputs."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import grad

from zeroshot.core import Batch, Net, Pass
from zeroshot.errors import Undefined
from zeroshot.observe import by_sample
from zeroshot.passes.forward import Forward, Layer, Trace
from zeroshot.passes.structure import own_weights_of, weights_of

# A gradient for the inputs is rounding if it is so many times what a number is rounded by, or such
# a share, of that of other sums: networks without batch normalisation at the end have from 0.1.
ROUNDING, LEAST = 1000.0, 0.02


class Grads(NamedTuple):
    """Weights and the gradients of some scalar for them; zero where a weight reaches nothing."""

    weights: tuple[Tensor, ...]
    grads: tuple[Tensor, ...]  # same shapes


class Saliency(NamedTuple):
    """What the channels of one layer's output contribute to the loss, sample by sample."""

    products: Float[Tensor, "n channels"]  # Σ activation · gradient over positions
    fan_in: int  # weights that one channel has


class LossTrace(NamedTuple):
    """What one backward run of the mean loss yields."""

    grads: Grads
    layers: tuple[Saliency, ...]  # one per layer run
    lost: str = ""  # why there are no layers, if there are none
    alive: tuple[Tensor, ...] = ()  # the weights' gradients once more, if differentiable in turn


@dataclass(frozen=True)
class LossBackward(Pass[LossTrace]):
    """One backward run of the mean loss, down to weights and layer outputs at once.

    Attributes:
        twice: whether the gradients stay differentiable; dearer in memory.
    """

    twice: bool = False

    @property
    def needs(self) -> tuple[Forward]:
        """A forward run made for it."""
        return (Forward(self.twice),)

    def among(self, planned: Collection[Pass[Any]]) -> "LossBackward":
        """One run, kept differentiable if any is to be."""
        return LossBackward(self.twice or LossBackward(twice=True) in planned)

    def run(self, net: Net, batch: Batch, trace: Trace) -> LossTrace:
        """Differentiate the loss; layer outputs are reduced to a number per sample and channel."""
        leaves = own_weights_of(net, trace.leaves)
        outputs = tuple(layer.output for layer in trace.layers)
        # Differentiable in any case: some operations (SiLU) round differently where they are not,
        # and a score may not depend on what else is scored.
        found = gradients(batch.losses(trace.logits).mean(), (*leaves, *outputs), create_graph=True)
        alive = found[: len(leaves)] if self.twice else ()
        found = tuple(gradient.detach() for gradient in found)
        grads = Grads(tuple(leaf.detach() for leaf in leaves), found[: len(leaves)])
        if not trace.layers:
            return LossTrace(grads, (), "no convolution or linear layer ran as a module", alive)
        try:
            pairs = zip(trace.layers, found[len(leaves) :], strict=True)
            layers = tuple(_saliency(layer, gradient, len(batch), net) for layer, gradient in pairs)
        except Undefined as reason:
            return LossTrace(grads, (), str(reason), alive)
        return LossTrace(grads, layers, alive=alive)


@dataclass(frozen=True)
class LossGrads(Pass[Grads]):
    """Gradient of the mean loss for every convolution and linear weight."""

    needs = (LossBackward(),)

    def run(self, net: Net, batch: Batch, found: LossTrace) -> Grads:
        """The weights' part of the one backward run; Undefined if one is reparametrised."""
        net.check_weights()
        return found.grads


@dataclass(frozen=True)
class LayerSaliency(Pass[tuple[Saliency, ...]]):
    """Σ activation · gradient of the mean loss, per layer run, sample and channel."""

    needs = (LossBackward(),)

    def run(self, net: Net, batch: Batch, found: LossTrace) -> tuple[Saliency, ...]:
        """The layers' part of the one backward run; Undefined if there is none."""
        if found.lost:
            raise Undefined(found.lost)
        return found.layers


# How PyTorch says that something cannot be differentiated twice.
ONCE_ONLY = ("not implemented", "once_differentiable", "ouble backwards is not supported")


@dataclass(frozen=True)
class Curvature(Pass[Float[Tensor, " weights"]]):
    """w · H·g for every convolution and linear weight w: g is the loss gradient, H its Hessian."""

    needs = (Forward(twice=True), LossBackward(twice=True))

    def run(
        self, net: Net, batch: Batch, trace: Trace, first: LossTrace
    ) -> Float[Tensor, " weights"]:
        """Differentiate ½‖g‖² along w; Undefined if an operation cannot be differentiated twice."""
        leaves = weights_of(net, trace.leaves)
        wanted = tuple(trace.scales.get(id(leaf), leaf) for leaf in leaves)
        with differentiating_twice():
            half = torch.stack([(g.detach() * g).sum() for g in first.alive]).sum()
            found = gradients(half, wanted)
        along = (
            part if leaf is not own else (own.detach() * part).sum()
            for leaf, own, part in zip(leaves, wanted, found, strict=True)
        )
        return torch.stack([part.detach() for part in along])


@dataclass(frozen=True)
class InputGrads(Pass[Float[Tensor, "n _"]]):
    """∂Σlogits/∂x: one row per sample."""

    needs = (Forward(),)

    def run(self, net: Net, batch: Batch, trace: Trace) -> Float[Tensor, "n _"]:
        """Differentiate the sum of all logits; Undefined for inputs that are not real numbers.

        Zero where that is rounding: what batch normalisation answers sums up to a constant, and so
        do logits that are linear in it. Then gradients of other sums are far larger.
        """
        if not trace.inputs.requires_grad:
            raise Undefined(f"inputs of type {trace.inputs.dtype} have no gradient")
        found = gradients(trace.logits.sum(), (trace.inputs,))[0]
        if _may_be_rounding(found, trace):
            coins = torch.empty(trace.logits.shape, dtype=torch.int8)
            coins.random_(0, 2, generator=net.generator("coins")).mul_(2).sub_(1)
            signed = (trace.logits * coins.to(trace.logits)).sum()
            (other,) = gradients(signed, (trace.inputs,))
            share = min(ROUNDING * torch.finfo(found.dtype).eps, LEAST)
            if bool(found.abs().max() <= share * other.abs().max()):
                found = torch.zeros_like(found)
        return found.flatten(1)


def _may_be_rounding(gradient: Tensor, trace: Trace) -> bool:
    """Whether a gradient is small for logits of that size, which saves to look more closely."""
    change = gradient.abs().max() * trace.inputs.detach().abs().max()
    share = ROUNDING * torch.finfo(gradient.dtype).eps
    return bool(change <= share * trace.logits.detach().abs().max())


@contextmanager
def differentiating_twice(*also: str) -> Iterator[None]:
    """Undefined where PyTorch has no second derivative, or says one of the words in `also`."""
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in (*ONCE_ONLY, *also)):
            raise
        raise Undefined(f"no second derivative: {error}".splitlines()[0]) from error


def _saliency(layer: Layer, gradient: Tensor, samples: int, net: Net) -> Saliency:
    products = (layer.output.detach() * gradient).movedim(layer.channels, -1)
    placed = by_sample(products, samples, net.module)
    return Saliency(placed.reshape(samples, -1, placed.shape[-1]).sum(1), layer.fan_in)


def gradients(
    value: Float[Tensor, ""], leaves: tuple[Tensor, ...], *, create_graph: bool = False
) -> tuple[Tensor, ...]:
    """Gradients of a scalar, zeros where a leaf reaches nothing; the graph stays for others.

    A leaf that has no gradient (an output of a part that runs under no_grad) reaches nothing.
    Undefined if the whole network runs so.
    """
    reaching = tuple(leaf for leaf in leaves if leaf.requires_grad)
    check_reached(value)
    if not reaching:
        return tuple(torch.zeros_like(leaf) for leaf in leaves)
    found = iter(
        grad(
            value,
            reaching,
            retain_graph=True,
            create_graph=create_graph,
            allow_unused=True,
            materialize_grads=True,
        )
    )
    return tuple(next(found) if leaf.requires_grad else torch.zeros_like(leaf) for leaf in leaves)


def check_reached(value: Tensor) -> None:
    """Undefined for what depends on no weight and no input, as far as PyTorch has seen."""
    if not value.requires_grad:
        raise Undefined("the answers depend on no weight and no input: do they run under no_grad?")


def rows_of(
    outputs: Float[Tensor, " n"], leaves: tuple[Tensor, ...], chunk: int | None = None
) -> Iterator[tuple[Float[Tensor, "chunk ..."] | None, ...]]:
    """The Jacobian, `chunk` rows of every leaf at a time; None where a leaf reaches nothing.

    By default one row at a time on the CPU, where several in one backward run (through vmap) take
    longer than one after the other, and 8 elsewhere.
    """
    chunk = chunk or (1 if outputs.device.type == "cpu" else 8)
    for picks in torch.eye(len(outputs), dtype=outputs.dtype, device=outputs.device).split(chunk):
        if len(picks) == 1:
            found = grad(outputs, leaves, picks[0], retain_graph=True, allow_unused=True)
            yield tuple(None if g is None else g.unsqueeze(0) for g in found)
        else:
            yield grad(
                outputs, leaves, picks, is_grads_batched=True, retain_graph=True, allow_unused=True
            )
