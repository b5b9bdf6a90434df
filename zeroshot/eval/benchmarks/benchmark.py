"""What a benchmark is: a source of measured accuracies, read into one table."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd

from zeroshot.errors import ZeroshotError, first_line


@dataclass(frozen=True)
class Query:
    """What a benchmark is asked.

    Attributes:
        dataset: one of the benchmark's; may be empty where the file says which it has.
        path: the user's files; None if none was given.
        trust: whether code that a file asks for may run. Files that need none do not look at it.
        archs: whose accuracies are wanted. Only surrogates look at it: they know every
            architecture and list none.
    """

    dataset: str = ""
    path: Path | None = None
    trust: bool = False
    archs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Benchmark:
    """A source of accuracies.

    Attributes:
        name: the word for `--truth`.
        space: the search space whose architectures it knows.
        datasets: the first is the default. Empty: those that the file has.
        file: what the user has to have, for `--benchmark-path` or installed.
        source: where the numbers are from.
        load: reads a table indexed by arch, all columns numbers. The first column is what `--truth`
            means: `accuracy`, except where the benchmark measures something else. Where recorded:
            `seconds`, what the training cost, and `epoch_1`, `epoch_2` …, the curve.
        better: whether a higher or a lower value of its columns is better; `seconds` are always
            better lower.
    """

    name: str
    space: str
    datasets: tuple[str, ...]
    file: str
    source: str
    load: Callable[[Query], pd.DataFrame]
    better: str = "higher"

    def __str__(self) -> str:
        return self.name


def tabulate(rows: Iterable[tuple[str, Mapping[str, float]]], path: Path | str) -> pd.DataFrame:
    """The table of rows, each an architecture and its numbers; NaN where a row lacks a column.

    Raises:
        ZeroshotError: naming the file, if there are no rows, or two of one architecture disagree.
            Two that agree are one.
    """
    found: dict[str, Mapping[str, float]] = {}
    for arch, row in rows:
        known = found.setdefault(arch, row)
        if known is not row:
            _agree(arch, known, row, path)
    if not found:
        raise ZeroshotError(f"{path} holds no architectures; get it again")
    index = pd.Index(list(found), name="arch", dtype=object)
    return pd.DataFrame.from_records(list(found.values()), index=index).astype(np.float64)


def _agree(
    arch: str, one: Mapping[str, float], other: Mapping[str, float], path: Path | str
) -> None:
    for column in dict.fromkeys((*one, *other)):
        pair = (one.get(column, np.nan), other.get(column, np.nan))
        if not np.array_equal(*pair, equal_nan=True):
            raise ZeroshotError(
                f"{path}: rows of {arch} disagree on {column!r} ({pair[0]:g} and {pair[1]:g}); "
                "keep the right one"
            )


def needed(query: Query, name: str, what: str, folder: bool = False) -> Path:
    """The path of the files that a benchmark needs: of one file, or perhaps of a folder.

    Raises:
        ZeroshotError: saying what is needed, if none was given, there is nothing, or a folder.
    """
    if query.path is None:
        found = "no path was given"
    elif not query.path.exists():
        found = f"there is nothing at {query.path}"
    elif query.path.is_dir() and not folder:
        found = f"{query.path} is a folder"
    else:
        return query.path
    raise ZeroshotError(
        f"the benchmark {name!r} needs its files: {found}, expected the path of {what} "
        "(--benchmark-path)"
    )


def unreadable(path: Path, what: str, error: BaseException) -> NoReturn:
    """Refuse a file that is readable, but not what it should be."""
    words = first_line(error)
    raise ZeroshotError(
        f"{path} is not {what} ({type(error).__name__}: {words}); get it again"
    ) from error


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """' (did you mean …?)', or nothing if no choice is close."""
    close = get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
