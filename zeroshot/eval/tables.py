"""Tables from files: CSV, CSV.gz and Parquet, read with suspicion."""

import csv
import gzip
import io
import zlib
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zeroshot.errors import ZeroshotError
from zeroshot.ranking import KEYS, proxies_of

SUFFIXES = (".csv", ".csv.gz", ".parquet")
# Numbers come back as they were written: by default from pandas 3.1 on, which deprecates to ask.
_RECENT = tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1)
EXACT: dict[str, Any] = {} if _RECENT else {"float_precision": "round_trip"}


def read_table(path: Path) -> pd.DataFrame:
    """The table in a .csv, .csv.gz or .parquet file; the column `arch`, if any, is text.

    Raises:
        ZeroshotError: naming the file and, for a CSV, the line: if the file is not there, of
            another kind, corrupt or truncated. A CSV has to end with a line break, and each line
            needs as many fields as the header: pandas alone would fill up what was cut off.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIXES):
        raise ZeroshotError(f"{path} is no table: expected a file named {', '.join(SUFFIXES)}")
    if path.suffix == ".parquet":
        try:
            table = pd.read_parquet(path)
        except FileNotFoundError as error:
            raise ZeroshotError(f"there is no file {path}; check the path") from error
        except (OSError, ValueError, KeyError) as error:
            raise ZeroshotError(f"{path} is no readable Parquet file: {_first(error)}") from error
        if "arch" in table.columns:
            table = table.astype({"arch": str})
        return _named(table, path)
    text = read_text(path)
    archs = _check(text, path)
    try:
        table = pd.read_csv(io.StringIO(text), low_memory=False, **EXACT)
        if archs:  # one may be called NA or 007: it stays what it is
            table["arch"] = archs
    except ValueError as error:
        raise ZeroshotError(f"{path} is no readable CSV: {_first(error)}") from error
    return _named(table, path)


def read_text(path: Path) -> str:
    """The text of a file, unpacked if its name ends in .gz.

    Raises:
        ZeroshotError: naming the file, if it cannot be read, unpacked or decoded.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ZeroshotError(f"there is no file {path}; check the path") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ZeroshotError(
            f"{path} is truncated or corrupt ({_first(error)}); get it again"
        ) from error
    except UnicodeDecodeError as error:
        raise ZeroshotError(
            f"{path} is not UTF-8 text (byte {error.start}); get it again"
        ) from error
    except OSError as error:
        raise ZeroshotError(f"cannot read {path}: {error.strerror or error}") from error


def read_scores(path: Path) -> pd.DataFrame:
    """A scores table: `arch`, `seed`, then one numeric column per proxy.

    Raises:
        ZeroshotError: naming the file, if it is unreadable, lacks a key, doubles an (arch, seed) or
            has a column that is not numeric.
    """
    table = read_table(path)
    for column in table.columns:
        if column not in KEYS:
            table[column] = _numbers(table[column], column, path)
    try:
        proxies_of(table)
    except ZeroshotError as error:
        raise ZeroshotError(f"{path}: {error}") from error
    return table


def read_truth(path: Path, column: str | None = None) -> pd.Series:
    """The accuracies in one column of a table, indexed by `arch`.

    Rows of one architecture that agree are one. An empty cell is an unknown accuracy, NaN.

    Args:
        path: of a .csv, .csv.gz or .parquet file.
        column: which to read; not needed if there is only one of numbers.

    Raises:
        ZeroshotError: naming the file, if it is unreadable, has no column `arch`, several columns
            it could be, not the column asked for, a text where a number should be, or rows of one
            architecture that disagree.
    """
    table = read_table(path)
    if "arch" not in table.columns:
        raise ZeroshotError(
            f"{path} has no column 'arch', only {', '.join(map(str, table.columns))}; rename the "
            "one that holds the architectures"
        )
    column = _column(table, column, path)
    if column not in table.columns:
        close = get_close_matches(column, map(str, table.columns), n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        listed = ", ".join(str(name) for name in table.columns if name != "arch")
        raise ZeroshotError(f"{path} has no column {column!r}{hint}; it has {listed}")
    table = table.assign(**{column: _numbers(table[column], column, path)})
    table = table.drop_duplicates(["arch", column])
    repeated = table["arch"].duplicated()
    if repeated.any():
        arch = table.loc[repeated, "arch"].iloc[0]
        first, second = table.loc[table["arch"] == arch, column].iloc[:2]
        raise ZeroshotError(
            f"{path}: rows of {arch} disagree on {column!r} ({first:g} and {second:g}); keep one"
        )
    return table.set_index("arch")[column].astype(np.float64)


def _column(table: pd.DataFrame, column: str | None, path: Path) -> str:
    if column is not None:
        return column
    candidates = [
        str(name)
        for name in table.columns
        if name not in (*KEYS, "index") and pd.api.types.is_numeric_dtype(table[name])
    ]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise ZeroshotError(f"{path} has no column of numbers besides 'arch'; expected accuracies")
    candidates.sort(key=lambda name: "acc" not in name.lower())  # the likely ones first
    raise ZeroshotError(
        f"{path} has {len(candidates)} columns of numbers; name one, as in "
        f"{path.name}:{candidates[0]}. There are {', '.join(candidates)}"
    )


def _numbers(values: pd.Series, column: object, path: Path) -> pd.Series:
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values
    numbers = pd.to_numeric(values, errors="coerce")
    wrong = np.flatnonzero(numbers.isna() & values.notna())
    if pd.api.types.is_bool_dtype(values) or len(wrong):
        row = int(wrong[0]) if len(wrong) else 0
        raise ZeroshotError(
            f"{path}: {str(values.iloc[row])!r} in column {column!r}, row {row + 1}, is no number"
        )
    return numbers


def _named(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table, if every row has an architecture."""
    if "arch" in table.columns:
        nameless = np.flatnonzero(table["arch"].isna() | (table["arch"] == ""))
        if len(nameless):
            raise ZeroshotError(f"{path}: row {nameless[0] + 1} has no arch; fill it in or drop it")
    return table


def _check(text: str, path: Path) -> list[str]:
    """Check that a CSV is whole; returns the column `arch` as it is spelled, if there is one."""
    if not text:
        raise ZeroshotError(f"{path} is empty; expected a header and rows")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    archs: list[str] = []
    try:
        for fields in reader:
            if not header:
                header = fields
                doubled = {name for name in header if header.count(name) > 1}
                if doubled:
                    raise ZeroshotError(f"{path} has two columns {min(doubled)!r}; rename one")
            elif fields and len(fields) != len(header):
                raise ZeroshotError(
                    f"{path}, line {reader.line_num}: {len(fields)} fields, expected "
                    f"{len(header)} as in the header; the file is truncated or damaged"
                )
            elif fields and "arch" in header:
                archs.append(fields[header.index("arch")])
    except csv.Error as error:
        raise ZeroshotError(f"{path}, line {reader.line_num}: {error}; it is damaged") from error
    if not text.endswith(("\n", "\r")):
        raise ZeroshotError(
            f"{path}, line {reader.line_num}: ends in the middle of a line; it is truncated"
        )
    return archs


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
