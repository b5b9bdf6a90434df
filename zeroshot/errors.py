"""The ways in which `zeroshot` says no."""

from collections.abc import Iterable
from numbers import Real
from operator import index


class ZeroshotError(ValueError):
    """A mistake of the caller's, in one line: what was found, what was expected, what to do.

    The command line prints the line and exits with 2; to a library it is a `ValueError`.
    """


class OutOfMemoryError(ZeroshotError):
    """Memory ran out; says in which pass and what to lower. Nothing is computed on less instead."""


class FailedFormula(ZeroshotError):  # noqa: N818 - of a family
    """The formula of a proxy raised something; all else may be well.

    Attributes:
        proxy: its name.
    """

    def __init__(self, proxy: str, error: Exception) -> None:
        super().__init__(f"proxy {proxy} fails: {in_a_line(error)}")
        self.proxy = proxy


class Undefined(Exception):  # noqa: N818 - a statement about a network, not a failure
    """A proxy says nothing about this network. The engine turns it into NaN with this reason."""


def first_line(error: BaseException) -> str:
    """The first line of an exception's words, or the name of its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def in_a_line(error: BaseException) -> str:
    """What an exception says, in one line; behind its type, where that adds something."""
    words = first_line(error)
    plain = isinstance(error, (ZeroshotError, Undefined, RuntimeError))
    return words if plain or not str(error).strip() else f"{type(error).__name__}: {words}"


def nearest(word: object, known: Iterable[str]) -> str:
    """A question that names the known word most like a mistyped one; empty if none is like it."""
    from difflib import get_close_matches  # where something is mistyped, not at every start

    close = get_close_matches(str(word), known, n=1)
    return f"did you mean {close[0]}? " if close else ""


def cut(text: str, room: int = 80) -> str:
    """A text, its end cut off where it takes more room."""
    return text if len(text) <= room else f"{text[: room - 1]}…"


def brief(value: object) -> str:
    """What a value looks like, in a line of bounded length."""
    return cut(" ".join(repr(value).split()), 100)


def whole(what: str, value: object) -> int:
    """A whole number, of Python or NumPy, as it is; ZeroshotError for anything else, also 2.0."""
    try:
        if not isinstance(value, bool):
            return index(value)  # type: ignore[arg-type]
    except TypeError:
        pass
    raise ZeroshotError(f"{what} {value!r}: expected a whole number")


def check_seed(seed: object, draws: int = 1) -> None:
    """Refuse a seed that is none, or of which one of the `draws` that follow it is none."""
    first = whole("seed", seed)
    if not 0 <= first <= 2**63 - draws:
        more = f", for there are {draws} in a row" if first >= 0 and draws > 1 else ""
        last = f"2⁶³ − {draws}"
        raise ZeroshotError(f"seed {first}; expected a number from 0 to {last}{more}")


def real(what: str, value: object) -> float:
    """A number as it is; ZeroshotError for anything else, also NaN."""
    if isinstance(value, bool) or not isinstance(value, Real) or value != value:
        raise ZeroshotError(f"{what} {value!r}: expected a number")
    return float(value)
