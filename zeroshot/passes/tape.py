"""Reverse mode for many rows of a Jacobian: what autograd does, several rows in one go."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd import grad
from torch.overrides import TorchFunctionMode

from zeroshot import narrow
from zeroshot.observe import tensors_in
from zeroshot.passes.twice import convolution_arguments
from zeroshot.passes.windows import Convolution, Found, Gradient, Norm, Rows, Source, as_it_lies

RELUS = frozenset({F.relu, torch.relu, Tensor.relu})
SUMS = frozenset({torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__})
SUMS_IN_PLACE = frozenset({Tensor.__iadd__, Tensor.add_})
HOOKS = frozenset({Tensor.register_hook, Tensor.register_post_accumulate_grad_hook})
QUOTIENTS = frozenset({torch.div, Tensor.div, Tensor.__truediv__})
RECENT = 4  # results that may be asked for again; more would only fill the cache


class Unseen(Exception):  # noqa: N818 - as Undefined is, no error of the caller's
    """The network does something that a tape does not see, or would tell wrongly."""


@dataclass(frozen=True, eq=False)
class Step:
    """One function call."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class _Any(Step):
    """A function of whatever kind, differentiated by autograd row by row."""

    leaves: tuple[Tensor, ...]  # the inputs, in a graph of their own
    answers: tuple[Tensor, ...]  # the outputs there

    def back(self, gradients: Sequence[Gradient | None]) -> Found:
        """Gradients for the inputs, from gradients of the outputs."""
        pairs = zip(self.answers, gradients, strict=True)
        given = [(answer, gradient.whole) for answer, gradient in pairs if gradient is not None]
        if not given:
            return
        answers, told = zip(*given, strict=True)
        rows = [
            grad(answers, self.leaves, row, retain_graph=True, allow_unused=True)
            for row in zip(*(rows.unbind(-1) for rows in told), strict=True)
        ]
        for tensor, found in zip(self.inputs, zip(*rows, strict=True), strict=True):
            if found[0] is not None:
                yield tensor, Gradient(_stacked(found), own=True)


class _Rule(Step, ABC):
    """A function with one output, differentiated by us."""

    @abstractmethod
    def back(self, gradient: Gradient) -> Found:
        """Gradients for the inputs, from a gradient of the output."""


class _Sum(_Rule):
    def back(self, gradient: Gradient) -> Found:
        for tensor in self.inputs:
            yield tensor, gradient


@dataclass(frozen=True, eq=False)
class _Quotient(_Rule):
    divisor: int | float

    def back(self, gradient: Gradient) -> Found:
        yield self.inputs[0], Gradient(gradient.rows, gradient.scale / self.divisor)


class _Relu(_Rule):
    @cached_property
    def _mask(self) -> Tensor:
        return (self.outputs[0] != 0).to(self.outputs[0].dtype).unsqueeze(-1)

    def back(self, gradient: Gradient) -> Found:
        yield self.inputs[0], Gradient(gradient.rows, gradient.scale, self._mask)


@dataclass(frozen=True, eq=False)
class _Pool(_Rule):
    """Means over rectangles, of every row of a channel as if it were a channel."""

    how: tuple[Any, ...]  # settings of F.avg_pool2d, sizes as pairs; none if it is the adaptive one

    def back(self, gradient: Gradient) -> Found:
        given = as_it_lies(gradient.rows)
        found = self._undone(given.flatten(3).permute(0, 3, 1, 2), gradient.scale)
        found = found.permute(0, 2, 3, 1).unflatten(3, given.shape[3:])
        yield self.inputs[0], Gradient(found.permute(0, 3, 1, 2, 4), own=True)

    def _undone(self, maps: Tensor, scale: float) -> Tensor:
        n, channels = maps.shape[:2]
        if self._shares is not None:  # a convolution takes a third of the time
            kernel, _, padding, *_ = self.how
            beyond = [size - 1 - pad for size, pad in zip(kernel, padding, strict=True)]
            ones = maps.new_ones(channels, 1, *kernel)
            return F.conv2d(maps * (self._shares * scale), ones, None, 1, beyond, 1, channels)
        undo = torch.ops.aten.avg_pool2d_backward
        undo = undo if self.how else torch.ops.aten._adaptive_avg_pool2d_backward
        shape = n, channels, *self.inputs[0].shape[2:]
        like = torch.empty(shape, dtype=maps.dtype, memory_format=torch.channels_last)
        return undo(maps, like, *self.how).mul_(scale)

    @cached_property
    def _shares(self) -> Tensor | None:
        """What a window's sum was multiplied with, if windows are a step apart."""
        maps = self.inputs[0]
        if not self.how or self.how[1] != (1, 1) or maps.dtype != torch.float32:
            return None
        kernel, _, padding, *_ = self.how
        one = torch.ones_like(maps[:1, :1])
        return F.avg_pool2d(one, *self.how) / F.avg_pool2d(
            one, kernel, 1, padding, divisor_override=1
        )


@dataclass(frozen=True, eq=False)
class _Normalised(_Rule):
    norm: Norm

    def back(self, gradient: Gradient) -> Found:
        yield from self.norm.back(gradient, self.inputs[0])


@dataclass(frozen=True, eq=False)
class _Convolved(Step):
    """Carried back by `Tape.rows`, together with others."""

    conv: Convolution


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
        self._sources: dict[object, Source] = {}

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
            return self._kept(_Quotient, args[:1], func(*args), args[1])
        if (func in SUMS or func in SUMS_IN_PLACE) and not kwargs and len(args) == 2:
            one, other = args
            both = isinstance(other, Tensor) and one.requires_grad and other.requires_grad
            if both and one.shape == other.shape:
                output = self._kept(_Sum, args, one + other)
                return self._overwritten(one, output) if func in SUMS_IN_PLACE else output
        return None

    def _relu(self, input: Tensor, inplace: bool = False) -> Tensor:  # noqa: A002 - so called
        output = self._kept(_Relu, (input,), F.relu(input))
        return self._overwritten(input, output) if inplace else output

    def _pool(self, func: Any, args: Any, kwargs: Any) -> Tensor | None:
        maps = args[0] if args else kwargs["input"]
        if maps.ndim != 4:
            return None
        how = narrow.avg_pool_arguments(*args, **kwargs)[1:] if func is F.avg_pool2d else ()
        return self._kept(_Pool, (maps,), func(*args, **kwargs), how)

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
        return self._kept(_Convolved, (maps,), output, Convolution(maps, weight, *pairs))

    def _norm(self, call: narrow.Norm) -> Tensor | None:
        inputs, _, _, weight, bias, training, _, epsilon = call
        shifted = bias is not None and bias.requires_grad
        scaled = weight is not None and id(weight) not in self._leaves and weight.requires_grad
        if not training or not inputs.requires_grad or scaled or shifted:
            return None
        normal, _, scale = narrow.normalise(narrow.Norm(inputs, epsilon=epsilon))
        output = narrow.scaled(normal, weight, bias)
        return self._kept(_Normalised, (inputs,), output, Norm(weight, scale, normal))

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
            self._add(_Any(tuple(given.values()), outputs, tuple(leaves.values()), answers))
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

    @property
    def nbytes(self) -> int:
        """About what `rows` keeps from one call to the next, at most."""
        return sum(step.conv.nbytes for step in self.steps if isinstance(step, _Convolved))

    def rows_of(
        self, answers: Float[Tensor, "n ..."], leaves: tuple[Tensor, ...], chunk: int
    ) -> Iterator[tuple[Float[Tensor, "chunk ..."] | None, ...]]:
        """The Jacobian of every sample's summed answers, `chunk` rows at a time.

        None for a leaf that reaches nothing.
        """
        n = len(answers)
        for picks in torch.eye(n, dtype=answers.dtype, device=answers.device).split(chunk):
            wide = picks.T.view(n, *[1] * (answers.ndim - 1), len(picks))
            with torch.no_grad():
                found = self.rows(answers, wide.expand(*answers.shape, -1))
            rows = (found.get(id(leaf)) for leaf in leaves)
            yield tuple(None if row is None else row.movedim(-1, 0) for row in rows)

    def rows(self, output: Tensor, gradients: Rows) -> dict[int, Rows]:
        """Gradients of every leaf that is reached, by its id, from gradients of an output."""
        found = _Gradients()
        found.add([(output, Gradient(gradients))])
        # By map: the convolutions that read it, which wait for all others that do.
        waiting: dict[int, list[tuple[Convolution, Norm | None, Gradient]]] = {}
        for step in reversed(self.steps):
            for tensor in step.outputs:
                self._settle(waiting.pop(id(tensor), ()), found)
            told = [found.take(id(tensor)) for tensor in step.outputs]
            member = self._member(step)
            if isinstance(step, _Any):
                found.add(step.back(told))
            elif told[0] is None:
                continue
            elif member is not None:
                waiting.setdefault(id(member[0].maps), []).append((*member, told[0]))
            elif isinstance(step, _Rule):
                found.add(step.back(told[0]))
        for readers in waiting.values():
            self._settle(readers, found)
        return {key: left.whole for key in found.left() if (left := found.take(key)) is not None}

    def _member(self, step: Step) -> tuple[Convolution, Norm | None] | None:
        """The convolution that a step is, or is the only one to read and normalise."""
        if isinstance(step, _Convolved):
            return step.conv, None
        if isinstance(step, _Normalised) and id(step.inputs[0]) in self._read_once:
            return self._read_once[id(step.inputs[0])], step.norm
        return None

    @cached_property
    def _read_once(self) -> dict[int, Convolution]:
        """Convolutions whose output one step alone reads, by the output's id."""
        readers = Counter(id(tensor) for step in self.steps for tensor in step.inputs)
        convolved = {
            id(step.outputs[0]): step.conv for step in self.steps if isinstance(step, _Convolved)
        }
        return {key: conv for key, conv in convolved.items() if readers[key] == 1}

    def _settle(
        self, readers: Iterable[tuple[Convolution, Norm | None, Gradient]], found: "_Gradients"
    ) -> None:
        """Carry gradients back through all convolutions of one map."""
        kin: dict[object, dict[object, list[tuple[Convolution, Norm | None, Gradient]]]] = {}
        for conv, norm, told in readers:
            groups = kin.setdefault(conv.kin, {})
            name = id(told.rows), told.scale, norm is None
            groups.setdefault(name, []).append((conv, norm, told))
        for groups in kin.values():
            name = tuple(tuple(id(conv) for conv, *_ in group) for group in groups.values())
            if name not in self._sources:
                members = [
                    tuple((conv, norm) for conv, norm, _ in group) for group in groups.values()
                ]
                self._sources[name] = Source(members)
            gradients = [group[0][2] for group in groups.values()]
            found.add(self._sources[name].back(gradients))


class _Gradients:
    """Gradients on their way, in parts, by the id of what they are gradients of."""

    def __init__(self) -> None:
        self._parts: dict[int, list[Gradient]] = {}
        self._sums: dict[object, tuple[object, Rows]] = {}

    def add(self, found: Found) -> None:
        """Add parts."""
        for tensor, gradient in found:
            self._parts.setdefault(id(tensor), []).append(gradient)

    def take(self, key: int) -> Gradient | None:
        """The sum of the parts, without a mask. May be that of others, so is only read."""
        parts = self._parts.pop(key, [])
        plain = [part for part in parts if not part.own and part.mask is None]
        rest = [part for part in parts if part.own] + [
            part for part in parts if part.mask is not None
        ]
        lent = self._sum(tuple(plain)) if plain else None
        if not rest:
            return lent
        first, *others = rest if lent is None else (*rest, lent)
        total = first.rows if first.own else first.whole
        for part in others:
            part.add_to(total)
        return Gradient(total)

    def left(self) -> set[int]:
        """Of what there are gradients."""
        return set(self._parts)

    def _sum(self, parts: tuple[Gradient, ...]) -> Gradient:
        """Their sum; what has just been made, as for others that read a node, is not made again."""
        *before, last = parts
        if not before:
            return last
        name = tuple((id(part.rows), part.scale) for part in parts)
        if name not in self._sums:
            total = self._sum(tuple(before))
            made = torch.add(total.rows, last.rows, alpha=last.scale / total.scale)
            self._sums[name] = parts, made  # these live, or their ids were those of others
            if len(self._sums) > RECENT:
                del self._sums[next(iter(self._sums))]
        return Gradient(self._sums[name][1], parts[0].scale)


def _stacked(rows: tuple[Tensor, ...]) -> Rows:
    """Rows, innermost; of maps, channels next."""
    if rows[0].ndim != 4:
        return torch.stack(rows, dim=-1)
    maps = [row.permute(0, 2, 3, 1) for row in rows]
    return torch.stack(maps, dim=-1).permute(0, 3, 1, 2, 4)


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
