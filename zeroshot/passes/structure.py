"""What a network is, before anything is run."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from zeroshot.core import Batch, Cost, Net, Pass
from zeroshot.errors import Undefined
from zeroshot.observe import bypassing_batch_norm

Shape = Sequence[int]


@dataclass(frozen=True)
class Weights(Pass[tuple[Tensor, ...]]):
    """The convolution and linear weights, as they are."""

    def run(self, net: Net, batch: Batch) -> tuple[Tensor, ...]:
        """Take them; Undefined if there are none."""
        return tuple(weights_of(net, net.weights()))


@dataclass(frozen=True)
class Numbers(Pass[int]):
    """How many parameters the network has that runs; see `Census` for those of an architecture."""

    def run(self, net: Net, batch: Batch) -> int:
        """Count them."""
        return sum(p.numel() for p in net.parameters.values())


@dataclass(frozen=True)
class Targets(Pass[Int[Tensor, " n"]]):
    """The class of every sample."""

    def run(self, net: Net, batch: Batch) -> Int[Tensor, " n"]:
        """Take them from the batch; Undefined for a loss that is not of classes."""
        if not batch.has_classes:
            raise Undefined("the targets are no classes")
        return batch.targets


@dataclass(frozen=True)
class Census(Pass[Cost]):
    """Parameters, multiply-adds for one sample, and number of weight tensors."""

    def run(self, net: Net, batch: Batch) -> Cost:
        """Ask the space if it knows, else count while one sample runs."""
        return net.cost() if net.cost else census(net, batch.inputs[:1])


def census(net: Net, sample: Tensor) -> Cost:
    """Count while one sample runs, on any device; on `meta` no arithmetic is done.

    Counted are convolutions and matrix products, those of attention and of recurrent layers
    included, as PyTorch's FlopCounterMode sees them or `UNCOUNTED` adds; normalisation, pooling,
    activations and sums are not.
    """
    counter = FlopCounterMode(display=False, custom_mapping=UNCOUNTED)
    # Normalisation is not counted, and one sample may be too few for its statistics. Leaves keep
    # attention off its fused inference path, whose products the counter cannot see.
    with counter, bypassing_batch_norm(), sdpa_kernel(SDPBackend.MATH):
        net(sample, leaves_of(net), statistics="stored")
    params = sum(p.numel() for p in net.parameters.values())
    return Cost(params, counter.get_total_flops() // 2, len(net.weight_names()))


def _mv_flops(matrix: Shape, *_: Any, **__: Any) -> int:
    return 2 * math.prod(matrix)


def _addmv_flops(_: Shape, matrix: Shape, *__: Any, **___: Any) -> int:
    return 2 * math.prod(matrix)


def _addbmm_flops(_: Shape, one: Shape, other: Shape, **__: Any) -> int:
    return 2 * math.prod(one) * other[-1]


def _conv_tbc_flops(_: Shape, weight: Shape, *__: Any, out_shape: Shape, **___: Any) -> int:
    return 2 * math.prod(out_shape[:-1]) * math.prod(weight)


def _bilinear_flops(one: Shape, weight: Shape, other: Shape, *_: Any, **__: Any) -> int:
    """Of xᵀ·W·y per output: a product of x with a matrix, and of the result with y."""
    return 2 * one[0] * (math.prod(weight) + weight[0] * weight[2])


def _mkldnn_rnn_flops(inputs: Shape, *weights: Any, **_: Any) -> int:
    """One direction of one layer: two matrices, for inputs and for the state, at every step."""
    return 2 * math.prod(inputs[:-1]) * sum(math.prod(matrix) for matrix in weights[:2])


def _cudnn_rnn_flops(inputs: Shape, weights: list[Shape], *_: Any, **__: Any) -> int:
    """All layers and directions: all of their matrices at every step."""
    matrices = (matrix for matrix in weights if len(matrix) == 2)
    return 2 * math.prod(inputs[:-1]) * sum(math.prod(matrix) for matrix in matrices)


# Products that FlopCounterMode does not know, by the shapes of the arguments; two a multiply-add.
UNCOUNTED: dict[Any, Callable[..., int]] = {
    torch.ops.aten.mv: _mv_flops,
    torch.ops.aten.addmv: _addmv_flops,
    torch.ops.aten.addbmm: _addbmm_flops,
    torch.ops.aten.conv_tbc: _conv_tbc_flops,
    torch.ops.aten._trilinear: _bilinear_flops,
    torch.ops.aten.mkldnn_rnn_layer: _mkldnn_rnn_flops,
    torch.ops.aten._cudnn_rnn: _cudnn_rnn_flops,
    torch.ops.aten.miopen_rnn: _cudnn_rnn_flops,  # the same arguments
}


def leaves_of(net: Net) -> dict[str, Tensor]:
    """Every parameter, as a fresh leaf."""
    return {
        name: net.values(p).requires_grad_(p.is_floating_point())
        for name, p in net.parameters.items()
    }


def weights_of(net: Net, leaves: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """The leaves that stand for weights; Undefined if there are none, or one is reparametrised."""
    net.check_weights()
    return own_weights_of(net, leaves)


def own_weights_of(net: Net, leaves: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """The leaves that stand for weights, but reparametrised ones; Undefined if none, or complex."""
    names = net.weight_names()
    if not names:
        raise Undefined("the network has no convolution or linear weight")
    found = tuple(leaves[name] for name in names if name in leaves)
    if any(weight.is_complex() for weight in found):
        raise Undefined("weights are complex")
    return found


@contextmanager
def needing_statistics() -> Iterator[None]:
    """Undefined where a batch normalisation gets one value per channel, which has no variance."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise Undefined("batch statistics of one sample with one value per channel") from error
