"""One forward run, and what can be read off it. Its graph serves the backward runs."""

import math
from collections.abc import Collection, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64, UInt8
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from zeroshot.core import Batch, Net, Pass
from zeroshot.errors import Undefined
from zeroshot.linalg import crossed
from zeroshot.observe import by_sample, hooked, watching_activations, watching_norms
from zeroshot.passes.structure import leaves_of
from zeroshot.passes.twice import cheap_on_few_channels, cheap_to_differentiate_twice


class Layer(NamedTuple):
    """What one run of a convolution or linear layer gave."""

    output: Tensor
    fan_in: int  # weights that one channel has
    channels: int  # the output's axis of channels


class Block(NamedTuple):
    """What one run of a block gave."""

    name: str
    output: Tensor
    channels: int  # the output's axis of channels


class Trace(NamedTuple):
    """A forward run whose graph is still alive."""

    inputs: Tensor  # a fresh leaf, if it is real
    leaves: dict[str, Tensor]  # every parameter, as a fresh leaf
    logits: Float[Tensor, "n ..."]
    layers: tuple[Layer, ...]
    blocks: tuple[Block, ...]  # one per run of a block that answers a tensor
    codes: tuple[Bool[Tensor, "..."], ...] = ()  # see `Forward.codes`
    norms: tuple[Float64[Tensor, "c c"], ...] = ()  # see `Forward.norms`
    scales: Mapping[int, Tensor] = {}  # of some leaves, see `cheap_to_differentiate_twice`


@dataclass(frozen=True)
class Forward(Pass[Trace]):
    """One forward run of the batch, with the batch's own normalisation statistics.

    Attributes:
        twice: whether its graph is made to be differentiated twice; the same, at less cost then.
        codes: whether it is kept of each activation which of its inputs are positive.
        norms: whether MᵀM is kept of what each run of a batch normalisation answers, M: a row for
            each sample and position, a column for each channel.
    """

    twice: bool = False
    codes: bool = False
    norms: bool = False

    def among(self, planned: Collection[Pass[Any]]) -> "Forward":
        """One run for all that are planned."""
        runs = [self, *(wanted for wanted in planned if isinstance(wanted, Forward))]
        return Forward(
            twice=any(run.twice for run in runs),
            codes=any(run.codes for run in runs),
            norms=any(run.norms for run in runs),
        )

    def run(self, net: Net, batch: Batch) -> Trace:
        """Run it; a second time, on copies, if the network overwrote what is kept, in place."""
        trace, overwritten = self._run(net, batch, copy=False)
        if overwritten:
            trace, _ = self._run(net, batch, copy=True)
        return trace

    def _run(self, net: Net, batch: Batch, *, copy: bool) -> tuple[Trace, bool]:
        inputs = batch.inputs.detach().clone()
        inputs.requires_grad_(inputs.is_floating_point())
        leaves = leaves_of(net)
        names: dict[nn.Module, list[str]] = {}  # of several blocks that share it: each in turn
        for name in net.blocks:
            names.setdefault(net.module.get_submodule(name), []).append(name)
        codes: list[Tensor] = []
        layers: list[Layer] = []
        blocks: list[Block] = []
        norms: list[Tensor] = []
        versions: list[tuple[Tensor, int]] = []

        def kept(output: Tensor) -> Tensor | None:
            versions.append((output, output._version))
            return output.clone() if copy else None

        def keep_layer(module: nn.Module, _: object, output: object) -> Tensor | None:
            layer = _layer(module, output)
            if layer is None:
                return None
            layers.append(layer)
            return kept(layer.output)

        def keep_block(module: nn.Module, _: object, output: object) -> Tensor | None:
            if not isinstance(output, Tensor) or output.ndim < 2:
                return None
            own, runs = names[module], sum(block.name in names[module] for block in blocks)
            name = own[min(runs, len(own) - 1)]
            blocks.append(Block(name, output, _channels(output, layers)))
            return kept(output)

        def keep_norm(output: Tensor) -> None:
            with torch._C.DisableTorchFunction():  # observers need not see this
                rows = output.movedim(1, -1).flatten(0, -2)
                norms.append(crossed(rows, rows))  # now: the network may overwrite it

        observers = (
            hooked((layer for _, layer in net.named_layers()), keep_layer),
            hooked(names, keep_block),
            watching_activations(codes) if self.codes else nullcontext(),
            watching_norms(keep_norm) if self.norms else nullcontext(),
        )
        twice = cheap_to_differentiate_twice() if self.twice else None
        made = twice or cheap_on_few_channels()
        # Of the attention kernels, the plain one can be differentiated twice.
        with ExitStack() as watching:
            for context in (made, *observers, sdpa_kernel(SDPBackend.MATH)):
                watching.enter_context(context)
            logits = net(inputs, leaves)
        check_logits(logits, batch)
        seen = tuple(layers), tuple(blocks), tuple(codes), tuple(norms)
        trace = Trace(inputs, leaves, logits, *seen, scales=twice.scales if twice else {})
        return trace, any(output._version != version for output, version in versions)


@dataclass(frozen=True)
class Codes(Pass[tuple[Bool[Tensor, "n _"], ...]]):
    """Per activation: which of its inputs are positive."""

    needs = (Forward(codes=True),)

    def run(self, net: Net, batch: Batch, trace: Trace) -> tuple[Bool[Tensor, "n _"], ...]:
        """Take them from the forward run; Undefined without any ReLU-like activation."""
        return seen_codes(net, trace.codes, len(batch))


def check_logits(logits: Tensor, batch: Batch) -> None:
    """Undefined if they are not one answer for each sample."""
    if logits.shape[:1] != (len(batch),):
        raise Undefined(f"logits of shape {tuple(logits.shape)} for {len(batch)} samples")


def _layer(module: nn.Module, output: object) -> Layer | None:
    """What a layer answers; None if a class of one's own answers something that has no channels."""
    if not isinstance(output, Tensor):
        return None
    if isinstance(module, nn.Linear):
        fan_in, channels, likely = module.in_features, module.out_features, (output.ndim - 1,)
    else:
        assert isinstance(module, nn.modules.conv._ConvNd)
        fan_in = module.in_channels // module.groups * math.prod(module.kernel_size)
        unbatched = output.ndim == len(module.kernel_size) + 1
        # A class of one's own may answer tokens, whose channels come last.
        channels, likely = module.out_channels, (0 if unbatched else 1, output.ndim - 1)
    axis = next((axis for axis in likely if output.shape[axis] == channels), None)
    return None if axis is None else Layer(output, fan_in, axis)


def _channels(output: Tensor, layers: list[Layer]) -> int:
    """A block's axis of channels.

    As in the last layer that ran, if that is a convolution of maps of this size, however many are
    put side by side; else the one as long as that layer's; maps begin with it.
    """
    last = output.ndim - 1
    latest = layers[-1] if layers else None
    if latest and latest.channels == 1 and output.shape[2:] == latest.output.shape[2:] != ():
        return 1
    likely = (1, last) if last > 2 else (last, 1)  # tokens end with it
    width = latest.output.shape[latest.channels] if latest else None
    return next((axis for axis in likely if output.shape[axis] == width), likely[0])


def seen_codes(
    net: Net, codes: tuple[Bool[Tensor, "..."], ...], samples: int
) -> tuple[Bool[Tensor, "samples _"], ...]:
    """Codes as rows, but for activations that all samples share (a table of positions, say).

    Units are in the order in which they lie in memory, the same for every sample.
    """
    own = tuple(code for code in codes if samples in code.shape[:2] or code.shape[:1] != (1,))
    if not own:
        raise Undefined("no ReLU-like activation was seen")
    placed = (by_sample(code, samples, net.module) for code in own)
    return tuple(_as_they_lie(code).flatten(1) for code in placed)


def _as_they_lie(values: Tensor) -> Tensor:
    """The same with its axes but the first in the order of their strides, largest first."""
    axes = sorted(range(1, values.ndim), key=values.stride, reverse=True)
    return values.permute(0, *axes)


def packed(codes: tuple[Bool[Tensor, "n _"], ...]) -> UInt8[Tensor, "n _"]:
    """Eight codes to a byte."""
    bits = torch.cat(codes, dim=1)
    bits = F.pad(bits, (0, -bits.shape[1] % 8)).unflatten(1, (-1, 8))
    places = 2 ** torch.arange(8, dtype=torch.uint8, device=bits.device)
    return (bits * places).sum(2, dtype=torch.uint8)
