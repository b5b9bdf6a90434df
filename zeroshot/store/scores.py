"""Scores by what they depend on: what a run looks up, and adds."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zeroshot.errors import ZeroshotError
from zeroshot.store.file import File, marks, now
from zeroshot.store.kept import FORMULA_KEY, SETTING_KEY, Formula, Kept, Key, Setting


class Store(File):
    """An open store of scores: a `File`; see `contents` and `upkeep` for what else it can do."""

    def __init__(self, path: str | Path, *, create: bool = True) -> None:
        self._kept: set[Key] = set()
        super().__init__(Path(path), create=create)

    def load(
        self, setting: Setting, formulas: Sequence[Formula], networks: Iterable[Key]
    ) -> dict[Key, Kept]:
        """What is there of some networks; those of which there is nothing are left out."""
        with self.telling():
            home = self._setting(setting)
            numbers = {self._formula(formula): formula.name for formula in formulas}
            numbers.pop(None, None)
            if home is None or not numbers:
                return {}
            self.db.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (arch TEXT, seed INTEGER)")
            there = (
                "FROM wanted w CROSS JOIN networks n "
                "ON n.setting = ? AND n.arch = w.arch AND n.seed = w.seed"
            )
            with self.transaction("BEGIN"):  # one state of the file; no turn is waited for
                self.db.execute("DELETE FROM wanted")
                self.db.executemany("INSERT INTO wanted VALUES (?, ?)", networks)
                rows = self.db.execute(f"SELECT n.id, n.arch, n.seed, n.seconds {there}", (home,))
                held = {
                    number: (arch, seed, Kept(seconds=self.seconds(seconds, arch, seed)))
                    for number, arch, seed, seconds in rows
                }
                rows = self.db.execute(  # +: the scores of a network lie side by side
                    f"SELECT n.id, s.proxy, s.score, s.reason {there} CROSS JOIN scores s "
                    f"ON s.network = n.id AND +s.proxy IN ({marks(numbers)})",
                    (home, *numbers),
                )
                for number, proxy, score, reason in rows:
                    arch, seed, kept = held[number]
                    name = numbers[proxy]
                    kept.scores[name] = self.number(score, name, arch, seed)
                    if reason is not None:
                        kept.reasons[name] = str(reason)
        found = {(arch, seed): kept for arch, seed, kept in held.values() if kept.scores}
        self._kept |= set(found)
        return found

    def add(
        self, setting: Setting, formulas: Sequence[Formula], arch: str, seed: int, kept: Kept
    ) -> None:
        """Keep scores of a network, beside those that are there already."""
        with self.telling(), self.transaction():
            home = self._setting(setting, add=True)
            row = self.db.execute(
                "SELECT id, seconds FROM networks WHERE setting = ? AND arch = ? AND seed = ?",
                (home, arch, seed),
            ).fetchone()
            if row is None:
                cursor = self.db.execute(
                    "INSERT INTO networks (setting, arch, seed, seconds, written) "
                    "VALUES (?, ?, ?, ?, ?)",
                    (home, arch, seed, json.dumps(kept.seconds), now()),
                )
                network = cursor.lastrowid
            else:
                network = row[0]
                seconds = self.seconds(row[1], arch, seed) | kept.seconds
                self.db.execute(
                    "UPDATE networks SET seconds = ?, written = ? WHERE id = ?",
                    (json.dumps(seconds), now(), network),
                )
            self.db.executemany(
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
        row = self.one("SELECT run FROM owner")
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
        with self.telling(), self.transaction():
            if self.db.execute("SELECT 1 FROM settings").fetchone():
                raise ZeroshotError(f"{self.path} is a store, and no unfinished run; move it away")
            self.db.execute("INSERT INTO owner VALUES (?)", (json.dumps(run),))

    def _setting(self, setting: Setting, *, add: bool = False) -> int | None:
        return self._id("settings", SETTING_KEY, asdict(setting), add)

    def _formula(self, formula: Formula, *, add: bool = False) -> int | None:
        return self._id("proxies", FORMULA_KEY, asdict(formula), add)

    def _id(self, table: str, key: Sequence[str], values: dict[str, Any], add: bool) -> int | None:
        """The number of a row, which is added if asked for; None if it is not there."""
        same = " AND ".join(f"{name} = ?" for name in key)
        told = tuple(values[name] for name in key)
        row = self.db.execute(f"SELECT id FROM {table} WHERE {same}", told).fetchone()
        if row is not None or not add:
            return None if row is None else row[0]
        return self.db.execute(
            f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks(values)})",
            tuple(values.values()),
        ).lastrowid

    def number(self, score: object, name: str, arch: str, seed: int) -> float:
        """A score as it stands in the file; ZeroshotError if that is damaged."""
        if isinstance(score, float):
            return score
        if score is None:
            return math.nan
        raise ZeroshotError(
            f"{self.path} is damaged: {name} of {arch}, seed {seed}, is {score!r}; move it away"
        )

    def seconds(self, text: object, arch: str, seed: int) -> dict[str, float]:
        """Seconds by pass, as they stand in the file; ZeroshotError if that is damaged."""
        try:
            return {str(name): float(took) for name, took in json.loads(str(text)).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise ZeroshotError(
                f"{self.path} is damaged: the times of {arch}, seed {seed}, are {text!r}; "
                "move it away"
            ) from error
