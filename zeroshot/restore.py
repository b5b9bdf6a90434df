"""What is set for a while, of the process and of a network's modules, and put back afterwards."""

import random
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import checkpoint

# -- of the process --------------------------------------------------------------------------------

# What is set for all of a process (random numbers, PyTorch's switches and modes) is set by one
# thread at a time.
ALONE = threading.RLock()

# Of NumPy's global numbers meanwhile. To put back a state takes 20 times as long.
_BITS = np.random.MT19937()


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """PyTorch's, Python's and NumPy's global random numbers start from a seed; then as before."""
    devices = [device] if device.type == "cuda" else []
    with ALONE, torch.random.fork_rng(devices=devices):
        python, numpy = random.getstate(), np.random.get_bit_generator()  # pyright: ignore
        try:
            # Not torch.manual_seed: it would reseed devices whose state is not put back.
            torch.default_generator.manual_seed(seed)
            for cuda in devices:
                with torch.cuda.device(cuda):
                    torch.cuda.manual_seed(seed)
            random.seed(seed)
            np.random.set_bit_generator(_BITS)  # pyright: ignore
            np.random.seed(seed % 2**32)  # noqa: NPY002 - a network may use it
            yield
        finally:
            random.setstate(python)
            np.random.set_bit_generator(numpy)  # pyright: ignore


@contextmanager
def in_float32() -> Iterator[None]:
    """What is made without a precision of its own is float32, whatever the caller has set."""
    with ALONE:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


@contextmanager
def switched(switches: Iterable[tuple[Any, str, object]]) -> Iterator[None]:
    """Attributes of objects have these values; afterwards they have their own again."""
    switches = tuple(switches)
    before = [(where, name, getattr(where, name)) for where, name, _ in switches]
    try:
        for where, name, value in switches:
            setattr(where, name, value)
        yield
    finally:
        for where, name, value in before:
            if name == "fp32_precision":  # what is not set is told as inherited, and stays unset
                setattr(where, name, "none")
            if getattr(where, name) != value:
                setattr(where, name, value)


# The same of cuDNN's algorithms every time.
REPEATABLE = (
    (torch.backends.cudnn, "deterministic", True),
    (torch.backends.cudnn, "benchmark", False),
)


class _Plainly:
    """In the place of PyTorch's function that runs a part of a network again, going backward."""

    @staticmethod
    def apply(function: Callable[..., Any], _: bool, *args: Any) -> Any:
        return function(*args)


def _around(*_: Any, **__: Any) -> Iterator[None]:
    """In the place of what PyTorch does before and after such a part."""
    yield


# Activation checkpointing is a plain call: run again in a backward run, a part would find the
# network's own tensors and modes rather than those that stand in for them. This is what every way
# to call it goes through; the second is the first's name in other versions of PyTorch.
CHECKPOINTS = (
    (checkpoint, "CheckpointFunction", _Plainly),
    *(
        (checkpoint, name, _around)
        for name in (
            "_checkpoint_without_reentrant_generator",
            "_checkpoint_without_reentrant_generator_impl",
        )
        if hasattr(checkpoint, name)
    ),
)

# -- of modules ------------------------------------------------------------------------------------

OF_MODULES = frozenset(nn.Module().__dict__)  # attributes that every module has
COLLECTIONS = (dict, defaultdict, OrderedDict, list, set)

# How the state of random numbers is read and put back.
GENERATORS: dict[type, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    torch.Generator: (torch.Generator.get_state, torch.Generator.set_state),
    random.Random: (random.Random.getstate, random.Random.setstate),
    np.random.RandomState: (np.random.RandomState.get_state, np.random.RandomState.set_state),
    np.random.Generator: (
        lambda drawn: drawn.bit_generator.state,
        lambda drawn, state: setattr(drawn.bit_generator, "state", state),
    ),
}


@contextmanager
def standing_in(modules: Sequence[nn.Module], stand_ins: Mapping[int, Tensor]) -> Iterator[None]:
    """Tensors, by the `id` of the parameter or buffer that they stand in for; then its own again.

    What `torch.func.functional_call` does, which looks for each by its name: that takes longer than
    the arithmetic of a small network. Besides, what the network keeps in attributes of its modules
    (a table for this size of images, say) goes: it was computed from what stood in.
    """
    before = [(held, dict(held)) for part in modules for held in (part._parameters, part._buffers)]
    try:
        with keeping_attributes(modules):
            for held, own in before:
                for name, tensor in own.items():
                    if tensor is not None:
                        held[name] = stand_ins[id(tensor)]  # type: ignore[assignment]
            yield
    finally:
        for held, own in before:  # with them goes what the network has added
            held.clear()
            held.update(own)  # type: ignore[arg-type]


@contextmanager
def keeping_attributes(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Afterwards modules that may write their attributes when they run have them as before.

    So do those with a hook before they run, which may set a weight that is computed from others.
    """
    attributes = [
        _Attributes.of(part)
        for part in modules
        if part._forward_pre_hooks or _keeps_attributes(type(part))
    ]
    try:
        yield
    finally:
        for own in attributes:
            own.put_back()


@cache
def _keeps_attributes(kind: type[nn.Module]) -> bool:
    """Whether modules of that class may write their attributes when they run.

    Of PyTorch's own, recurrent layers do: they list their parameters once more.
    """
    plain = kind.__module__.startswith(("torch.nn.", "zeroshot.spaces."))
    return not plain or issubclass(kind, nn.RNNBase)


class _Attributes(NamedTuple):
    """A module's attributes as they were, and what is inside collections and random numbers."""

    held: dict[str, Any]
    values: dict[str, Any]
    inside: list[tuple[Any, Any]]
    drawn: list[tuple[Any, Any]]

    @classmethod
    def of(cls, part: nn.Module) -> "_Attributes":
        held = part.__dict__
        values = {name: value for name, value in held.items() if name not in OF_MODULES}
        some = (value for value in values.values() if type(value) in COLLECTIONS)
        drawn = [
            (value, GENERATORS[type(value)][0](value))
            for value in values.values()
            if type(value) in GENERATORS
        ]
        return cls(held, values, [(value, value.copy()) for value in some], drawn)

    def put_back(self) -> None:
        """What has been added goes, what has been replaced is back."""
        for name in self.held.keys() - self.values.keys() - OF_MODULES:
            del self.held[name]
        self.held.update(self.values)
        for value, before in self.inside:
            value.clear()
            value.extend(before) if isinstance(value, list) else value.update(before)
        for value, state in self.drawn:
            GENERATORS[type(value)][1](value, state)


@contextmanager
def keeping_modes(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Afterwards every one of them is in its own mode, training or not, again."""
    modes = [(part, part.training) for part in modules]
    try:
        yield
    finally:
        for part, training in modes:
            if part.training != training:
                set_mode(part, training)


def set_mode(module: nn.Module, training: bool) -> None:
    """Past the module's own way to set an attribute, which takes as long as a small operation."""
    module.__dict__["training"] = training
