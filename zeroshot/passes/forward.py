"""One forward run, and what can be read off it. Its graph serves the backward runs."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from zeroshot.core import LAYERS, Batch, Net, Pass
from zeroshot.errors import Undefined
from zeroshot.observe import by_sample, hooked, watching_activations
from zeroshot.passes.structure import leaves_of


class Layer(NamedTuple):
    """What one run of a convolution or linear layer gave."""

    output: Tensor
    fan_in: int  # weights that one channel has
    channels: int  # the output's axis of channels


class Trace(NamedTuple):
    """A forward run whose graph is still alive."""

    inputs: Tensor  # a fresh leaf, if it is real
    targets: Int[Tensor, " n"]
    leaves: dict[str, Tensor]  # every parameter, as a fresh leaf
    weights: dict[str, Tensor]  # those of them that are convolution or linear weights
    logits: Float[Tensor, "n ..."]
    codes: tuple[Bool[Tensor, "..."], ...]  # per activation: which inputs are positive
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Forward(Pass[Trace]):
    """One forward run of the batch, with the batch's own normalisation statistics."""

    def run(self, net: Net, batch: Batch) -> Trace:
        """Run it; a second time, on copies, if the network overwrote a layer's output in place."""
        trace, versions = self._run(net, batch, copy=False)
        if versions != [layer.output._version for layer in trace.layers]:
            trace, _ = self._run(net, batch, copy=True)
        return trace

    def _run(self, net: Net, batch: Batch, *, copy: bool) -> tuple[Trace, list[int]]:
        inputs = batch.inputs.detach().clone()
        inputs.requires_grad_(inputs.is_floating_point())
        leaves = leaves_of(net)
        codes: list[Tensor] = []
        layers: list[Layer] = []
        versions: list[int] = []

        def keep(module: nn.Module, _: object, output: Tensor) -> Tensor | None:
            layers.append(_layer(module, output))
            versions.append(output._version)
            return output.clone() if copy else None

        observers = hooked(net.module, LAYERS, keep), watching_activations(codes)
        # Of the attention kernels, the plain one can be differentiated twice.
        with observers[0], observers[1], sdpa_kernel(SDPBackend.MATH):
            logits = net(inputs, leaves)
        if logits.shape[:1] != (len(batch),):
            raise Undefined(f"logits of shape {tuple(logits.shape)} for {len(batch)} samples")
        weights = {name: leaves[name] for name in net.weights()}
        return Trace(
            inputs, batch.targets, leaves, weights, logits, tuple(codes), tuple(layers)
        ), versions


@dataclass(frozen=True)
class Codes(Pass[tuple[Bool[Tensor, "n _"], ...]]):
    """Per activation: which of its inputs are positive."""

    needs = (Forward(),)

    def run(self, net: Net, batch: Batch, trace: Trace) -> tuple[Bool[Tensor, "n _"], ...]:
        """Take them from the forward run; Undefined without any ReLU-like activation."""
        return seen_codes(trace.codes, len(batch))


def _layer(module: nn.Module, output: Tensor) -> Layer:
    if isinstance(module, nn.Linear):
        return Layer(output, module.in_features, output.ndim - 1)
    assert isinstance(module, nn.modules.conv._ConvNd)
    area = math.prod(module.kernel_size)
    return Layer(output, module.in_channels // module.groups * area, 1)


def seen_codes(
    codes: tuple[Bool[Tensor, "..."], ...], samples: int
) -> tuple[Bool[Tensor, "samples _"], ...]:
    """Codes as rows, but for activations that all samples share (a table of positions, say)."""
    own = tuple(code for code in codes if samples in code.shape[:2] or code.shape[:1] != (1,))
    if not own:
        raise Undefined("no ReLU-like activation was seen")
    return tuple(by_sample(code, samples).reshape(samples, -1) for code in own)


def packed(codes: tuple[Bool[Tensor, "n _"], ...]) -> UInt8[Tensor, "n _"]:
    """Eight codes to a byte."""
    bits = torch.cat(codes, dim=1)
    bits = F.pad(bits, (0, -bits.shape[1] % 8)).unflatten(1, (-1, 8))
    places = 2 ** torch.arange(8, dtype=torch.uint8, device=bits.device)
    return (bits * places).sum(2, dtype=torch.uint8)
