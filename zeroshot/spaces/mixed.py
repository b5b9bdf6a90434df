"""Mixed operations: what a supernet computes where it has not made up its mind."""

from collections.abc import Mapping
from functools import reduce
from operator import add

from torch import Tensor, nn

from zeroshot.errors import ZeroshotError


class Mixed(nn.ModuleDict):
    """The mean of the operations open on an edge, by name; one that is None adds zero to it.

    TE-NAS' softmax over equal architecture parameters, those of pruned operations at −∞. Weights
    are named by operation, so that what is left of a supernet finds its own in the whole.

    Operations are functions of their own, but may begin with a layer that they have in common: a
    pooling or ReLU without weights, the same object in all. Where `shared` holds what such layers
    gave for the same inputs, they are not run again.

    Raises:
        ZeroshotError: for a name that a module cannot have: with a dot, or that of a method.
    """

    def __init__(self, operations: Mapping[str, nn.Module | None]) -> None:
        for name in operations:
            if not name or "." in name or hasattr(Mixed, name) or name in ("training", "count"):
                raise ZeroshotError(
                    f"an operation of Mixed cannot be called {name!r}: its weights are named after "
                    "it in the module; give the option another name, without a dot"
                )
        super().__init__({name: op for name, op in operations.items() if op is not None})
        self.count = len(operations)

    @property
    def is_identity(self) -> bool:
        """Whether it is nothing but a skip connection."""
        return self.count == 1 and any(isinstance(op, nn.Identity) for op in self.values())

    def forward(self, inputs: Tensor, shared: dict[nn.Module, Tensor] | None = None) -> Tensor:
        """The mean; `shared` is one dictionary for all mixtures that see the same inputs."""
        if not self:
            return inputs * 0.0  # in the graph, so that gradients are zero rather than missing
        total = reduce(add, (_run(operation, inputs, shared) for operation in self.values()))
        return total if self.count == 1 else total / self.count


def _run(operation: nn.Module, inputs: Tensor, shared: dict[nn.Module, Tensor] | None) -> Tensor:
    if shared is None:
        return operation(inputs)
    first, *rest = operation if isinstance(operation, nn.Sequential) else (operation,)
    if first not in shared:
        shared[first] = first(inputs)
    return reduce(lambda value, layer: layer(value), rest, shared[first])
