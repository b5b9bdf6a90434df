"""Tangent kernels: gradients of every sample's logits, multiplied with each other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zeroshot import narrow
from zeroshot.core import Batch, Net, Pass, is_weight
from zeroshot.errors import Undefined
from zeroshot.observe import freezing_batch_norm, tensors_in
from zeroshot.passes.backward import gradients, rows_of
from zeroshot.passes.forward import Forward, check_logits
from zeroshot.passes.structure import leaves_of
from zeroshot.passes.tape import Replay, Tape, Unseen
from zeroshot.passes.twice import cheap_on_few_channels, convolution_arguments

# A tape is taken for networks with at most so many channels, for which it keeps at most so many
# bytes; and so many rows at a time, if their gradients for one map are at most so many bytes.
CHANNELS, MEMORY = 16, 2**30
ROWS, BYTES = 16, 16 * 2**20

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
        budget: bytes of J held at a time: layers are taken in groups of at most this size, for each
            of which the rows are computed anew. It changes no digit, so passes that differ in it
            are equal.
    """

    chunk: int | None = None
    budget: int = field(default=2**29, compare=False, repr=False)

    def holding(self, budget: int) -> "TangentKernel":
        """The same with another budget."""
        return replace(self, budget=budget)

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
                    jacobian = torch.cat(found).to_dense().flatten(1).double()
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
            name: leaf if is_weight(name) else leaf.detach()
            for name, leaf in leaves_of(net).items()
        }
        try:
            with cheap_on_few_channels(), Tape(leaves.values()) as tape:
                logits = net(batch.inputs, leaves)
            logits = tape.answered(logits)
        except (Unseen, ArithmeticError, RuntimeError, TypeError, ValueError):
            return None  # if it is the network that fails, it will do so again
        check_logits(logits, batch)
        replay = Replay(tape.steps)
        if replay.nbytes > MEMORY:
            return None
        chunk = self.chunk or _at_once(tape)
        return leaves, lambda group: replay.rows_of(logits, group, chunk)

    def _differentiated(self, net: Net, batch: Batch) -> tuple[dict[str, Tensor], RowsOf]:
        """Leaves and rows by autograd."""
        trace = Forward().run(net, batch)
        summed = trace.logits.flatten(1).sum(1) if trace.logits.ndim > 1 else trace.logits
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
        weights = {id(leaf): name for name, leaf in leaves.items() if is_weight(name)}
        products: list[_Product] = []
        norms: list[tuple[Tensor | None, Tensor, Tensor]] = []
        reading = _reading_weights(weights, products)
        with cheap_on_few_channels(), freezing_batch_norm(norms), reading:
            summed = net(batch.inputs, leaves).sum()
        outputs = [product.output for product in products] + [output for *_, output in norms]
        if not summed.requires_grad or not outputs:
            raise Undefined("no weight reaches the logits")
        found = gradients(summed, tuple(outputs))
        # By `id`, for a weight may have several names, and several modules.
        jacobians: dict[int, list[Tensor]] = {}
        for product, gradient in zip(products, found, strict=False):
            jacobians.setdefault(id(product.weight), []).append(_sample_grads(product, gradient))
        for (scale, normal, _), gradient in zip(norms, found[len(products) :], strict=True):
            if scale is not None:
                of_scale = (normal * gradient).reshape(*normal.shape[:2], -1).sum(2)
                jacobians.setdefault(id(scale), []).append(of_scale)
        kernel = summed.new_zeros(len(batch), len(batch), dtype=torch.float64)
        for place, name in weights.items():
            parts = jacobians.get(place, [])
            if not parts or any(len(part) != len(batch) for part in parts):
                raise _not_told_apart(name)
            jacobian = torch.stack(parts).sum(0).flatten(1).double()
            kernel += jacobian @ jacobian.T
        return kernel


class _Product(NamedTuple):
    """A call of a convolution or linear function with a weight."""

    name: str
    weight: Tensor
    inputs: Tensor
    how: tuple[Any, ...]  # a convolution's stride, padding, dilation and groups; nothing if linear
    output: Tensor


class _reading_weights(TorchFunctionMode):  # noqa: N801 - reads as `with reading…`
    """Collect products with some weights; Undefined if they are read in ways that are no products.

    Batch normalisation's scales are left to `freezing_batch_norm`.
    """

    def __init__(self, weights: dict[int, str], products: list[_Product]) -> None:
        super().__init__()
        self.weights = weights
        self.products = products

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        given = tensors_in((args, kwargs))
        read = [self.weights[id(part)] for part in given if id(part) in self.weights]
        # What is no function of a weight tells its shape, say.
        if not read or func is F.batch_norm or not any(t.requires_grad for t in tensors_in(output)):
            return output
        if func is F.conv2d:
            inputs, weight, _, *how = convolution_arguments(*args, **kwargs)
        elif func is F.linear and len(args) > 1:
            inputs, weight, *how = args[:2]
        else:
            raise _not_told_apart(read[0])
        if len(read) > 1 or id(weight) not in self.weights:
            raise _not_told_apart(read[0])
        self.products.append(_Product(read[0], weight, inputs.detach(), tuple(how), output))
        return output.clone()  # which the network may overwrite


def _not_told_apart(name: str) -> Undefined:
    return Undefined(f"gradients of {name} are not told apart by sample")


def _sample_grads(product: _Product, gradient: Tensor) -> Tensor:
    """Each sample's gradient of a product's weight, (n, numbers); samples are independent."""
    if not product.how and product.inputs.ndim == 2:
        return (gradient.unsqueeze(2) * product.inputs.unsqueeze(1)).flatten(1)
    if not product.how or product.inputs.ndim != 4 or isinstance(product.how[1], str):
        raise _not_told_apart(product.name)
    groups = product.how[3]
    patches = _patches(product, gradient.shape[2:]).unflatten(1, (groups, -1))
    outward = gradient.flatten(2).unflatten(1, (groups, -1))
    return (outward @ patches.transpose(2, 3)).flatten(1)


def _patches(product: _Product, places: torch.Size) -> Float[Tensor, "n k places"]:
    """What each output place of a convolution sees: `F.unfold`, of which this is a faster form."""
    stride, padding, dilation = map(narrow.both, product.how[:3])
    height, width = padding
    windows = F.pad(product.inputs, (width, width, height, height))
    kernels = product.weight.shape[2:]
    for axis, (size, kernel, step, apart) in enumerate(
        zip(places, kernels, stride, dilation, strict=True), start=2
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
        if not is_weight(name) or not leaf.requires_grad:
            continue
        if group and size + leaf.numel() > limit:
            yield tuple(group)
            group, size = [], 0
        group.append(leaf)
        size += leaf.numel()
    if group:
        yield tuple(group)
