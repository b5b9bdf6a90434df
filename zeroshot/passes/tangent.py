"""Tangent kernels: gradients of every sample's logits, multiplied with each other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64
from torch import Tensor, nn

from zeroshot.core import LAYERS, Batch, Net, Pass
from zeroshot.errors import Undefined
from zeroshot.observe import freezing_batch_norm, hooked
from zeroshot.passes.backward import gradients, rows_of
from zeroshot.passes.forward import Forward, check_logits
from zeroshot.passes.structure import leaves_of
from zeroshot.passes.tape import Tape, Unseen
from zeroshot.passes.twice import cheap_on_few_channels

# A tape is taken for networks with at most so many channels, for which it keeps at most so many
# bytes; and so many rows at a time, if their gradients for one map are at most so many bytes.
CHANNELS, MEMORY = 16, 2**30
ROWS, BYTES = 12, 12 * 2**20

# Some weights -> their parts of the Jacobian, some rows at a time; None for what reaches nothing
RowsOf = Callable[[tuple[Tensor, ...]], Iterator[tuple[Tensor | None, ...]]]


@dataclass(frozen=True)
class TangentKernel(Pass[Float64[Tensor, "n n"]]):
    """The empirical neural tangent kernel J·Jᵀ of the summed logits, in float64.

    Row i of J is the gradient of sample i's summed logits for every parameter that is called a
    weight (normalisation scales included, biases not). Batch statistics couple the samples, so
    these are rows of the Jacobian of the *batch function*, exactly what a backward pass per sample
    on one graph gives; gradients of samples run one by one would differ.

    Attributes:
        chunk: rows per backward run: speed and memory, never the result but for rounding.
        budget: bytes of J held at a time: layers are taken in groups of at most this size.
    """

    chunk: int | None = None
    budget: int = 2**29

    def run(self, net: Net, batch: Batch) -> Float64[Tensor, "n n"]:
        """Accumulate the kernel layer by layer; Undefined if no weight reaches the logits."""
        net.check_weights()
        leaves, rows = self._taped(net, batch) or self._differentiated(net, batch)
        n, size = len(batch), batch.inputs.element_size()
        kernel = torch.zeros(n, n, dtype=torch.float64, device=batch.inputs.device)
        reached = False
        for group in _groups(leaves, self.budget // (n * size)):
            for layer in zip(*rows(group), strict=True):
                found = [part for part in layer if part is not None]
                if found:  # None throughout where the layer reaches nothing
                    jacobian = torch.cat(found).flatten(1).double()
                    kernel += jacobian @ jacobian.T
                    reached = True
        if not reached:
            raise Undefined("no weight reaches the logits")
        if not bool(kernel.isfinite().all()):
            raise Undefined("the gradients of the logits overflow")
        return kernel

    def _taped(self, net: Net, batch: Batch) -> tuple[dict[str, Tensor], RowsOf] | None:
        """Leaves and rows by a tape, where that is possible and faster."""
        if batch.inputs.device.type != "cpu" or not _is_narrow(net):
            return None
        leaves = {
            name: leaf if "weight" in name else leaf.detach()
            for name, leaf in leaves_of(net).items()
        }
        try:
            with cheap_on_few_channels(), Tape(leaves.values()) as tape:
                logits = net(batch.inputs, leaves)
            logits = tape.answered(logits)
        except (Unseen, ArithmeticError, RuntimeError, TypeError, ValueError):
            return None  # if it is the network that fails, it will do so again
        check_logits(logits, batch)
        if tape.nbytes > MEMORY:
            return None
        chunk = self.chunk or _at_once(tape)
        return leaves, lambda group: tape.rows_of(logits, group, chunk)

    def _differentiated(self, net: Net, batch: Batch) -> tuple[dict[str, Tensor], RowsOf]:
        """Leaves and rows by autograd."""
        trace = Forward().run(net, batch)
        summed = trace.logits.flatten(1).sum(1)
        if not summed.requires_grad:
            raise Undefined("no weight reaches the logits")
        return trace.leaves, lambda group: rows_of(summed, group, self.chunk)


def _is_narrow(net: Net) -> bool:
    """Whether it has convolutions, all of few channels: only for these is a tape faster."""
    widths = [m.out_channels for _, m in net.named_layers() if isinstance(m, nn.Conv2d)]
    return 0 < max(widths, default=0) <= CHANNELS


def _at_once(tape: Tape) -> int:
    """So many rows that gradients of the largest map are some megabytes."""
    largest = max((out.nbytes for step in tape.steps for out in step.outputs), default=1)
    return max(1, min(ROWS, BYTES // largest))


@dataclass(frozen=True)
class FixedTangentKernel(Pass[Float64[Tensor, "n n"]]):
    """The tangent kernel with batch statistics held fixed in the backward run, in float64.

    Samples are then independent, so that one backward run yields every sample's gradient: for a
    layer, the product of its inputs and of the gradients of its outputs. An approximation of
    `TangentKernel` at about the cost of one of its rows, and the same parameters.
    """

    def run(self, net: Net, batch: Batch) -> Float64[Tensor, "n n"]:
        """One forward and backward run; Undefined for weights of other than the usual layers.

        These are two-dimensional convolutions, linear layers and batch normalisation.
        """
        net.check_weights()
        leaves = leaves_of(net)
        names = {module: f"{name}.weight".lstrip(".") for name, module in net.named_layers()}
        layers: list[tuple[str, nn.Module, Tensor, Tensor]] = []
        norms: list[tuple[Tensor | None, Tensor, Tensor]] = []

        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            layers.append((names[module], module, inputs[0].detach(), output))
            return output.clone()  # which the network may overwrite

        with hooked(net.module, LAYERS, keep), cheap_on_few_channels(), freezing_batch_norm(norms):
            summed = net(batch.inputs, leaves).flatten(1).sum()
        outputs = [output for *_, output in layers] + [output for *_, output in norms]
        if not summed.requires_grad or not outputs:
            raise Undefined("no weight reaches the logits")
        found = gradients(summed, tuple(outputs))
        jacobians: dict[str, list[Tensor]] = {}
        for (name, layer, inputs, _), gradient in zip(layers, found, strict=False):
            jacobians.setdefault(name, []).append(_sample_grads(layer, inputs, gradient))
        scales = {id(leaf): name for name, leaf in leaves.items()}
        for (scale, normal, _), gradient in zip(norms, found[len(layers) :], strict=True):
            if scale is not None:
                product = (normal * gradient).reshape(*normal.shape[:2], -1).sum(2)
                jacobians.setdefault(scales[id(scale)], []).append(product)
        kernel = summed.new_zeros(len(batch), len(batch), dtype=torch.float64)
        for name in leaves:
            if "weight" in name:
                if name not in jacobians:
                    raise Undefined(f"gradients of {name} are not told apart by sample")
                jacobian = torch.stack(jacobians[name]).sum(0).flatten(1).double()
                kernel += jacobian @ jacobian.T
        return kernel


def _sample_grads(layer: nn.Module, inputs: Tensor, gradient: Tensor) -> Tensor:
    """Each sample's gradient of a layer's weight, (n, numbers); samples are independent."""
    if isinstance(layer, nn.Linear) and inputs.ndim == 2:
        return (gradient.unsqueeze(2) * inputs.unsqueeze(1)).flatten(1)
    if (
        not isinstance(layer, nn.Conv2d)
        or isinstance(layer.padding, str)
        or layer.padding_mode != "zeros"
    ):
        raise Undefined(f"gradients of {layer} are not told apart by sample")
    patches = _patches(layer, inputs, gradient.shape[2:]).unflatten(1, (layer.groups, -1))
    outward = gradient.flatten(2).unflatten(1, (layer.groups, -1))
    return (outward @ patches.transpose(2, 3)).flatten(1)


def _patches(layer: nn.Conv2d, inputs: Tensor, places: torch.Size) -> Float[Tensor, "n k places"]:
    """What each output place of a convolution sees: `F.unfold`, of which this is a faster form."""
    height, width = cast("tuple[int, int]", layer.padding)
    windows = F.pad(inputs, (width, width, height, height))
    for axis, (size, kernel, step, apart) in enumerate(
        zip(places, layer.kernel_size, layer.stride, layer.dilation, strict=True), start=2
    ):
        # For each number of the kernel, the places that it meets.
        windows = windows.unfold(axis, (size - 1) * step + 1, apart)[..., ::step]
        windows = windows.narrow(axis, 0, kernel)
    return windows.flatten(4).flatten(1, 3)


def _groups(leaves: dict[str, Tensor], limit: int) -> Iterator[tuple[Tensor, ...]]:
    """Weights from the output down, in groups of at most `limit` numbers (or a single layer)."""
    group: list[Tensor] = []
    size = 0
    for name, leaf in reversed(leaves.items()):
        if "weight" not in name or not leaf.requires_grad:
            continue
        if group and size + leaf.numel() > limit:
            yield tuple(group)
            group, size = [], 0
        group.append(leaf)
        size += leaf.numel()
    if group:
        yield tuple(group)
