"""The file of a store: opened, laid out, written in turns, and what is said if that fails."""

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from zeroshot.errors import ZeroshotError
from zeroshot.files import cache
from zeroshot.store.kept import FORMULA_KEY, SETTING_KEY

Self = TypeVar("Self", bound="File")

SCHEMA = 1
APPLICATION = 0x7A65726F  # tells our files from other SQLite files
PATIENCE = 60.0  # seconds that a writer waits for its turn

# NaN is NULL. Scores have no declared type: SQLite would make 0.0 of a -0.0 declared REAL.
TABLES = f"""
CREATE TABLE settings (
    id INTEGER PRIMARY KEY,
    space TEXT NOT NULL, code TEXT NOT NULL, task TEXT NOT NULL, batch TEXT NOT NULL,
    init TEXT NOT NULL, device TEXT NOT NULL, torch TEXT NOT NULL,
    name TEXT NOT NULL, shape TEXT NOT NULL, data TEXT NOT NULL, data_seed INTEGER,
    samples INTEGER NOT NULL,
    UNIQUE ({", ".join(SETTING_KEY)})
);
CREATE TABLE proxies (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL, needs TEXT NOT NULL, edition TEXT NOT NULL,
    better TEXT NOT NULL, passes TEXT NOT NULL,
    UNIQUE ({", ".join(FORMULA_KEY)})
);
CREATE TABLE networks (
    id INTEGER PRIMARY KEY,
    setting INTEGER NOT NULL REFERENCES settings ON DELETE CASCADE,
    arch TEXT NOT NULL, seed INTEGER NOT NULL,
    seconds TEXT NOT NULL, written TEXT NOT NULL,
    UNIQUE (setting, arch, seed)
);
CREATE TABLE scores (
    network INTEGER NOT NULL REFERENCES networks ON DELETE CASCADE,
    proxy INTEGER NOT NULL REFERENCES proxies,
    score, reason TEXT,
    PRIMARY KEY (network, proxy)
) WITHOUT ROWID;
CREATE TABLE owner (run TEXT NOT NULL)
"""


def default_path() -> Path:
    """$ZEROSHOT_STORE, or else scores.sqlite in the user's cache folder."""
    given = os.environ.get("ZEROSHOT_STORE")
    return Path(given).expanduser() if given else cache() / "scores.sqlite"


class File:
    """An open file; use it in a `with` statement.

    Attributes:
        path: where it lies.

    Raises:
        ZeroshotError: for a file that is damaged, no store, or of a newer version; it stays as it
            is. Likewise where it cannot be read or written, by this and all that is done with it.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        if create and path == default_path():
            with suppress(OSError):  # opening the file tells what is wrong
                path.parent.mkdir(parents=True, exist_ok=True)
        _check_file(path, create)
        with self.telling():
            self.db = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
        try:
            with self.telling():
                self._prepare()
        except BaseException:
            self.db.close()
            raise

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.db.close()

    @property
    def kept(self) -> int:
        """Of how many networks something is kept that would be lost with the file."""
        return 0

    def all(self, sql: str, given: Iterable[Any] = ()) -> list[Any]:
        """All rows that a query gives."""
        with self.telling():
            return self.db.execute(sql, tuple(given)).fetchall()

    def one(self, sql: str, given: Iterable[Any] = ()) -> Any:
        """The first row that a query gives, None without."""
        with self.telling():
            return self.db.execute(sql, tuple(given)).fetchone()

    @contextmanager
    def transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
        """All that is written within, or nothing; others wait for their turn."""
        self.db.execute(begin)
        try:
            yield
            self.db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self.db.execute("ROLLBACK")
            raise

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Turn an error of SQLite's into one line."""
        try:
            yield
        except sqlite3.Error as error:
            words, path = str(error), self.path
            if "locked" in words:
                line = f"{path}: other processes write it, for {PATIENCE:g} s on end; try again"
            elif not isinstance(error, sqlite3.OperationalError) or "no such" in words:
                line = f"{path} is damaged ({words}); move it away"
            else:
                kept = f"; {self.kept} networks are kept in it" if self.kept else ""
                todo = "make room" if "full" in words else "choose another --store"
                line = f"{path} cannot be written: {words}{kept}; {todo}, then repeat the command"
            raise ZeroshotError(line) from error

    def _prepare(self) -> None:
        db = self.db
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            with self.transaction():  # another process may have done so meanwhile
                if db.execute("PRAGMA user_version").fetchone()[0] == 0:
                    for statement in TABLES.split(";"):
                        db.execute(statement)
                    db.execute(f"PRAGMA application_id = {APPLICATION}")
                    db.execute(f"PRAGMA user_version = {SCHEMA}")
        end = time.monotonic() + PATIENCE
        while db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                db.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError:  # SQLite does not wait its turn here
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA temp_store = MEMORY")


def remove(path: Path) -> None:
    """Delete a store with what SQLite keeps beside it."""
    for name in (f"{path.name}-wal", f"{path.name}-shm", path.name):
        path.with_name(name).unlink(missing_ok=True)


def _check_file(path: Path, create: bool) -> None:
    """Look at the file before SQLite does, which would write to another program's."""
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except FileNotFoundError as error:
        if not create:
            raise ZeroshotError(
                f"there is no store {path}; expected one that a run wrote"
            ) from error
        if not path.parent.is_dir():
            raise ZeroshotError(
                f"{path}: the folder {path.parent} does not exist; create it, or choose another "
                "--store"
            ) from error
        return
    except OSError as error:
        raise ZeroshotError(f"{path} cannot be read: {error.strerror or error}") from error
    if not head:  # made, but not yet filled
        return
    own = head.startswith(b"SQLite format 3\0")
    if not own or int.from_bytes(head[68:72], "big") != APPLICATION:
        raise ZeroshotError(f"{path} is no store of scores; move it away")
    schema = int.from_bytes(head[60:64], "big")
    if schema > SCHEMA:
        raise ZeroshotError(
            f"{path} was written by a newer zeroshot (schema {schema}, this one reads {SCHEMA}); "
            "upgrade, or choose another --store"
        )


def marks(values: Iterable[object]) -> str:
    """A question mark for each value."""
    return ", ".join("?" for _ in values)


def now() -> str:
    """The time of day, in UTC, so that it can be sorted."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
