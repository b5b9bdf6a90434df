"""Scores that are kept: one SQLite file, which runs and processes share.

    settings 1 ── n networks 1 ── n scores n ── 1 proxies

A score is looked up by everything that it depends on. Writers take turns, a network at a time;
what was written survives the death of its process, and readers never wait.
"""

import json
import math
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zeroshot.errors import ZeroshotError
from zeroshot.files import cache

Key = tuple[str, int]  # the architecture that was built, spelled; and its seed

SCHEMA = 1
APPLICATION = 0x7A65726F  # tells our files from other SQLite files
PATIENCE = 60.0  # seconds that a writer waits for its turn

# What tells settings, and proxies, from one another.
SETTING_KEY = ("space", "code", "task", "batch", "init", "device", "torch")
FORMULA_KEY = ("name", "needs", "edition")

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


@dataclass(frozen=True)
class Setting:
    """What all networks of a run share; see `SETTING_KEY`.

    Attributes:
        space: with its network shape, as `repr` shows it.
        code: edition of the space, the task and the loss; see `zeroshot.edition`.
        task: what the networks accept and answer.
        batch: hash of what they are shown.
        init: name of the initialisation.
        device: its kind, cpu or cuda.
        torch: the version.
        name: of the space, as `find_space` takes it.
        shape: numbers and words of the network shape, as JSON.
        data: where the batch came from.
        data_seed: of the batch; None if it was not drawn here.
        samples: of the batch.
    """

    space: str
    code: str
    task: str
    batch: str
    init: str
    device: str
    torch: str
    name: str
    shape: str
    data: str
    data_seed: int | None
    samples: int


@dataclass(frozen=True)
class Formula:
    """A proxy as scores are kept of it; see `FORMULA_KEY`.

    Attributes:
        name: of the proxy.
        needs: its passes with their settings, as JSON.
        edition: see `Proxy.edition`.
        better: direction of the number.
        passes: all passes that it takes, as JSON.
    """

    name: str
    needs: str
    edition: str
    better: str
    passes: str


@dataclass(frozen=True)
class Kept:
    """What is kept of a network.

    Attributes:
        scores: by proxy name.
        reasons: why a score is NaN, by proxy name.
        seconds: what each pass took, by pass.
    """

    scores: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def __or__(self, other: "Kept") -> "Kept":
        return Kept(
            self.scores | other.scores,
            self.reasons | other.reasons,
            self.seconds | other.seconds,
        )


def default_path() -> Path:
    """$ZEROSHOT_STORE, or else scores.sqlite in the user's cache folder."""
    given = os.environ.get("ZEROSHOT_STORE")
    return Path(given).expanduser() if given else cache() / "scores.sqlite"


class Store:
    """An open store; use it in a `with` statement.

    Attributes:
        path: the file.

    Raises:
        ZeroshotError: for a file that is damaged, no store, or of a newer version; it stays as it
            is. Likewise where it cannot be read or written, by this and all methods.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        self._kept: set[Key] = set()
        if create and path == default_path():
            with suppress(OSError):  # opening the file tells what is wrong
                path.parent.mkdir(parents=True, exist_ok=True)
        _check_file(path, create)
        with self._telling():
            self._db = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
        try:
            with self._telling():
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    # -- scores ------------------------------------------------------------------------------------

    def load(
        self, setting: Setting, formulas: Sequence[Formula], networks: Iterable[Key]
    ) -> dict[Key, Kept]:
        """What is there of some networks; those of which there is nothing are left out."""
        self._kept.clear()
        with self._telling():
            home = self._setting(setting)
            numbers = {self._formula(formula): formula.name for formula in formulas}
            numbers.pop(None, None)
            if home is None or not numbers:
                return {}
            self._db.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (arch TEXT, seed INTEGER)")
            there = (
                "FROM wanted w CROSS JOIN networks n "
                "ON n.setting = ? AND n.arch = w.arch AND n.seed = w.seed"
            )
            with self._transaction("BEGIN"):  # one state of the file; no turn is waited for
                self._db.execute("DELETE FROM wanted")
                self._db.executemany("INSERT INTO wanted VALUES (?, ?)", networks)
                rows = self._db.execute(f"SELECT n.id, n.arch, n.seed, n.seconds {there}", (home,))
                held = {
                    number: (arch, seed, Kept(seconds=self._seconds(seconds, arch, seed)))
                    for number, arch, seed, seconds in rows
                }
                rows = self._db.execute(  # +: the scores of a network lie side by side
                    f"SELECT n.id, s.proxy, s.score, s.reason {there} CROSS JOIN scores s "
                    f"ON s.network = n.id AND +s.proxy IN ({_marks(numbers)})",
                    (home, *numbers),
                )
                for number, proxy, score, reason in rows:
                    arch, seed, kept = held[number]
                    name = numbers[proxy]
                    kept.scores[name] = self._number(score, name, arch, seed)
                    if reason is not None:
                        kept.reasons[name] = str(reason)
        found = {(arch, seed): kept for arch, seed, kept in held.values() if kept.scores}
        self._kept = set(found)
        return found

    def add(
        self, setting: Setting, formulas: Sequence[Formula], arch: str, seed: int, kept: Kept
    ) -> None:
        """Keep scores of a network, beside those that are there already."""
        with self._telling(), self._transaction():
            home = self._setting(setting, add=True)
            row = self._db.execute(
                "SELECT id, seconds FROM networks WHERE setting = ? AND arch = ? AND seed = ?",
                (home, arch, seed),
            ).fetchone()
            if row is None:
                cursor = self._db.execute(
                    "INSERT INTO networks (setting, arch, seed, seconds, written) "
                    "VALUES (?, ?, ?, ?, ?)",
                    (home, arch, seed, json.dumps(kept.seconds), _now()),
                )
                network = cursor.lastrowid
            else:
                network = row[0]
                seconds = self._seconds(row[1], arch, seed) | kept.seconds
                self._db.execute(
                    "UPDATE networks SET seconds = ?, written = ? WHERE id = ?",
                    (json.dumps(seconds), _now(), network),
                )
            self._db.executemany(
                "INSERT OR REPLACE INTO scores (network, proxy, score, reason) VALUES (?, ?, ?, ?)",
                [
                    (
                        network,
                        self._formula(formula, add=True),
                        kept.scores[formula.name],  # NaN becomes NULL
                        kept.reasons.get(formula.name),
                    )
                    for formula in formulas
                    if formula.name in kept.scores
                ],
            )
        self._kept.add((arch, seed))

    @property
    def kept(self) -> int:
        """How many networks of what was loaded or added it holds."""
        return len(self._kept)

    @property
    def owner(self) -> dict[str, Any] | None:
        """Of which run an unfinished table is; None for a store that many runs share."""
        with self._telling():
            row = self._db.execute("SELECT run FROM owner").fetchone()
        if row is None:
            return None
        try:
            return dict(json.loads(row[0]))
        except (ValueError, TypeError) as error:
            raise ZeroshotError(f"{self.path} is damaged; move it away") from error

    def claim(self, run: Mapping[str, Any]) -> None:
        """Make an empty store that of one run.

        Raises:
            ZeroshotError: if it is not empty.
        """
        with self._telling(), self._transaction():
            if self._db.execute("SELECT 1 FROM settings").fetchone():
                raise ZeroshotError(f"{self.path} is a store, and no unfinished run; move it away")
            self._db.execute("INSERT INTO owner VALUES (?)", (json.dumps(run),))

    # -- tables ------------------------------------------------------------------------------------

    def settings(self) -> pd.DataFrame:
        """One row per setting: what it is, how much there is of it, and when it was last added to.

        Columns are `number` and the fields of `Setting`, then `architectures`, `networks`, `seeds`,
        `proxies`, their `names` with commas, and `written`.
        """
        columns = [field.name for field in fields(Setting)]
        named = ", ".join(f"s.{name}" for name in columns)
        with self._telling():
            rows = self._db.execute(
                f"SELECT s.id, {named}, COUNT(DISTINCT n.arch), COUNT(*), COUNT(DISTINCT n.seed), "
                "MAX(n.written), (SELECT GROUP_CONCAT(DISTINCT c.proxy) FROM networks m "
                "JOIN scores c ON c.network = m.id WHERE m.setting = s.id) "
                "FROM settings s JOIN networks n ON n.setting = s.id GROUP BY s.id ORDER BY s.id"
            ).fetchall()
            names = dict(self._db.execute("SELECT id, name FROM proxies").fetchall())
        counts = ("architectures", "networks", "seeds", "written", "proxies")
        table = pd.DataFrame(rows, columns=["number", *columns, *counts])
        held = [sorted(map(int, ids.split(",") if ids else ())) for ids in table["proxies"]]
        table["proxies"] = [len(numbers) for numbers in held]
        table["names"] = [",".join(dict.fromkeys(names[n] for n in numbers)) for numbers in held]
        return table

    def setting(self, number: int) -> Setting:
        """A setting by its number.

        Raises:
            ZeroshotError: if there is none.
        """
        columns = ", ".join(field.name for field in fields(Setting))
        row = None
        if abs(number) < 2**63:  # what SQLite can count to
            with self._telling():
                row = self._db.execute(
                    f"SELECT {columns} FROM settings WHERE id = ?", (number,)
                ).fetchone()
        if row is None:
            raise ZeroshotError(
                f"{self.path} has no setting {number}; `zeroshot store list` shows what there is"
            )
        return Setting(*row)

    def formulas(self, number: int) -> pd.DataFrame:
        """One row per proxy of a setting: `number`, the fields of `Formula`, and counts.

        `networks` have a score, `undefined` of them NaN, for `reasons`.
        """
        self.setting(number)
        columns = [field.name for field in fields(Formula)]
        with self._telling():
            rows = self._db.execute(
                f"SELECT p.id, {', '.join(f'p.{name}' for name in columns)}, COUNT(*), "
                "SUM(s.score IS NULL) FROM networks n JOIN scores s ON s.network = n.id "
                "JOIN proxies p ON p.id = s.proxy WHERE n.setting = ? GROUP BY p.id ORDER BY p.id",
                (number,),
            ).fetchall()
            why = self._db.execute(
                "SELECT s.proxy, s.reason, COUNT(*) FROM networks n "
                "JOIN scores s ON s.network = n.id WHERE n.setting = ? AND s.reason IS NOT NULL "
                "GROUP BY s.proxy, s.reason ORDER BY COUNT(*) DESC, s.reason",
                (number,),
            ).fetchall()
        table = pd.DataFrame(rows, columns=["number", *columns, "networks", "undefined"])
        told = dict.fromkeys(table["number"], "")
        for proxy, reason, count in why:
            told[proxy] += f"{'; ' if told[proxy] else ''}{reason} ({count:,})"
        return table.assign(reasons=[told[number] for number in table["number"]])

    def networks(self, number: int) -> list[Key]:
        """The networks of a setting, in the order in which they came."""
        with self._telling():
            return self._db.execute(
                "SELECT arch, seed FROM networks WHERE setting = ? ORDER BY id", (number,)
            ).fetchall()

    def of(self, number: int, arch: str) -> pd.DataFrame:
        """All scores of an architecture: `seed`, `proxy`, `edition`, `score`, `reason`.

        Raises:
            ZeroshotError: if there are none.
        """
        self.setting(number)
        with self._telling():
            rows = self._db.execute(
                "SELECT n.seed, p.name, p.edition, s.score, s.reason FROM networks n "
                "JOIN scores s ON s.network = n.id JOIN proxies p ON p.id = s.proxy "
                "WHERE n.setting = ? AND n.arch = ? ORDER BY n.seed, p.id",
                (number, arch),
            ).fetchall()
        if not rows:
            raise ZeroshotError(
                f"setting {number} has no score of {arch}; spell the architecture that was built "
                "(the canonical one of its class), as `zeroshot store export` does"
            )
        table = pd.DataFrame(rows, columns=["seed", "proxy", "edition", "score", "reason"])
        return table.astype({"score": np.float64})

    def export(
        self, number: int, proxies: Sequence[str] = (), seeds: Sequence[int] = ()
    ) -> tuple[pd.DataFrame, dict[str, Any]]:
        """A scores table of a setting, and the record that `zeroshot validate` reads beside it.

        Rows are the architectures that have a score of every proxy for every seed.

        Args:
            number: of the setting.
            proxies: names, or numbers as `formulas` tells them; by default all.
            seeds: by default all.

        Raises:
            ZeroshotError: for what is not there, a name of several, or if nothing is whole.
        """
        setting, listed = self.setting(number), self.formulas(number)
        chosen = _chosen(listed, proxies, number)
        with self._telling():
            rows = self._db.execute(
                "SELECT n.arch, n.seed, n.seconds, s.proxy, s.score, s.reason FROM networks n "
                "JOIN scores s ON s.network = n.id "
                f"WHERE n.setting = ? AND s.proxy IN ({_marks(chosen)}) ORDER BY n.id",
                (number, *chosen),
            ).fetchall()
        values: dict[Key, dict[str, float]] = {}
        seconds: dict[Key, dict[str, float]] = {}
        why: dict[Key, dict[str, str]] = {}
        for arch, seed, took, proxy, score, reason in rows:
            key, name = (arch, seed), chosen[proxy]
            if key not in values:
                values[key], why[key] = {}, {}
                seconds[key] = self._seconds(took, arch, seed)
            values[key][name] = self._number(score, name, arch, seed)
            if reason is not None:
                why[key][name] = reason
        drawn = set(seeds) or {seed for _, seed in values}
        there = Counter(
            arch
            for (arch, seed), found in values.items()
            if seed in drawn and len(found) == len(chosen)
        )
        archs = [arch for arch, count in there.items() if count == len(drawn)]
        if not archs:
            raise ZeroshotError(
                f"no architecture of setting {number} has all of {', '.join(chosen.values())} for "
                f"{'all seeds' if len(drawn) > 1 else f'seed {min(drawn)}'}; name fewer with "
                "--proxies or --seed"
            )
        whole = [(arch, seed) for arch in archs for seed in sorted(drawn)]
        table = pd.DataFrame(
            [
                {"arch": arch, "seed": seed, **{n: values[arch, seed][n] for n in chosen.values()}}
                for arch, seed in whole
            ]
        )
        kinds = listed.set_index("number").loc[list(chosen)]
        passes = {str(row["name"]): json.loads(row["passes"]) for _, row in kinds.iterrows()}
        ran = set[str]().union(*passes.values())
        spent: Counter[str] = Counter()
        reasons: dict[str, Counter[str]] = {}
        for key in whole:
            spent.update({name: took for name, took in seconds[key].items() if name in ran})
            for name, reason in why[key].items():
                reasons.setdefault(name, Counter())[reason] += 1
        record = {
            "store": f"{self.path}, setting {number}",
            "run": {
                **{name: getattr(setting, name) for name in ("space", "code", "task", "torch")},
                "proxies": {
                    str(row["name"]): json.loads(row["needs"]) for _, row in kinds.iterrows()
                },
                "formulas": dict(zip(kinds["name"], kinds["edition"], strict=True)),
                "better": dict(zip(kinds["name"], kinds["better"], strict=True)),
                "seeds": sorted(drawn),
                "data": setting.data,
                "batch": f"{setting.samples} ({setting.batch})",
                "init": setting.init,
                "device": setting.device,
            },
            "rows": len(table),
            "networks scored": len(whole),
            "networks left out": len(values) - len(whole),
            "not a number": {name: dict(found) for name, found in reasons.items()},
            "passes": passes,
            "seconds per pass": {name: round(took, 3) for name, took in spent.most_common()},
            "finished": _now(),
        }
        return table, record

    # -- upkeep ------------------------------------------------------------------------------------

    def damage(self) -> list[str]:
        """What SQLite finds wrong with the file; nothing if it is sound."""
        with self._telling():
            try:
                rows = self._db.execute("PRAGMA integrity_check").fetchall()
            except sqlite3.OperationalError:  # nothing is known of the file then
                raise
            except sqlite3.DatabaseError as error:
                return [str(error)]
            found = [str(words) for (words,) in rows if words != "ok"]
            if not found:
                rows = self._db.execute("PRAGMA foreign_key_check").fetchall()
                found = [f"a row of {table} belongs to nothing" for table, *_ in rows]
        return found

    def count(self, selection: "Selection") -> dict[str, int]:
        """How many `scores` and `networks` a selection has, and `all scores` there are."""
        where, given = self._where(selection)
        with self._telling():
            scores, networks = self._db.execute(
                f"SELECT COUNT(*), COUNT(DISTINCT network) FROM scores WHERE {where}", given
            ).fetchone()
            (everything,) = self._db.execute("SELECT COUNT(*) FROM scores").fetchone()
        return {"scores": scores, "networks": networks, "all scores": everything}

    def delete(self, selection: "Selection") -> int:
        """Delete what is selected, and give the room back; returns how many scores went."""
        where, given = self._where(selection)
        with self._telling():
            with self._transaction():
                gone = self._db.execute(f"DELETE FROM scores WHERE {where}", given).rowcount
                for table, inner, column in (
                    ("networks", "scores", "network"),
                    ("settings", "networks", "setting"),
                    ("proxies", "scores", "proxy"),
                ):
                    self._db.execute(
                        f"DELETE FROM {table} WHERE id NOT IN (SELECT {column} FROM {inner})"
                    )
            self._db.execute("VACUUM")
        return gone

    def merge(self, other: Path) -> int:
        """Add what another store has and this one has not; returns how many scores came.

        Raises:
            ZeroshotError: if the other one is damaged, none, or this one.
        """
        if other.exists() and other.samefile(self.path):
            raise ZeroshotError(f"{other} and {self.path} are one file; name another store")
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
        with self._telling():
            self._db.execute("ATTACH ? AS other", (str(other),))
            try:
                with self._transaction():
                    for table, names in (("settings", settings), ("proxies", proxies)):
                        listed = ", ".join(names)
                        self._db.execute(
                            f"INSERT OR IGNORE INTO {table} ({listed}) "
                            f"SELECT {listed} FROM other.{table}"
                        )
                    times = self._db.execute(
                        f"SELECT h.id, n.arch, n.seed, h.seconds, n.seconds FROM {both} {there}"
                    ).fetchall()
                    for number, arch, seed, *found in times:
                        own, foreign = (self._seconds(text, arch, seed) for text in found)
                        self._db.execute(
                            "UPDATE networks SET seconds = ? WHERE id = ?",
                            (json.dumps(foreign | own), number),
                        )
                    self._db.execute(
                        "INSERT OR IGNORE INTO networks (setting, arch, seed, seconds, written) "
                        f"SELECT m.id, n.arch, n.seed, n.seconds, n.written FROM {both}"
                    )
                    return self._db.execute(
                        "INSERT OR IGNORE INTO scores (network, proxy, score, reason) "
                        f"SELECT h.id, q.id, s.score, s.reason FROM {both} {there} "
                        "JOIN other.scores s ON s.network = n.id "
                        "JOIN other.proxies p ON p.id = s.proxy "
                        f"JOIN proxies q ON {same_proxy}"
                    ).rowcount
            finally:
                self._db.execute("DETACH other")

    def _where(self, selection: "Selection") -> tuple[str, list[Any]]:
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
            with self._telling():
                rows = self._db.execute("SELECT id, name, needs, edition FROM proxies").fetchall()
            current = {formula.name: formula for formula in selection.current}
            old = [
                number
                for number, name, needs, edition in rows
                if name in current
                and (current[name].needs, current[name].edition) != (needs, edition)
            ]
            terms.append(f"proxy IN ({_marks(old)})")
            given += old
        return " AND ".join(terms), given

    # -- rows --------------------------------------------------------------------------------------

    def _setting(self, setting: Setting, *, add: bool = False) -> int | None:
        return self._id("settings", SETTING_KEY, asdict(setting), add)

    def _formula(self, formula: Formula, *, add: bool = False) -> int | None:
        return self._id("proxies", FORMULA_KEY, asdict(formula), add)

    def _id(self, table: str, key: Sequence[str], values: dict[str, Any], add: bool) -> int | None:
        """The number of a row, which is added if asked for; None if it is not there."""
        same = " AND ".join(f"{name} = ?" for name in key)
        told = tuple(values[name] for name in key)
        row = self._db.execute(f"SELECT id FROM {table} WHERE {same}", told).fetchone()
        if row is not None or not add:
            return None if row is None else row[0]
        return self._db.execute(
            f"INSERT INTO {table} ({', '.join(values)}) VALUES ({_marks(values)})",
            tuple(values.values()),
        ).lastrowid

    def _number(self, score: object, name: str, arch: str, seed: int) -> float:
        if isinstance(score, float):
            return score
        if score is None:
            return math.nan
        raise ZeroshotError(
            f"{self.path} is damaged: {name} of {arch}, seed {seed}, is {score!r}; move it away"
        )

    def _seconds(self, text: object, arch: str, seed: int) -> dict[str, float]:
        try:
            return {str(name): float(took) for name, took in json.loads(str(text)).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise ZeroshotError(
                f"{self.path} is damaged: the times of {arch}, seed {seed}, are {text!r}; "
                "move it away"
            ) from error

    # -- the file ----------------------------------------------------------------------------------

    def _prepare(self) -> None:
        db = self._db
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            with self._transaction():  # another process may have done so meanwhile
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

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
        self._db.execute(begin)
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _telling(self) -> Iterator[None]:
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


def _date(text: str) -> str:
    """A day as SQLite compares it; also of 20261231, which Python 3.10 does not read."""
    if len(text) == 8 and text.isdecimal():
        text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
    return date.fromisoformat(text).isoformat()


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


def _chosen(listed: pd.DataFrame, proxies: Sequence[str], number: int) -> dict[int, str]:
    """Proxies by number, of words that are names or numbers."""
    names = dict(zip(listed["number"].tolist(), listed["name"].tolist(), strict=True))
    chosen: dict[int, str] = {}
    for word in proxies or dict.fromkeys(names.values()):
        found = {key: name for key, name in names.items() if word in (name, str(key))}
        if not found:
            known = ", ".join(dict.fromkeys(names.values()))
            raise ZeroshotError(f"setting {number} has no proxy {word!r}; it has {known}")
        if len(found) > 1:
            raise ZeroshotError(
                f"setting {number} has {len(found)} editions of {word}; name one by its number "
                f"({', '.join(map(str, found))}), or drop old ones: zeroshot store prune --outdated"
            )
        chosen |= found
    if len(set(chosen.values())) < len(chosen):
        raise ZeroshotError(f"--proxies {','.join(proxies)}: expected each proxy once")
    return chosen


def _marks(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
