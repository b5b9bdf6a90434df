"""What tells code from an earlier state of itself, so that its results are not mixed up."""

import inspect
from collections.abc import Iterator
from dataclasses import is_dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial
from hashlib import sha256
from pathlib import PurePath
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn, strided, uint8

PLAIN = (bool, int, float, complex, str, bytes, range, slice, Decimal, Fraction, PurePath, Enum)
KINDS = (torch.dtype, torch.device, torch.layout, torch.memory_format, np.dtype)


def edition(version: int, *parts: Any) -> str:
    """A version; behind it, if a part is code of the user's own, a digest of that code.

    The same in every process of one Python version. What a part refers to counts if it is a plain
    constant, an array, a tensor or a network, or stands in the same module; comments, docstrings
    and the place in the file do not. What else it takes from elsewhere counts by its name alone:
    functions, classes, modules.

    Args:
        version: what the author counts up.
        parts: functions, classes and objects. Those of this package do not count.
    """
    seen: set[int] = set()
    words = [word for part in parts for word in _words(part, "", seen)]
    if not words:
        return str(version)
    return f"{version}-{sha256(repr(words).encode()).hexdigest()[:12]}"


def is_own(told: str) -> bool:
    """Whether an edition is of code of the user's own."""
    return "-" in told


def _words(held: Any, home: str, seen: set[int]) -> Iterator[str]:
    """What a value says or does; `home` is the module of whoever holds it, '' at the start."""
    held = _bare(held)
    if held is None or isinstance(held, (*PLAIN, *KINDS)):
        yield repr(held)
    elif isinstance(held, ModuleType):
        yield held.__name__
    elif isinstance(held, (np.ndarray, np.generic, Tensor)):
        yield from _numbers(held)
    elif isinstance(held, (set, frozenset)):
        yield str(sorted(map(repr, held)))
    elif isinstance(held, tuple):
        for value in held:
            yield from _words(value, home, seen)
    elif id(held) in seen:  # by now told, or about to be
        return
    elif isinstance(held, (list, dict)):
        seen.add(id(held))
        yield from _words(tuple(held.items() if isinstance(held, dict) else held), home, seen)
    elif isinstance(held, MethodType):
        yield from _words((held.__func__, held.__self__), home, seen)
    elif isinstance(held, partial):
        yield from _words((held.func, held.args, *held.keywords.items()), home, seen)
    elif isinstance(held, (FunctionType, type)):
        seen.add(id(held))
        ours = f"{held.__module__}.".startswith("zeroshot.")
        if home or not ours:
            yield f"{held.__module__}.{held.__qualname__}"
        if home in ("", held.__module__) and not ours:
            yield from _class(held, seen) if isinstance(held, type) else _function(held, seen)
    else:
        seen.add(id(held))
        if isinstance(named := getattr(held, "__qualname__", getattr(held, "__name__", "")), str):
            yield named  # a function in C, say
        yield from _words(type(held), home, seen)
        own = home in ("", type(held).__module__)
        if own or is_dataclass(held) or isinstance(held, nn.Module):
            yield from _words(tuple(getattr(held, "__dict__", {}).items()), home, seen)


def _numbers(held: Any) -> Iterator[str]:
    """What an array or a tensor holds, on whichever device."""
    yield f"{held.dtype} {tuple(held.shape)}"
    if isinstance(held, Tensor):
        held = held.detach().cpu().resolve_conj().resolve_neg()
        held = (held if held.layout == strided else held.to_dense()).contiguous()
        held = held.reshape(-1).view(uint8).numpy()  # NumPy has no bfloat16
    if held.dtype == object:
        yield repr(held.tolist())
    else:
        yield sha256(held.tobytes()).hexdigest()


def _bare(held: Any) -> Any:
    """The function inside a decorated one, a static or class method, or a property."""
    if isinstance(held, (staticmethod, classmethod)):
        held = held.__func__
    elif isinstance(held, property):
        held = held.fget
    wrapped = isinstance(held, FunctionType) or "__wrapped__" in getattr(held, "__dict__", {})
    return inspect.unwrap(held) if wrapped and not isinstance(held, type) else held


def _function(held: FunctionType, seen: set[int]) -> Iterator[str]:
    yield from _instructions(held.__code__, held.__doc__)
    cells = zip(held.__code__.co_freevars, held.__closure__ or (), strict=True)
    bound = {name: cell.cell_contents for name, cell in cells if _filled(cell)}
    used = _names(held.__code__)
    bound |= {name: value for name, value in held.__globals__.items() if name in used}
    bound |= {"": held.__defaults__} | (held.__kwdefaults__ or {})
    for name in sorted(bound):
        yield name
        yield from _words(bound[name], held.__module__, seen)


def _class(held: type, seen: set[int]) -> Iterator[str]:
    yield from _words(held.__bases__, held.__module__, seen)
    for name, value in sorted(vars(held).items()):
        if name in ("__init__", "__post_init__", "__call__") or not name.startswith(("__", "_abc")):
            yield name
            yield from _words(value, held.__module__, seen)


def _instructions(code: CodeType, doc: str | None = None) -> Iterator[str]:
    """What Python runs, without the places of the source that it came from."""
    yield from (code.co_code.hex(), *code.co_names)
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _instructions(value)
        elif doc is None or value != doc:
            yield str(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)


def _names(code: CodeType) -> set[str]:
    """The names in a function and in those that it defines."""
    inner = (value for value in code.co_consts if isinstance(value, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _filled(cell: Any) -> bool:
    """Whether a variable of the surrounding function has a value by now."""
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False
