"""Records what a network computes, as it runs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from zeroshot import narrow
from zeroshot.observe import tensors_in
from zeroshot.passes.tape.steps import (
    Convolution,
    Convolved,
    Norm,
    Normalised,
    Opaque,
    Pool,
    Quotient,
    Relu,
    Step,
    Sum,
)
from zeroshot.passes.twice import convolution_arguments

RELUS = frozenset({F.relu, torch.relu, Tensor.relu})
SUMS = frozenset({torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__})
SUMS_IN_PLACE = frozenset({Tensor.__iadd__, Tensor.add_})
HOOKS = frozenset({Tensor.register_hook, Tensor.register_post_accumulate_grad_hook})
QUOTIENTS = frozenset({torch.div, Tensor.div, Tensor.__truediv__})


class Unseen(Exception):  # noqa: N818 - as Undefined is, no error of the caller's
    """The network does something that a tape does not see, or would tell wrongly."""


class Tape(TorchFunctionMode):
    """Records what is computed from some tensors, as `with Tape(leaves) as tape`.

    Convolutions, batch normalisation, ReLU, sums and poolings of few channels have rules for many
    rows at once, of which those for biases are left out; all other functions are differentiated by
    autograd, row by row. What it gives is what autograd gives but for rounding.

    Attributes:
        is_whole: whether all was seen; also where the network caught what was raised.

    Raises:
        Unseen: from within, where the network computes in ways that are not seen (functions of its
            own for autograd, say), draws at random, or overwrites what others read.
    """

    def __init__(self, leaves: Iterable[Tensor]) -> None:
        super().__init__()
        self.known = {id(leaf): leaf for leaf in leaves}  # which also keeps them alive
        self._leaves = frozenset(self.known)
        self.steps: list[Step] = []
        self.is_whole = True
        self._renamed: dict[int, Tensor] = {}  # what stands in a tensor that was overwritten
        self._aliased: set[int] = set()  # where numbers lie that are read without gradient, too

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            return self._record(func, args, kwargs or {})
        except Exception:
            self.is_whole = False
            raise

    def answered(self, tensor: Tensor) -> Tensor:
        """What the network means by a tensor that it answers: it may have overwritten it."""
        tensor = self._renamed.get(id(tensor), tensor)
        if not self.is_whole or (tensor.requires_grad and id(tensor) not in self.known):
            raise Unseen("what the network answers")
        return tensor

    def _record(self, func: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = _swapped(self._renamed, args), _swapped(self._renamed, kwargs)
        read = list(tensors_in((args, kwargs)))
        given = {id(tensor): tensor for tensor in read if tensor.requires_grad}
        if not given:
            return func(*args, **kwargs)
        if func in HOOKS or torch.is_autocast_enabled("cpu"):
            raise Unseen(f"what {func} does to gradients")
        versions = [tensor._version for tensor in read]
        if not torch.is_grad_enabled():
            output = func(*args, **kwargs)
        elif not given.keys() <= self.known.keys():
            output = func(*args, **kwargs)
            if any(tensor.requires_grad for tensor in tensors_in(output)):
                raise Unseen(f"what {func} reads")
        else:
            with torch.no_grad():
                output = self._by_rule(func, args, kwargs) if _is_plain(read) else None
            if output is not None:
                return output
            with torch.no_grad():
                output = func(*args, **kwargs)
            if versions == [tensor._version for tensor in read]:
                output = self._by_autograd(func, args, kwargs, given, output)
        if versions != [tensor._version for tensor in read]:
            raise Unseen(f"what {func} overwrites")
        places = {_place(tensor) for tensor in given.values()}
        for tensor in tensors_in(output):
            if not tensor.requires_grad and _place(tensor) in places:
                self._aliased.add(_place(tensor))
        return output

    def _by_rule(self, func: Any, args: Any, kwargs: Any) -> Tensor | None:
        if func in RELUS:
            return self._relu(*args, **kwargs)
        if func is F.conv2d:
            return self._convolution(*convolution_arguments(*args, **kwargs))
        if func is F.batch_norm:
            return self._norm(narrow.Norm.of(*args, **kwargs))
        if func in (F.avg_pool2d, F.adaptive_avg_pool2d):
            return self._pool(func, args, kwargs)
        if func in QUOTIENTS and not kwargs and isinstance(args[1], (int, float)) and args[1]:
            return self._kept(Quotient, args[:1], func(*args), args[1])
        if (func in SUMS or func in SUMS_IN_PLACE) and not kwargs and len(args) == 2:
            one, other = args
            both = isinstance(other, Tensor) and one.requires_grad and other.requires_grad
            if both and one.shape == other.shape:
                output = self._kept(Sum, args, one + other)
                return self._overwritten(one, output) if func in SUMS_IN_PLACE else output
        return None

    def _relu(self, input: Tensor, inplace: bool = False) -> Tensor:  # noqa: A002 - so called
        output = self._kept(Relu, (input,), F.relu(input))
        return self._overwritten(input, output) if inplace else output

    def _pool(self, func: Any, args: Any, kwargs: Any) -> Tensor | None:
        maps = args[0] if args else kwargs["input"]
        if maps.ndim != 4:
            return None
        how = narrow.avg_pool_arguments(*args, **kwargs)[1:] if func is F.avg_pool2d else ()
        return self._kept(Pool, (maps,), func(*args, **kwargs), how)

    def _convolution(
        self, maps: Tensor, weight: Tensor, bias: Tensor | None, *how: Any
    ) -> Tensor | None:
        *sizes, groups = how
        plain = maps.ndim == 4 and not isinstance(how[1], str) and groups == 1
        shifted = bias is not None and bias.requires_grad
        if not plain or id(weight) not in self._leaves or shifted:
            return None
        pairs = (narrow.both(size) for size in sizes)
        output = F.conv2d(maps, weight, bias, *how)
        return self._kept(Convolved, (maps,), output, Convolution(maps, weight, *pairs))

    def _norm(self, call: narrow.Norm) -> Tensor | None:
        inputs, _, _, weight, bias, training, _, epsilon = call
        shifted = bias is not None and bias.requires_grad
        scaled = weight is not None and id(weight) not in self._leaves and weight.requires_grad
        if not training or not inputs.requires_grad or scaled or shifted:
            return None
        normal, _, scale = narrow.normalise(narrow.Norm(inputs, epsilon=epsilon))
        output = narrow.scaled(normal, weight, bias)
        return self._kept(Normalised, (inputs,), output, Norm(weight, scale, normal))

    def _by_autograd(
        self, func: Any, args: Any, kwargs: Any, given: dict[int, Tensor], output: Any
    ) -> Any:
        if any(tensor.is_complex() for tensor in tensors_in((args, kwargs, output))):
            raise Unseen(f"complex numbers of {func}")
        if not any(tensor.is_floating_point() for tensor in tensors_in(output)):
            return output
        leaves = {key: tensor.detach().requires_grad_() for key, tensor in given.items()}
        again = func(*_swapped(leaves, args), **_swapped(leaves, kwargs))
        kept: dict[int, tuple[Tensor, Tensor]] = {}  # what depends on the inputs, and its twin
        for one, other in zip(tensors_in(output), tensors_in(again), strict=True):
            if not torch.equal(one, other):
                raise Unseen(f"what {func} draws at random")
            if other.requires_grad:
                kept[id(one)] = one.detach().requires_grad_(), other
        if kept:
            outputs, answers = zip(*kept.values(), strict=True)
            self._add(Opaque(tuple(given.values()), outputs, tuple(leaves.values()), answers))
        new = {key: one for key, (one, _) in kept.items()}
        return _swapped(new, output)

    def _kept(
        self, kind: type[Step], inputs: Sequence[Tensor], output: Tensor, *how: Any
    ) -> Tensor:
        output = output.detach().requires_grad_()
        self._add(kind(tuple(inputs), (output,), *how))
        return output

    def _add(self, step: Step) -> None:
        self.steps.append(step)
        self.known |= {id(tensor): tensor for tensor in step.outputs}

    def _overwritten(self, tensor: Tensor, value: Tensor) -> Tensor:
        """Let a value stand for a tensor that the network overwrote; Unseen if another sees it."""
        place = _place(tensor)
        others = sum(_place(known) == place for known in self.known.values()) > 1
        if others or place in self._aliased:
            raise Unseen("a view of something overwritten")
        for key, other in self._renamed.items():
            if other is tensor:
                self._renamed[key] = value
        self._renamed[id(tensor)] = value
        return value


def _is_plain(tensors: Iterable[Tensor]) -> bool:
    """Whether gradients are of one kind, as rules expect."""
    return len({tensor.dtype for tensor in tensors if tensor.is_floating_point()}) == 1


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _swapped(others: Mapping[int, Tensor], given: Any) -> Any:
    """The same with other tensors, by id; lists, tuples and dictionaries are looked into."""
    if isinstance(given, Tensor):
        return others.get(id(given), given)
    if isinstance(given, dict):
        return {name: _swapped(others, part) for name, part in given.items()}
    if isinstance(given, (list, tuple)):
        parts = [_swapped(others, part) for part in given]
        return type(given)(*parts) if hasattr(given, "_fields") else type(given)(parts)
    return given
