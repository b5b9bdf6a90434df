"""Tables of scores with the records of their runs, and several of them as one."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from zeroshot.errors import ZeroshotError
from zeroshot.eval.tables import read_scores
from zeroshot.files import record_path
from zeroshot.ranking import KEYS

# What scores have to have in common to be compared with each other.
SAME = ("space", "data", "batch", "task", "init")


def read_recorded(paths: Sequence[Path]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The scores in some files as one table, and what their records tell.

    Several files may have other proxies, architectures or seeds of one setting: their rows and
    columns are put together, and a score that is in none of them is NaN. One that is in two of them
    has to be the same in both. What the proxies cost is told if all files are of as many networks.

    Raises:
        ZeroshotError: naming the file, if it or its record is damaged, or tells of another run; if
            several are not of one space, shape, batch, task and initialisation, or one of them has
            no record to tell; if two formulas or two scores of one name differ.
    """
    found = []
    for path in paths:
        scores = read_scores(path)
        record = _read_record(record_path(path))
        _check_record(record, scores, path)
        found.append((path, scores, record))
    if len(found) == 1:
        return found[0][1:]
    (first, _, beside), (second, *_) = found[:2]
    for path, _, record in found:
        _check_setting(record, path, beside, second if path == first else first)
    scores = _table(found)
    return scores, _record([record for _, _, record in found], scores)


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ZeroshotError(f"the run record {path} is damaged; restore or delete it") from error
    return record if isinstance(record, dict) else {}


def _check_record(record: Mapping[str, Any], scores: pd.DataFrame, path: Path) -> None:
    """Refuse a record of other seeds or fewer rows than the table's: it tells of another run."""
    told = _run(record).get("seeds")
    # As words, for a damaged record may hold anything.
    here, there = (set(map(str, seeds)) for seeds in (scores["seed"].unique(), told or ()))
    if isinstance(told, list) and there != here:
        raise ZeroshotError(
            f"{path} has scores of seed {', '.join(sorted(here))}, its record {record_path(path)} "
            f"tells of {', '.join(sorted(there)) or 'none'}: they are of different runs; keep "
            "those of one run together"
        )
    rows = record.get("rows")
    if isinstance(rows, int) and rows < len(scores):
        raise ZeroshotError(
            f"{path} has {len(scores):,} rows, its record {record_path(path)} tells of {rows:,}: "
            "runs were mixed; give their files one by one"
        )


def _check_setting(
    record: Mapping[str, Any], path: Path, first: Mapping[str, Any], beside: Path
) -> None:
    """Refuse to put together what cannot be compared."""
    run, other = _run(record), _run(first)
    for field in SAME:
        if field not in run:
            raise ZeroshotError(
                f"{path} has no record that tells its {field}, so not whether its scores can stand "
                f"beside those of {beside}; run it again with --out"
            )
        if run[field] != other.get(field):
            seeds = "; --seed draws the batch too: for several seeds of one batch take --repeats"
            more = seeds if field == "batch" else ""
            raise ZeroshotError(
                f"{path} is of the {field} {run[field]}, {beside} of {other.get(field)}: their "
                f"scores cannot be compared; validate each alone{more}"
            )
    formulas, others = _part(run, "formulas"), _part(other, "formulas")
    for proxy in formulas.keys() & others.keys():
        if formulas[proxy] != others[proxy]:
            raise ZeroshotError(
                f"{proxy} is edition {formulas[proxy]} of its formula in {path}, {others[proxy]} "
                f"in {beside}; compute it anew in one of them"
            )


def _table(found: Sequence[tuple[Path, pd.DataFrame, Mapping[str, Any]]]) -> pd.DataFrame:
    """Rows and columns of all; ZeroshotError where two scores differ."""
    beside, scores, _ = found[0]
    whole = scores.set_index(list(KEYS))
    for path, more, _ in found[1:]:
        part = more.set_index(list(KEYS))
        for column in part.columns.intersection(whole.columns):
            here = whole[column].dropna()
            there = part[column].reindex(here.index).dropna()
            differing = there.index[there != here.reindex(there.index)]
            if len(differing):
                arch, seed = differing[0]
                raise ZeroshotError(
                    f"{path} and {beside} have two scores of {column} for {arch}, seed {seed}; "
                    "keep one"
                )
        order = whole.index.union(part.index, sort=False)
        columns = [*whole.columns, *part.columns.difference(whole.columns, sort=False)]
        whole = whole.reindex(order).combine_first(part.reindex(order))[columns]
    return whole.reset_index()


def _record(records: Sequence[Mapping[str, Any]], scores: pd.DataFrame) -> dict[str, Any]:
    """What all records tell together; of files that were put together, not of one run."""
    run = dict(_run(records[0]))
    for field in ("proxies", "formulas", "better"):
        run[field] = {k: v for record in records for k, v in _part(_run(record), field).items()}
    run["seeds"] = sorted(scores["seed"].unique().tolist())
    whole: dict[str, Any] = {"run": run, "files": len(records)}
    if all(
        record.get("networks scored") == records[0].get("networks scored") for record in records
    ):
        whole["networks scored"] = records[0].get("networks scored")
        for field in ("passes", "seconds per pass"):
            whole[field] = {k: v for r in reversed(records) for k, v in _part(r, field).items()}
    return whole


def _run(record: Mapping[str, Any]) -> Mapping[str, Any]:
    return _part(record, "run")


def _part(of: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """A mapping within a record; an empty one if a damaged record has something else there."""
    found = of.get(field)
    return found if isinstance(found, dict) else {}
