"""Tables from files: CSV, CSV.gz and Parquet, read with suspicion."""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
import pandas as pd

from zeroshot.errors import ZeroshotError, first_line
from zeroshot.ranking import KEYS, proxies_of

SUFFIXES = (".csv", ".csv.gz", ".parquet")
SPELLING = "{arch}"  # of an architecture by the columns of a table
# Numbers come back as they were written: by default from pandas 3.1 on, which deprecates to ask.
_RECENT = tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1)
EXACT: dict[str, Any] = {} if _RECENT else {"float_precision": "round_trip"}


def read_table(path: Path, words: Collection[str] = ("arch",)) -> pd.DataFrame:
    """The table in a .csv, .csv.gz or .parquet file; the columns `words`, if there, are text.

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
        spelt = [name for name in words if name in table.columns]
        return _named(table.astype(dict.fromkeys(spelt, str)), path)
    text = read_text(path)
    spelt = _check(text, path, words)
    try:
        table = pd.read_csv(io.StringIO(text), low_memory=False, **EXACT)
        for name, column in spelt.items():  # one may be called NA or 007: it stays what it is
            table[name] = column
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


def read_spelt(path: Path, arch: str = SPELLING) -> tuple[pd.DataFrame, list[str]]:
    """A table, and its rows' architectures as `arch` spells them; see `read_truth`.

    Raises:
        ZeroshotError: as `read_table`, or if there is no column that `arch` names.
    """
    table = read_table(path, _fields(arch))
    return table, _spelt(table, arch, path)


def _spelt(table: pd.DataFrame, arch: str, source: object) -> list[str]:
    words = _fields(arch)
    lacking = [name for name in words if name not in table.columns]
    if lacking:
        raise ZeroshotError(
            f"{source} has no column {lacking[0]!r}, only {', '.join(map(str, table.columns))}; "
            "rename the one that holds the architectures, or say how several spell one, as in "
            "'{normal}, {reduce}' (--arch)"
        )
    return [arch.format_map(row) for row in table[list(words)].to_dict("records")]


def read_scores(path: Path) -> pd.DataFrame:
    """A scores table: `arch`, `seed`, then one numeric column per proxy.

    Raises:
        ZeroshotError: naming the file, if it is unreadable, lacks a key, doubles an (arch, seed),
            has a seed that is no whole number, or a column that is not numeric or has no name.
    """
    table = read_table(path)
    _check_names(table, path)
    for column in table.columns:
        if column not in KEYS:
            table[column] = _numbers(table[column], column, path)
    if "seed" in table.columns:
        table["seed"] = _seeds(table["seed"], path)
    try:
        proxies_of(table)
    except ZeroshotError as error:
        raise ZeroshotError(f"{path}: {error}") from error
    return table


def read_truth(
    path: Path, column: str | None = None, *, arch: str = SPELLING, better: str = "higher"
) -> pd.Series:
    """The accuracies in one column of a table, indexed by architecture.

    Rows of one architecture that agree are one. An empty cell is an unknown accuracy, NaN.

    Args:
        path: of a .csv, .csv.gz or .parquet file.
        column: which to read; not needed if there is only one of numbers.
        arch: how the columns spell an architecture, names in braces: "{normal}, {reduce}".
        better: "lower" for losses and latencies, which are negated.

    Raises:
        ZeroshotError: naming the file, if it is unreadable, lacks a column that `arch` names or the
            one asked for, has several it could be, a text or an infinity where a number should be,
            or rows of one architecture that disagree.
    """
    return truth_in(read_table(path, _fields(arch)), path, column, arch=arch, better=better)


def truth_in(
    table: pd.DataFrame,
    source: object,
    column: str | None = None,
    *,
    arch: str = SPELLING,
    better: str = "higher",
) -> pd.Series:
    """The accuracies in one column of a table; see `read_truth`.

    Args:
        table: with the columns that `arch` names; a table without a column `arch` may have its
            architectures for an index.
        source: what to call it in errors.
        column: as for `read_truth`, like the others.
        arch: how the columns spell an architecture.
        better: "lower" for losses and latencies.
    """
    table = _plain(table, source)
    named = not pd.api.types.is_numeric_dtype(table.index)
    if named and arch == SPELLING and "arch" not in table.columns:
        table = table.rename_axis("arch").reset_index()
    words, spelt = _fields(arch), _spelt(table, arch, source)
    if arch == SPELLING and pd.api.types.is_numeric_dtype(table["arch"]):
        raise ZeroshotError(
            f"{source} has numbers for architectures, such as {spelt[0]}, which may count rows, or "
            "have been spelt otherwise: spell architectures"
        )
    column = _column(table.drop(columns=[name for name in words if name != "arch"]), column, source)
    if column not in table.columns:
        close = get_close_matches(column, map(str, table.columns), n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        listed = ", ".join(str(name) for name in table.columns if name not in words)
        raise ZeroshotError(f"{source} has no column {column!r}{hint}; it has {listed}")
    values = _numbers(table[column], column, source).astype(np.float64)
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise ZeroshotError(
            f"{source}: {values.iloc[infinite[0]]} in column {column!r}, row {infinite[0] + 1}; "
            "leave the cell empty where no accuracy is known"
        )
    truth = pd.Series(values.to_numpy(), pd.Index(spelt, name="arch", dtype=object), name=column)
    return agreed(truth if better == "higher" else -truth, source)


def _plain(table: pd.DataFrame, source: object) -> pd.DataFrame:
    """The table, its columns called by words; ZeroshotError if that cannot be, or it is empty."""
    if table.empty:
        raise ZeroshotError(f"{source} is an empty table; expected accuracies by architecture")
    if isinstance(table.index, pd.MultiIndex) or isinstance(table.columns, pd.MultiIndex):
        raise ZeroshotError(f"{source} has several levels of names; expected one of each")
    table = table.rename(columns=str)
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise ZeroshotError(f"{source} has two columns {twice!r}; rename or drop one")
    return table


def agreed(truth: pd.Series, source: object) -> pd.Series:
    """Every architecture once; ZeroshotError, naming the source, if two values of one disagree."""
    pairs = pd.DataFrame({"arch": truth.index, "value": truth.to_numpy()}).drop_duplicates()
    repeated = pairs["arch"].duplicated()
    if repeated.any():
        arch = pairs.loc[repeated, "arch"].iloc[0]
        first, second = pairs.loc[pairs["arch"] == arch, "value"].iloc[:2]
        raise ZeroshotError(
            f"{source}: rows of {arch} disagree on {truth.name!r} ({first:g} and {second:g}); keep "
            "one, or their mean"
        )
    return truth[~truth.index.duplicated()]


def _fields(arch: str) -> tuple[str, ...]:
    """The columns that a spelling names; ZeroshotError if it names none, or does more than that."""
    try:
        parts = list(Formatter().parse(arch))
    except ValueError:
        parts = []
    names = tuple(dict.fromkeys(name for _, name, _, _ in parts if name is not None))
    plain = all(form in ("", None) and how is None for _, _, form, how in parts)
    columns = (name and not name.isdecimal() and not set(".[") & set(name) for name in names)
    if not names or not plain or not all(columns):
        raise ZeroshotError(
            f"the spelling {arch!r} of architectures: expected names of columns in braces, as in "
            "'{arch}' or '{normal}, {reduce}'"
        )
    return names


def _column(table: pd.DataFrame, column: str | None, source: object) -> str:
    if column is not None:
        return column
    _check_names(table, source)
    others = [str(name) for name in table.columns if name not in (*KEYS, "index")]
    # One with a cell that is no number may be meant, as with "93.1 %"; reading it tells which.
    candidates = [name for name in others if _has_numbers(table[name])]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise ZeroshotError(
            f"{source} has no column of numbers besides 'arch'; expected accuracies"
        )
    candidates.sort(key=lambda name: "acc" not in name.lower())  # the likely ones first
    how = f"{source.name}:{candidates[0]}" if isinstance(source, Path) else f"{candidates[0]!r}"
    raise ZeroshotError(
        f"{source} has {len(candidates)} columns of numbers; name one, as in {how}. There are "
        f"{', '.join(candidates)}"
    )


def _has_numbers(values: pd.Series) -> bool:
    """Whether a column is of numbers, or has a cell that is one, perhaps a percentage."""
    if pd.api.types.is_numeric_dtype(values):
        return True
    plain = values.dropna().astype(str).str.strip().str.removesuffix("%")
    return bool(pd.to_numeric(plain, errors="coerce").notna().any())


def _numbers(values: pd.Series, column: object, source: object) -> pd.Series:
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values
    numbers = pd.to_numeric(values, errors="coerce")
    wrong = np.flatnonzero(numbers.isna() & values.notna())
    if pd.api.types.is_bool_dtype(values) or len(wrong):
        row = int(wrong[0]) if len(wrong) else 0
        raise ZeroshotError(
            f"{source}: {str(values.iloc[row])!r} in column {column!r}, row {row + 1}, is no number"
        )
    return numbers


def _seeds(values: pd.Series, path: Path) -> pd.Series:
    """Whole numbers; what is missing is left to `proxies_of`, which tells the row."""
    numbers = _numbers(values, "seed", path)
    wrong = np.flatnonzero(numbers.notna() & (numbers % 1 != 0))
    if len(wrong):
        raise ZeroshotError(
            f"{path}: seed {values.iloc[wrong[0]]} in row {wrong[0] + 1}: expected a whole number"
        )
    return numbers if numbers.isna().any() else numbers.astype(np.int64)


def _check_names(table: pd.DataFrame, source: object) -> None:
    """Refuse a column without a name, which pandas writes of an index and then calls Unnamed."""
    for number, name in enumerate(table.columns, start=1):
        if not str(name).strip() or re.fullmatch(r"Unnamed: \d+", str(name)):
            raise ZeroshotError(
                f"{source}: column {number} has no name; name it, or, if it is a table's index, "
                "write it with index=False"
            )


def _named(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table, if every row has an architecture."""
    if "arch" in table.columns:
        nameless = np.flatnonzero(table["arch"].isna() | (table["arch"] == ""))
        if len(nameless):
            raise ZeroshotError(f"{path}: row {nameless[0] + 1} has no arch; fill it in or drop it")
    return table


def _check(text: str, path: Path, words: Collection[str]) -> dict[str, list[str]]:
    """Check that a CSV is whole; returns the columns `words` as they are spelt, those there are."""
    if not text:
        raise ZeroshotError(f"{path} is empty; expected a header and rows")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    spelt: dict[str, list[str]] = {}
    try:
        for fields in reader:
            if not header:
                header = fields
                for name, mark in (("semicolons", ";"), ("tabs", "\t")):
                    if len(header) == 1 and mark in header[0]:
                        raise ZeroshotError(
                            f"{path}: the header {header[0]!r} has {name}; expected commas (and "
                            "points in numbers)"
                        )
                doubled = {name for name in header if header.count(name) > 1}
                if doubled:
                    raise ZeroshotError(f"{path} has two columns {min(doubled)!r}; rename one")
                spelt = {name: [] for name in header if name in words}
            elif fields and len(fields) != len(header):
                raise ZeroshotError(
                    f"{path}, line {reader.line_num}: {len(fields)} fields, expected "
                    f"{len(header)} as in the header; the file is truncated or damaged"
                )
            elif fields:
                for name, column in spelt.items():
                    column.append(fields[header.index(name)])
    except csv.Error as error:
        raise ZeroshotError(f"{path}, line {reader.line_num}: {error}; it is damaged") from error
    if not text.endswith(("\n", "\r")):
        raise ZeroshotError(
            f"{path}, line {reader.line_num}: ends in the middle of a line; it is truncated"
        )
    return spelt


def _first(error: BaseException) -> str:
    return first_line(error).rstrip(".")
