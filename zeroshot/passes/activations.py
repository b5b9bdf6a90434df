"""What blocks, layers and activations answer, and how they hand gradients back."""

from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64
from torch import Tensor, nn
from torch.autograd import Function, grad

from zeroshot.core import Batch, Net, Pass, is_weight
from zeroshot.errors import Undefined
from zeroshot.linalg import correlations, crossed
from zeroshot.observe import by_sample, hooked, tapping_activations
from zeroshot.passes.backward import gradients
from zeroshot.passes.forward import Block, Forward, Trace


@dataclass(frozen=True)
class BlockSpectra(Pass[tuple[Float64[Tensor, " _"], ...]]):
    """Per block: eigenvalues of the covariance of its channels over samples and positions."""

    needs = (Forward(),)

    def run(self, net: Net, batch: Batch, trace: Trace) -> tuple[Float64[Tensor, " _"], ...]:
        """Take features from the forward run; all zero if they are constant. In float64."""
        return tuple(
            _spectrum(_channels_last(block).flatten(0, -2)) for block in _blocks(net, trace)
        )


@dataclass(frozen=True)
class LayerDimensions(Pass[Float64[Tensor, " layers"]]):
    """How many directions each run of a convolution or linear layer answers in.

    The participation ratio (Σ λ)² / Σ λ² of the eigenvalues λ of the covariance of its channels
    over samples and positions: from 1 to their number, and 0 if the answers are constant. Layers of
    one channel are left out.
    """

    needs = (Forward(),)

    def run(self, net: Net, batch: Batch, trace: Trace) -> Float64[Tensor, " layers"]:
        """Take answers from the forward run; Undefined if no layer answers several channels."""
        found = []
        for layer in trace.layers:
            rows = layer.output.detach().movedim(layer.channels, -1).flatten(0, -2)
            if rows.shape[1] > 1:
                covariance, constant = _covariance(rows)
                ratio = covariance.trace() ** 2 / covariance.square().sum()
                found.append(torch.where(constant, 0.0, ratio))
        if not found:
            raise Undefined("no convolution or linear layer answers more than one channel")
        return torch.stack(found)


@dataclass(frozen=True)
class StableRanks(Pass[Float64[Tensor, " norms"]]):
    """‖M‖²_F / ‖M‖₂² of what each run of a batch normalisation answers, M.

    M has a row for each sample and position and a column for each channel. 0 if it is zero.
    """

    needs = (Forward(norms=True),)

    def run(self, net: Net, batch: Batch, trace: Trace) -> Float64[Tensor, " norms"]:
        """Take MᵀM from the forward run; nothing without batch normalisation."""
        found = trace.norms
        if not found:
            return trace.logits.new_zeros(0, dtype=torch.float64)
        ranks: dict[int, Tensor] = {}
        for channels in {len(products) for products in found}:  # all of a size at once
            places = [i for i, products in enumerate(found) if len(products) == channels]
            products = torch.stack([found[i] for i in places])
            largest = torch.linalg.eigvalsh(products)[:, -1]
            total = products.diagonal(dim1=1, dim2=2).sum(1)
            ranks |= zip(places, torch.where(largest > 0, total / largest, 0.0), strict=True)
        return torch.stack([ranks[i] for i in range(len(found))])


class Handover(NamedTuple):
    """How blocks hand a random gradient back to the block before, one entry for each such pair."""

    norms: Float64[Tensor, " pairs"]  # spectral norm of the channels' covariance of the two
    unchanged: Bool[Tensor, " pairs"]  # whether it comes back as it was


@dataclass(frozen=True)
class BlockHandover(Pass[Handover]):
    """Gradients of ±1, drawn at a block's output, carried back to the output of the block before.

    For both, a row per sample and position: R, as drawn, and B, as it comes back. The norm is that
    of Bᵀ·R divided by the number of rows. Where a block halves a map, the four gradients that lead
    to one position stand side by side in B, as four times the channels.
    """

    needs = (Forward(),)

    def run(self, net: Net, batch: Batch, trace: Trace) -> Handover:
        """One backward run in all, from block to block; Undefined for fewer than two blocks."""
        blocks = _blocks(net, trace)
        if len(blocks) < 2:
            raise Undefined("a network of one block hands no gradient from block to block")
        generator = net.generator("handover")
        norms, unchanged = [], []
        for before, block in reversed(tuple(pairwise(blocks))):
            coins = torch.empty(block.output.shape, dtype=torch.int8)
            coins.random_(0, 2, generator=generator).mul_(2).sub_(1)
            # In the output's layout: backward runs through mixed ones take twice as long.
            drawn = torch.empty_like(block.output).copy_(coins)
            back = _carried(block.output, before.output, drawn)
            norms.append(_norm(before._replace(output=back), block._replace(output=drawn)))
            unchanged.append(_equal(back, drawn))
        return Handover(torch.stack(norms), torch.stack(unchanged))


class Map(NamedTuple):
    """What some channels of one layer answer to the first sample."""

    rows: Float[Tensor, "picked positions"]
    channels: int  # that the layer has


@dataclass(frozen=True)
class FeatureMaps(Pass[tuple[Map, ...]]):
    """What convolution and linear layers answer to the first sample, but for single positions.

    Attributes:
        picked: how many channels of each layer are picked at random; all if None.
    """

    picked: int | None = None
    needs = (Forward(),)

    def run(self, net: Net, batch: Batch, trace: Trace) -> tuple[Map, ...]:
        """Take them from the forward run; Undefined if no layer answers more than one position."""
        generator = net.generator("maps")
        maps = []
        for layer in trace.layers:
            answers = layer.output.detach().movedim(layer.channels, -1)
            first = by_sample(answers, len(batch), net.module)[0]
            rows = first.flatten(0, -2).T if first.ndim > 1 else first.unsqueeze(1)
            if rows.shape[1] == 1:
                continue
            channels = len(rows)
            if self.picked is not None:
                rows = rows[torch.randperm(channels, generator=generator)[: self.picked]]
            maps.append(Map(rows, channels))
        if not maps:
            raise Undefined("no convolution or linear layer answers more than one position")
        return tuple(maps)


@dataclass(frozen=True)
class ResponseCorrelations(Pass[Float64[Tensor, "depths n n"]]):
    """How samples correlate, in absolute value, summed over activations at each depth.

    Each activation adds two matrices: of its inputs, and of the gradients of the mean loss
    for these. The depth counts the blocks that ran before; the last is that behind all blocks.
    """

    def run(self, net: Net, batch: Batch) -> Float64[Tensor, "depths n n"]:
        """One forward and backward run; matrices with a sample of constant values are left out.

        Undefined without blocks or activations, or for inputs that are not real numbers.
        """
        _check_blocks(net)
        if not batch.inputs.is_floating_point():
            raise Undefined(f"inputs of type {batch.inputs.dtype} have no gradient")
        n = len(batch)
        found = [torch.zeros(n, n, dtype=torch.float64, device=batch.inputs.device)]
        blocks = {net.module.get_submodule(name) for name in net.blocks}
        seen = 0

        def add(depth: int, values: Tensor) -> None:
            if values.shape[1:2] == (n,):  # not left out, but undefined if it could be either way
                by_sample(values, n, net.module)
            with suppress(Undefined):
                found[depth] += correlations(by_sample(values.detach(), n).flatten(1)).abs()

        def tap(values: Tensor) -> None:
            nonlocal seen
            seen += 1
            depth = len(found) - 1
            add(depth, values)
            if values.requires_grad:
                values.register_hook(lambda gradient: add(depth, gradient))

        def deeper(*_: object) -> None:
            found.append(torch.zeros_like(found[0]))

        inputs = batch.inputs.detach().clone().requires_grad_()
        with hooked(blocks, deeper), tapping_activations(tap):
            logits = net(inputs)
        if not seen:
            raise Undefined("no ReLU-like activation was seen")
        gradients(batch.losses(logits).mean(), (inputs,))
        return torch.stack(found)


GROUP_NORMS = (nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)
NUDGE, TOLD = 1e-12, 1e-3  # a change of inputs, and the least of logits that tells of rounding


@dataclass(frozen=True)
class ConstantWeights(Pass[tuple[Float64[Tensor, " _"], Float64[Tensor, " _"]]]):
    """Two runs in float64, with all weights equal to one constant and all biases zero.

    Attributes:
        first: the constant of the first run.
        second: that of the second.
    """

    first: float = 1e-7
    second: float = 1.0

    def run(self, net: Net, batch: Batch) -> tuple[Float64[Tensor, " _"], Float64[Tensor, " _"]]:
        """The logits of both runs; scales of normalisations count as weights.

        Undefined for layer normalisation: what it centres, equal weights sum up to zero; so it is
        for that of groups where no activation, or one of equal numbers alone, lies between.
        """
        if any(isinstance(module, nn.LayerNorm) for _, module in net.parts):
            raise Undefined("layer normalisation leaves nothing that equal weights could see")
        net.check_weights()
        inputs = batch.inputs.double() if batch.inputs.is_floating_point() else batch.inputs
        one, other = (self._logits(net, inputs, c) for c in (self.first, self.second))
        grouped = any(isinstance(module, GROUP_NORMS) for _, module in net.parts)
        if grouped and inputs.is_floating_point():
            for logits, constant in ((one, self.first), (other, self.second)):
                self._check(net, inputs, constant, logits)
        return one, other

    def _check(
        self, net: Net, inputs: Tensor, constant: float, logits: Float64[Tensor, " _"]
    ) -> None:
        """Undefined if logits are nothing but rounding: nearly the same inputs give others then."""
        nudged = torch.empty(inputs.shape, dtype=torch.float64)
        nudged.normal_(generator=net.generator("nudged")).mul_(NUDGE).add_(1.0)
        change = self._logits(net, inputs * nudged.to(inputs.device), constant) - logits
        if bool(change.abs().max() >= TOLD * (logits.max() - logits.min())):
            raise Undefined("group normalisation leaves nothing that equal weights could see")

    @staticmethod
    def _logits(net: Net, inputs: Tensor, constant: float) -> Float64[Tensor, " _"]:
        weights = {name: net.values(p).double() for name, p in net.parameters.items()}
        for name, weight in weights.items():
            if is_weight(name) or "bias" in name.rpartition(".")[2]:
                weights[name] = torch.full_like(weight, constant if is_weight(name) else 0.0)
        with torch.no_grad():
            return net(inputs, weights).flatten()


@dataclass(frozen=True)
class AttentionWeights(Pass[Bool[Tensor, " weights"]]):
    """For every convolution, linear and attention weight: whether it belongs to an attention.

    It does if it is held by a module, or inside a module, of a class with Attention in its name.
    """

    def run(self, net: Net, batch: Batch) -> Bool[Tensor, " weights"]:
        """Look at the modules; Undefined if none is an attention."""
        prefixes = tuple(f"{name}." for name, m in net.parts if "Attention" in type(m).__name__)
        found = torch.tensor([weight.startswith(prefixes) for weight in net.weights()])
        if not found.any():
            raise Undefined("the network has no attention")
        return found


def _check_blocks(net: Net) -> None:
    if not net.blocks:
        raise Undefined(
            "the network names no blocks: do so in forward order, as in "
            'Net(module, blocks=("layer1", "layer2")); a space of yours by its method `blocks`'
        )


def _blocks(net: Net, trace: Trace) -> tuple[Block, ...]:
    _check_blocks(net)
    for name in net.blocks:
        if name not in {block.name for block in trace.blocks}:
            raise Undefined(f"block {name} did not run, or answers no tensor")
    return trace.blocks


def _channels_last(block: Block) -> Tensor:
    return block.output.detach().movedim(block.channels, -1)


def _spectrum(rows: Float[Tensor, "m c"]) -> Float64[Tensor, " c"]:
    covariance, constant = _covariance(rows)
    found = torch.linalg.eigvalsh(covariance).clamp(min=0)
    return torch.where(constant, 0.0, found)


def _covariance(rows: Float[Tensor, "m c"]) -> tuple[Float64[Tensor, "c c"], Bool[Tensor, ""]]:
    """The covariance of the columns, and whether they are constant but for rounding."""
    mean = rows.mean(0, dtype=torch.float64)
    centred = rows - mean.to(rows.dtype)
    covariance = crossed(centred, centred) / len(rows)
    spread = covariance.trace()
    rounding = (8 * torch.finfo(rows.dtype).eps) ** 2 * (spread + mean.square().sum())
    return covariance, ~(spread > rounding)


def _carried(output: Tensor, before: Tensor, drawn: Tensor) -> Tensor:
    """The gradient at `before`; zero if the output does not depend on it."""
    if not (output.requires_grad and before.requires_grad):
        return torch.zeros_like(before)
    value = _Drawn.apply(output, drawn)
    return grad(value, before, retain_graph=True, allow_unused=True, materialize_grads=True)[0]


def _equal(one: Tensor, other: Tensor) -> Bool[Tensor, ""]:
    """`torch.equal`, without waiting for a device to tell."""
    if one.shape != other.shape:
        return one.new_zeros((), dtype=torch.bool)
    if one.device.type == "cpu":  # it stops at the first that differs
        return torch.tensor(torch.equal(one, other))
    return (one == other).all()


class _Drawn(Function):
    """A value that has the drawn gradient. Given to `grad` itself, PyTorch would load SymPy."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, drawn: Tensor) -> Tensor:
        ctx.save_for_backward(drawn)
        return output.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return ctx.saved_tensors[0], None


def _norm(back: Block, drawn: Block) -> Float64[Tensor, ""]:
    """The spectral norm of Bᵀ·R / rows."""
    one, other = _channels_last(back), _channels_last(drawn)
    if one.ndim != other.ndim:
        one, other = one.flatten(0, -2), other.flatten(0, -2)
    sizes = [min(pair) for pair in zip(one.shape[:-1], other.shape[:-1], strict=True)]
    if one.ndim == 2 and len(one) != len(other):
        raise Undefined(
            f"block {drawn.name} answers {len(other)} positions for {len(one)} of {back.name}"
        )
    one, other = (_gathered(part, sizes).flatten(0, -2) for part in (one, other))
    return torch.linalg.matrix_norm(crossed(one, other) / len(one), 2)


def _gathered(features: Tensor, sizes: list[int]) -> Tensor:
    """Neighbouring positions as further channels, so that `sizes` positions are left on each axis.

    An axis that no whole number of steps fits is cropped, or padded with zeros.
    """
    for axis, size in enumerate(sizes[1:], 1):
        step = round(features.shape[axis] / size)
        missing = step * size - features.shape[axis]
        if missing:  # a padding of nothing would copy
            features = F.pad(features, (0, 0) * (features.ndim - 1 - axis) + (0, missing))
        features = features.unflatten(axis, (size, step)).movedim(axis + 1, -2).flatten(-2)
    return features
