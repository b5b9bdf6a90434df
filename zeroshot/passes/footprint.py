"""How much memory a run takes, counted rather than measured."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import grad
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from zeroshot.core import Batch, Net, Pass
from zeroshot.observe import tensors_in
from zeroshot.passes.structure import leaves_of


@dataclass(frozen=True)
class PeakMemory(Pass[int]):
    """Bytes of tensors alive at the worst moment of a run: parameters, input, and what it makes.

    Counted tensor by tensor, so a property of the network and not of the machine. Not counted are
    the workspaces of operations, what an allocator adds, and an optimiser's state.

    Attributes:
        training: a forward and backward run that gives the gradients of all parameters; otherwise
            inference, without gradients and with the stored statistics of normalisation.
    """

    training: bool = False

    def run(self, net: Net, batch: Batch) -> int:
        """Run the batch; Undefined if there is no loss to train on."""
        with counting_memory(net.parameters.values()) as memory:
            if self.training:
                leaves = leaves_of(net)
                loss = batch.losses(net(batch.inputs, leaves)).mean()
                learnt = [leaf for leaf in leaves.values() if leaf.requires_grad]
                if learnt and loss.requires_grad:
                    grad(loss, learnt, allow_unused=True)
            else:
                with torch.no_grad():
                    net(batch.inputs, statistics="stored")
        return memory.peak


class counting_memory(TorchDispatchMode):  # noqa: N801 - reads as `with counting…`
    """Count the bytes of some tensors and of all that operations make, while they are alive.

    Attributes:
        peak: most bytes that were alive at once.
    """

    def __init__(self, held: Iterable[Tensor]) -> None:
        super().__init__()
        self.alive = WeakIdKeyDictionary()  # storages, which views share, and their bytes
        self.peak = 0
        self._add(held)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._add(tensors_in(result))
        return result

    def _add(self, made: Iterable[Tensor]) -> None:
        for tensor in made:
            storage = tensor.untyped_storage()
            self.alive[storage] = storage.nbytes()
        self.peak = max(self.peak, sum(self.alive.values()))
