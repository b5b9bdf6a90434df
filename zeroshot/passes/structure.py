"""What a network is, before anything is run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from zeroshot.core import Batch, Cost, Net, Pass
from zeroshot.errors import Undefined
from zeroshot.observe import bypassing_batch_norm


@dataclass(frozen=True)
class Weights(Pass[tuple[Tensor, ...]]):
    """The convolution and linear weights, as they are."""

    def run(self, net: Net, batch: Batch) -> tuple[Tensor, ...]:
        """Take them; Undefined if there are none."""
        return tuple(some(net.weights()).values())


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

    Counted are convolutions and matrix products, those of attention included, as PyTorch's
    FlopCounterMode sees them; normalisation, pooling, activations and sums are not.
    """
    counter = FlopCounterMode(display=False)
    # Normalisation is not counted, and one sample may be too few for its statistics. Leaves keep
    # attention off its fused inference path, whose products the counter cannot see.
    with counter, bypassing_batch_norm(), sdpa_kernel(SDPBackend.MATH):
        net(sample, leaves_of(net), statistics="stored")
    params = sum(p.numel() for p in net.module.parameters())
    return Cost(params, counter.get_total_flops() // 2, len(net.weights()))


def leaves_of(net: Net) -> dict[str, Tensor]:
    """Every parameter, as a fresh leaf."""
    return {
        name: p.detach().requires_grad_(p.is_floating_point())
        for name, p in net.module.named_parameters()
    }


def some(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights; Undefined if there are none."""
    if not weights:
        raise Undefined("the network has no convolution or linear weight")
    return weights


@contextmanager
def needing_statistics() -> Iterator[None]:
    """Undefined where a batch normalisation gets one value per channel, which has no variance."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise Undefined("batch statistics of one sample with one value per channel") from error
