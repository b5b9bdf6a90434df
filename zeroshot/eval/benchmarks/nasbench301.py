"""NAS-Bench-301: accuracies of DARTS genotypes as a surrogate predicts them."""

import ast
import importlib
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from zeroshot.errors import ZeroshotError, cut
from zeroshot.eval.benchmarks.benchmark import Query, needed, tabulate
from zeroshot.eval.benchmarks.pickles import names_asked

FILE = "the folder nb_models_1.0, with xgb_v1.0 and perhaps lgb_runtime_v1.0 in it"
_CONCAT = (2, 3, 4, 5)
_MODEL = "surrogate_model.model"


class _Genotype(NamedTuple):
    """What the package `nasbench301` takes for an architecture."""

    normal: list[tuple[str, int]]
    normal_concat: tuple[int, ...]
    reduce: list[tuple[str, int]]
    reduce_concat: tuple[int, ...]


def load_nb301(query: Query) -> pd.DataFrame:
    """CIFAR-10 validation accuracies in percent, predicted by the authors' XGBoost surrogate.

    They are means without the noise that the authors can add. `seconds`, the training's, are
    predicted too if the folder has the model of the runtimes. A genotype gets a row if `archs`
    names it, for there are 10¹⁸. The models are pickles that the package `nasbench301` runs, and it
    seeds the global random generators: only with `trust`.

    Raises:
        ZeroshotError: if the package, the models, `trust` or `archs` are missing, or one is no
            genotype of DARTS.
    """
    folder = needed(query, "nb301", FILE, folder=True)
    quality = _ensemble(folder, "xgb")
    if quality is None:
        raise ZeroshotError(f"{folder} has no folder xgb_v*; expected {FILE}")
    runtime = _ensemble(folder, "lgb_runtime")
    if not query.trust:
        names = sorted({name for file in folder.rglob(_MODEL) for name in names_asked(file)})
        raise ZeroshotError(
            f"the surrogates in {folder} are pickles that the package nasbench301 runs; they ask "
            f"for {', '.join(names) or 'nothing that could be told'}. If you trust them, give "
            "--trust (trust=True)"
        )
    try:
        package = importlib.import_module("nasbench301")
    except ImportError as error:
        raise ZeroshotError(
            f"the benchmark 'nb301' needs a package ({error}); get it with: pip install nasbench301"
        ) from error
    if not query.archs:
        raise ZeroshotError(
            "the benchmark 'nb301' predicts accuracies and lists none; name the architectures "
            "(archs=…), as validating a table of scores does"
        )
    genotypes = {arch: _genotype(arch) for arch in query.archs}
    columns = {"accuracy": quality} | ({} if runtime is None else {"seconds": runtime})
    rows: dict[str, dict[str, float]] = {arch: {} for arch in genotypes}
    for column, models in columns.items():
        try:
            ensemble = package.load_ensemble(str(models))
            for arch, genotype in genotypes.items():
                rows[arch][column] = float(
                    ensemble.predict(genotype, representation="genotype", with_noise=False)
                )
        except Exception as error:  # the authors' package raises what it pleases
            raise ZeroshotError(f"nasbench301 cannot read {models}: {error}") from error
    return tabulate(rows.items(), folder)


def _ensemble(folder: Path, kind: str) -> Path | None:
    """The newest models of a kind."""
    return max(folder.glob(f"{kind}_v*"), default=None)


def _genotype(text: str) -> _Genotype:
    """Read what `Darts.spell` wrote; nothing is evaluated."""
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError("no Genotype(…)")
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        normal, reduce = (_pairs(ast.literal_eval(given[cell])) for cell in ("normal", "reduce"))
    except (SyntaxError, ValueError, TypeError, KeyError, RecursionError, MemoryError) as error:
        shown = cut(text)
        raise ZeroshotError(
            f"{shown!r} is no genotype of DARTS, which the benchmark 'nb301' needs"
        ) from error
    return _Genotype(normal, _CONCAT, reduce, _CONCAT)


def _pairs(cell: Any) -> list[tuple[str, int]]:
    pairs = [(str(op), int(node)) for op, node in cell]
    if len(pairs) != 2 * len(_CONCAT):
        raise ValueError(f"{len(pairs)} inputs in a cell")
    return pairs
