"""Pickles as benchmarks distribute them, read into plain data without running anything of theirs.

A pickle is a program: it may ask for any function and call it. The files of the benchmarks need
but few, for numbers and arrays of NumPy; these have stand-ins here that make Python's own numbers
and lists of them, whatever NumPy is installed. Everything else that a file asks for is refused by
name, unless the user trusts it.
"""

import bz2
import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zeroshot.errors import ZeroshotError, first_line

# How torch.save began its files before it wrote zip archives.
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C


def read_pickle(
    path: Path, *, known: Mapping[tuple[str, str], Any] | None = None, trust: bool = False
) -> Any:
    """The plain data in a pickle.

    NumPy's numbers come as Python's, its arrays as lists.

    Args:
        path: of a pickle; compressed if its name ends in .pbz2 or .bz2, written by `torch.save` if
            in .pth or .pt (both its formats; tensors cannot be read).
        known: stand-ins for what else the format asks for, by module and name.
        trust: whether a file may have all that it asks for.

    Raises:
        ZeroshotError: naming the file, if there is none, it is truncated or no pickle, or it asks
            for more than plain data without being trusted; the names are told, and nothing was run.
    """
    names: list[str] = []
    try:
        found = _read(path, known or {}, trust, names)
    except FileNotFoundError as error:
        raise ZeroshotError(f"there is no file {path}; check the path") from error
    except Exception as error:  # a damaged or hostile pickle can fail in any way
        if not names:
            words = first_line(error)
            raise ZeroshotError(
                f"{path} is truncated or no pickle ({words}); get it again"
            ) from error
    if names:
        raise ZeroshotError(
            f"{path} asks to run {', '.join(names)}, which its format does not need; nothing was "
            "run. Get it from its authors, or, if you trust it, give --trust (trust=True)"
        )
    return found


def names_asked(path: Path) -> tuple[str, ...]:
    """What a pickle asks for beyond plain data, in its order; nothing is run.

    Of a damaged one what it asks for before the damage.
    """
    names: list[str] = []
    try:
        _read(path, {}, False, names)
    except Exception:  # as above; what it asked for until then is known
        return tuple(names)
    return tuple(names)


def _read(path: Path, known: Mapping[tuple[str, str], Any], trust: bool, names: list[str]) -> Any:
    """What is in a file; `names` receives what it was refused."""
    if path.suffix in (".pbz2", ".bz2"):
        with bz2.open(path) as stream:
            found = _Reader(stream, known, trust, names).load()
            stream.read(1)  # nothing: at its end, the checksum is verified
            return found
    if path.suffix in (".pth", ".pt"):
        return _read_torch(path, known, trust, names)
    with path.open("rb") as stream:
        return _Reader(stream, known, trust, names).load()


def _read_torch(
    path: Path, known: Mapping[tuple[str, str], Any], trust: bool, names: list[str]
) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inner = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(inner) != 1:
                raise pickle.UnpicklingError("not an archive of torch.save")
            return _Reader(io.BytesIO(archive.read(inner[0])), known, trust, names).load()
    with path.open("rb") as stream:
        # Five pickles: the magic number, a version, the machine, the data, and names of tensors.
        if _Reader(stream, known, trust, names).load() != _TORCH_MAGIC:
            raise pickle.UnpicklingError("not written by torch.save")
        parts = [_Reader(stream, known, trust, names).load() for _ in range(4)]
        return parts[2]


class _Reader(pickle.Unpickler):
    """Gives what is plain or known, and of all else, unless trusted, something inert."""

    def __init__(
        self,
        stream: io.BufferedIOBase,
        known: Mapping[tuple[str, str], Any],
        trust: bool,
        names: list[str],
    ) -> None:
        super().__init__(stream)
        self._known, self._trust, self._names = {**_PLAIN, **known}, trust, names

    def find_class(self, module_name: str, global_name: str) -> Any:
        module = module_name.replace("numpy._core", "numpy.core")
        if (module, global_name) in self._known:
            return self._known[module, global_name]
        if self._trust:
            return super().find_class(module_name, global_name)
        name = f"{module_name}.{global_name}"
        name = name if name.isprintable() else repr(name)
        if name not in self._names:
            self._names.append(name)
        return _Inert

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it holds tensors; expected plain data")


class _Inert:
    """Stands in for what was refused, so that reading goes on to the next name; does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Inert":
        return object.__new__(cls)

    def _nothing(self, *args: Any, **kwargs: Any) -> "_Inert":
        return self

    __init__ = lambda self, *args, **kwargs: None  # noqa: E731
    __call__ = __setstate__ = __setitem__ = append = extend = add = _nothing


# -- stand-ins for NumPy ---------------------------------------------------------------------------


class _Dtype:
    """A type of numbers or text. No type with objects or fields: their bytes would be pointers."""

    def __init__(self, code: str, *_: Any) -> None:
        if not re.fullmatch("[biufSU][0-9]{1,4}|O8", code):
            raise pickle.UnpicklingError(f"it holds an array of type {code!r}")
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"it holds an array in byte order {state[1]!r}")
        self.code = state[1] + self.code

    def values(self, content: bytes | bytearray) -> np.ndarray:
        """The numbers in some bytes."""
        if self.code.endswith("O8"):
            raise pickle.UnpicklingError("it holds objects in place of numbers")
        return np.frombuffer(content, self.code)


class _Array(list):
    """The elements of an array, in lists."""

    def __init__(self, *_: Any) -> None:
        super().__init__()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        if isinstance(content, list):  # of objects
            self[:] = content
        else:
            order = "F" if fortran else "C"
            self[:] = dtype.values(content).reshape(shape, order=order).tolist()


def _scalar(dtype: _Dtype, content: bytes) -> Any:
    return dtype.values(content)[0].item()


def _from_buffer(
    content: bytearray, dtype: _Dtype, shape: tuple[int, ...], order: str
) -> list[Any]:
    """How the newest protocol writes arrays."""
    return dtype.values(content).reshape(shape, order="F" if order == "F" else "C").tolist()


def _bytes(text: str, encoding: str) -> bytes:
    """How old protocols write bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it holds bytes written as {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How old protocols write none."""
    return b""


_PLAIN: Mapping[tuple[str, str], Any] = {
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("__builtin__", "bytes"): _no_bytes,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _bytes,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
}
