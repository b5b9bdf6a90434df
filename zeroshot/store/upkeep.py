"""Check, thin out and join stores."""

import json
import sqlite3
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

from zeroshot.errors import ZeroshotError
from zeroshot.store.file import marks
from zeroshot.store.kept import FORMULA_KEY, SETTING_KEY, Formula, Setting
from zeroshot.store.scores import Store


@dataclass(frozen=True)
class Selection:
    """Which scores to delete: those of which everything holds that is not None.

    Attributes:
        space: its name, or with its shape as `zeroshot store list` shows it.
        before: a date; of networks that nothing was added to since.
        current: formulas that are in use; other editions of the same names are selected.

    Raises:
        ZeroshotError: for what is no date, and if nothing is chosen.
    """

    space: str | None = None
    before: str | None = None
    current: tuple[Formula, ...] | None = None

    def __post_init__(self) -> None:
        if (self.space, self.before, self.current) == (None, None, None):
            raise ZeroshotError("nothing is selected; expected --outdated, --space or --before")
        try:
            _date(self.before or "2000-01-01")
        except ValueError as error:
            raise ZeroshotError(f"--before {self.before}: expected a date as 2026-12-31") from error


def damage(store: Store) -> list[str]:
    """What SQLite finds wrong with the file; nothing if it is sound."""
    with store.telling():
        try:
            rows = store.db.execute("PRAGMA integrity_check").fetchall()
        except sqlite3.OperationalError:  # nothing is known of the file then
            raise
        except sqlite3.DatabaseError as error:
            return [str(error)]
        found = [str(words) for (words,) in rows if words != "ok"]
        if not found:
            rows = store.db.execute("PRAGMA foreign_key_check").fetchall()
            found = [f"a row of {table} belongs to nothing" for table, *_ in rows]
    return found


def count(store: Store, selection: Selection) -> dict[str, int]:
    """How many `scores` and `networks` a selection has, and `all scores` there are."""
    where, given = _where(store, selection)
    scores, networks = store.one(
        f"SELECT COUNT(*), COUNT(DISTINCT network) FROM scores WHERE {where}", given
    )
    (everything,) = store.one("SELECT COUNT(*) FROM scores")
    return {"scores": scores, "networks": networks, "all scores": everything}


def delete(store: Store, selection: Selection) -> int:
    """Delete what is selected, and give the room back; returns how many scores went."""
    where, given = _where(store, selection)
    with store.telling():
        with store.transaction():
            gone = store.db.execute(f"DELETE FROM scores WHERE {where}", given).rowcount
            for table, inner, column in (
                ("networks", "scores", "network"),
                ("settings", "networks", "setting"),
                ("proxies", "scores", "proxy"),
            ):
                store.db.execute(
                    f"DELETE FROM {table} WHERE id NOT IN (SELECT {column} FROM {inner})"
                )
        store.db.execute("VACUUM")
    return gone


def merge(store: Store, other: Path) -> int:
    """Add what another store has and this one has not; returns how many scores came.

    Raises:
        ZeroshotError: if the other one is damaged, none, or this one.
    """
    if other.exists() and other.samefile(store.path):
        raise ZeroshotError(f"{other} and {store.path} are one file; name another store")
    with Store(other, create=False):  # says what is wrong with it
        pass
    settings, proxies = ([field.name for field in fields(kind)] for kind in (Setting, Formula))
    same_setting, same_proxy = (
        " AND ".join(f"{own}.{name} = {foreign}.{name}" for name in key)
        for own, foreign, key in (("m", "o", SETTING_KEY), ("q", "p", FORMULA_KEY))
    )
    both = (
        f"other.networks n JOIN other.settings o ON o.id = n.setting JOIN settings m "
        f"ON {same_setting}"
    )
    there = "JOIN networks h ON h.setting = m.id AND h.arch = n.arch AND h.seed = n.seed"
    with store.telling():
        store.db.execute("ATTACH ? AS other", (str(other),))
        try:
            with store.transaction():
                for table, names in (("settings", settings), ("proxies", proxies)):
                    listed = ", ".join(names)
                    store.db.execute(
                        f"INSERT OR IGNORE INTO {table} ({listed}) "
                        f"SELECT {listed} FROM other.{table}"
                    )
                times = store.db.execute(
                    f"SELECT h.id, n.arch, n.seed, h.seconds, n.seconds FROM {both} {there}"
                ).fetchall()
                for number, arch, seed, *found in times:
                    own, foreign = (store.seconds(text, arch, seed) for text in found)
                    store.db.execute(
                        "UPDATE networks SET seconds = ? WHERE id = ?",
                        (json.dumps(foreign | own), number),
                    )
                store.db.execute(
                    "INSERT OR IGNORE INTO networks (setting, arch, seed, seconds, written) "
                    f"SELECT m.id, n.arch, n.seed, n.seconds, n.written FROM {both}"
                )
                return store.db.execute(
                    "INSERT OR IGNORE INTO scores (network, proxy, score, reason) "
                    f"SELECT h.id, q.id, s.score, s.reason FROM {both} {there} "
                    "JOIN other.scores s ON s.network = n.id "
                    "JOIN other.proxies p ON p.id = s.proxy "
                    f"JOIN proxies q ON {same_proxy}"
                ).rowcount
        finally:
            store.db.execute("DETACH other")


def _where(store: Store, selection: Selection) -> tuple[str, list[Any]]:
    terms: list[str] = []
    given: list[Any] = []
    if selection.space is not None:
        terms.append(
            "network IN (SELECT n.id FROM networks n JOIN settings s ON s.id = n.setting "
            "WHERE s.name = ? OR s.space = ?)"
        )
        given += [selection.space, selection.space]
    if selection.before is not None:
        terms.append("network IN (SELECT id FROM networks WHERE written < ?)")
        given.append(_date(selection.before))
    if selection.current is not None:
        rows = store.all("SELECT id, name, needs, edition FROM proxies")
        current = {formula.name: formula for formula in selection.current}
        old = [
            number
            for number, name, needs, edition in rows
            if name in current and (current[name].needs, current[name].edition) != (needs, edition)
        ]
        terms.append(f"proxy IN ({marks(old)})")
        given += old
    return " AND ".join(terms), given


def _date(text: str) -> str:
    """A day as SQLite compares it; also of 20261231, which Python 3.10 does not read."""
    if len(text) == 8 and text.isdecimal():
        text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
    return date.fromisoformat(text).isoformat()
