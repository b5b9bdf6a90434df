"""Files of ours: written whole or not at all, by one process at a time, errors told in a line."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from zeroshot.errors import ZeroshotError

if TYPE_CHECKING:
    import pandas as pd

TEMPORARY = ".tmp"  # ends the name of what is being written


def cache() -> Path:
    """The user's cache folder: $XDG_CACHE_HOME/zeroshot, or else ~/.cache/zeroshot."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "zeroshot"


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file so that it appears whole or not at all; `write` is told where."""
    part = path.with_name(path.name + TEMPORARY)
    try:
        write(part)
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write this so that it appears whole or not at all."""
    replace_file(path, lambda part: part.write_bytes(content))


def write_json(path: Path, content: Any) -> None:
    """Write this as JSON that people can read, whole or not at all."""
    write_bytes(path, (json.dumps(content, indent=2) + "\n").encode())


def write_table(table: "pd.DataFrame", path: Path) -> None:
    """Write a table where `replace_file` says, as the file's name asks."""
    if path.suffixes[-2:] == [".csv", TEMPORARY]:
        table.to_csv(path, index=False, lineterminator="\n")
    else:
        table.to_parquet(path, index=False)


def record_path(out: Path) -> Path:
    """Where the run record of a table lies."""
    return out.with_name(out.name + ".json")


def beside(out: Path, what: str) -> Path:
    """Where another table lies that belongs to a table: `what` stands in its name."""
    return out.with_name(f"{out.stem}.{what}{out.suffix}")


def check_out(out: Path) -> None:
    """Refuse a name that is no table's, or in no folder."""
    if out.suffix not in (".csv", ".parquet"):
        raise ZeroshotError(f"--out {out}: expected a name that ends in .csv or .parquet")
    if not out.parent.is_dir():
        raise ZeroshotError(f"--out {out}: the folder {out.parent} does not exist; create it first")


@contextmanager
def writing(out: Path, kept: str = "") -> Iterator[None]:
    """Turn an error of the file system into one line; `kept` says what is kept so far."""
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise ZeroshotError(
            f"{out} is a file, or lies in one; expected a folder: choose another --out"
        ) from error
    except OSError as error:
        todo = "make room or " * (error.errno == errno.ENOSPC)
        raise ZeroshotError(
            f"{out} cannot be written: {error.strerror or error}{kept}; "
            f"{todo}choose another --out, then repeat the command"
        ) from error


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other processes from writing the same file meanwhile."""
    lock = FileLock(f"{out}.lock")
    with writing(out):
        Path(lock.lock_file).open("ab").close()  # else an unwritable folder looks like a held lock
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ZeroshotError(
                f"another process is writing {out}; wait for it or choose another --out"
            ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows deletes no file that is open
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
