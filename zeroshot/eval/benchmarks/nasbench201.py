"""NAS-Bench-201, retrained: the digital baseline of the package analog-nasbench."""

import importlib.util
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks.benchmark import Query, tabulate
from zeroshot.eval.benchmarks.pickles import read_pickle

# Operations and edges of NASLib, which both pickles and JSON of the NAS-Bench-201 kind use.
_OPS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
_EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))


class _Record:
    """An inert holder of the attributes of a pickled object."""


_RECORDS = {("analognasbench.data", name): _Record for name in ("Architecture", "DriftMeasurement")}


def load_nb201(query: Query) -> pd.DataFrame:
    """CIFAR-10 accuracies of all 15,625 cells, trained independently of the benchmark's authors.

    Read from the data file of the PyPI package `analog-nasbench` (its digital baseline, in
    percent). The package is not imported, and its pickle can bring in no code. Against the official
    test accuracies: Spearman 0.991, Kendall 0.926, and the same best cell.
    """
    file = query.path or _packaged("analognasbench", "data.anb")
    if file is None or not file.is_file():
        where = (
            "the package analog-nasbench is not installed"
            if query.path is None
            else f"no file {query.path}"
        )
        raise ZeroshotError(f"{where}; get it with: pip install 'zeroshot-nas[nb201]'")
    table = read_pickle(file, known=_RECORDS, trust=query.trust)
    try:
        rows = [
            (official(key), {"accuracy": float(vars(table[key])["baseline_accuracy"])})
            for key in table
        ]
    except Exception as error:  # what is not that data can fail in any way
        raise ZeroshotError(
            f"{file} is not the data of analog-nasbench ({error}); reinstall that package"
        ) from error
    return tabulate(rows, file)


def _packaged(package: str, name: str) -> Path | None:
    """A data file of an installed package, without importing it."""
    found = importlib.util.find_spec(package)
    folders = (found.submodule_search_locations if found else None) or []
    return next((Path(folder) / name for folder in folders), None)


def official(ops: Iterable[int]) -> str:
    """The official string of six operation indices in NASLib's order.

    >>> official((4, 0, 3, 1, 4, 3))[:49]
    '|avg_pool_3x3~0|+|skip_connect~0|none~1|+|nor_con'
    """
    by_edge = dict(zip(_EDGES, ops, strict=True))
    if min(by_edge.values()) < 0:
        raise ValueError(f"a negative operation in {tuple(by_edge.values())}")
    nodes = (
        "".join(f"|{_OPS[by_edge[source, node]]}~{source}" for source in range(node)) + "|"
        for node in range(1, 4)
    )
    return "+".join(nodes)
