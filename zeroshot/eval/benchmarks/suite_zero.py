"""NAS-Bench-Suite-Zero: validation accuracies, beside the scores of zero-cost proxies."""

import json
from ast import literal_eval
from collections.abc import Callable
from math import isinf
from pathlib import Path
from typing import Any

import pandas as pd

from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks.benchmark import Query, did_you_mean, tabulate
from zeroshot.eval.benchmarks.nasbench201 import official
from zeroshot.eval.tables import read_text


def load_nbsz(query: Query) -> pd.DataFrame:
    """Validation accuracies in a `zc_*.json` of NAS-Bench-Suite-Zero (arXiv:2210.03230).

    The file is {dataset: {architecture: {"val_accuracy": …, proxy: {"score": …, "time": …}}}}. In a
    file with nasbench201 in its name, the six operation indices of NASLib become the official
    string. Architectures of other spaces keep NASLib's notation, such as "(0, 1, 4, 2, …)", which
    these spaces read.
    """
    path, dataset = query.path, query.dataset
    if path is None:
        raise ZeroshotError("the benchmark 'nbsz' needs its file; give the path of a zc_*.json")
    tables = _read(path)
    if not isinstance(tables, dict) or not tables:
        raise ZeroshotError(f"{path} is no file of NAS-Bench-Suite-Zero: no data sets in it")
    if not dataset and len(tables) == 1:
        dataset = next(iter(tables))
    if dataset not in tables:
        asked = f"no data set {dataset!r}{did_you_mean(dataset, tables)}" if dataset else "several"
        raise ZeroshotError(
            f"{path} has {asked}; name one, as in {path.name}:{next(iter(tables))}; it has "
            f"{', '.join(tables)}"
        )
    spell: Callable[[str], str] = str
    if "nasbench201" in path.name:
        spell = lambda key: official(literal_eval(key))  # noqa: E731
    rows: list[tuple[str, dict[str, float]]] = []
    key = ""
    try:
        for key, entry in tables[dataset].items():
            rows.append((spell(key), {"accuracy": float(entry["val_accuracy"])}))
    except Exception as error:  # a key or an entry can be anything
        raise ZeroshotError(
            f"{path}: cannot read the architecture {key!r} of {dataset!r}; expected an entry with "
            "a val_accuracy"
        ) from error
    endless = [key for key, row in rows if isinf(row["accuracy"])]
    if endless:
        raise ZeroshotError(
            f"{path}: the val_accuracy of {endless[0]} is infinite; leave the entry out where no "
            "accuracy is known"
        )
    return tabulate(rows, path)


def _read(path: Path) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):  # of two entries JSON would keep the last
            names = [name for name, _ in pairs]
            double = next(name for name in names if names.count(name) > 1)
            raise ZeroshotError(f"{path} has two entries {double!r}; keep the right one")
        return found

    try:
        return json.loads(read_text(path), object_pairs_hook=once)
    except ZeroshotError:
        raise
    except (ValueError, RecursionError) as error:
        raise ZeroshotError(f"{path} is truncated or no JSON ({error}); get it again") from error
