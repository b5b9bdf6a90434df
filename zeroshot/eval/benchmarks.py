"""Accuracies that others measured: benchmarks, and files of your own."""

import importlib
import importlib.util
import json
import pickle
from ast import literal_eval
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd

from zeroshot.errors import ZeroshotError
from zeroshot.eval.tables import SUFFIXES, read_text, read_truth


@dataclass(frozen=True)
class Benchmark:
    """A source of accuracies.

    Attributes:
        name: the word for `--truth`.
        space: the search space whose architectures it knows.
        datasets: the first is the default. Empty: those that the file has.
        source: where the numbers are from.
        load: (dataset, path of the user's files) to accuracies indexed by arch. The path is None if
            none was given, and only read by benchmarks that are files.
    """

    name: str
    space: str
    datasets: tuple[str, ...]
    source: str
    load: Callable[[str, Path | None], pd.Series]

    def __str__(self) -> str:
        return self.name


def load_truth(spec: str, column: str | None = None, path: Path | None = None) -> pd.Series:
    """Accuracies, indexed by arch; NaN where one is unknown.

    Args:
        spec: BENCHMARK, BENCHMARK/DATASET, or a file: a table with a column `arch`, or a
            `zc_*.json` of NAS-Bench-Suite-Zero. FILE:COLUMN names the column, or the data set.
        column: of a file; another way to say it.
        path: the files of a benchmark that has to be downloaded (`nats-tss`, `nbsz`).

    Raises:
        ZeroshotError: if there is no such benchmark, data set, file or column, or it is damaged.
    """
    file, named = _file(spec)
    if file is not None:
        if named and column and named != column:
            raise ZeroshotError(f"{spec!r} and column {column!r} name two columns; name one")
        column = named or column
        if file.suffix == ".json":
            return _load_nbsz(column or "", file)
        return read_truth(file, column)
    name, _, dataset = spec.partition("/")
    benchmarks = {benchmark.name: benchmark for benchmark in BENCHMARKS}
    if name not in benchmarks:
        hint = _did_you_mean(name, benchmarks)
        raise ZeroshotError(
            f"no benchmark and no file is called {spec!r}{hint}; expected one of "
            f"{', '.join(benchmarks)}, or a file ({', '.join(SUFFIXES)}, .json)"
        )
    benchmark = benchmarks[name]
    if column is not None:
        raise ZeroshotError(
            f"column {column!r}: the benchmark {name!r} has data sets, not columns; write "
            f"{name}/{benchmark.datasets[0] if benchmark.datasets else 'DATASET'}"
        )
    if benchmark.datasets:
        dataset = dataset or benchmark.datasets[0]
        if dataset not in benchmark.datasets:
            raise ZeroshotError(
                f"the benchmark {name!r} has no data set {dataset!r}"
                f"{_did_you_mean(dataset, benchmark.datasets)}; it has "
                f"{', '.join(benchmark.datasets)}"
            )
    return benchmark.load(dataset, path)


# -- NAS-Bench-201, retrained ----------------------------------------------------------------------

# Operations and edges of NASLib, which both pickles and JSON of the NAS-Bench-201 kind use.
_OPS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
_EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))


class _Record:
    """An inert holder of the attributes of a pickled object."""


class _Records(pickle.Unpickler):
    """Reads plain data and the package's two record classes, as inert holders; nothing else."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if module_name == "analognasbench.data" and global_name in (
            "Architecture",
            "DriftMeasurement",
        ):
            return _Record
        raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")


def _load_nb201(dataset: str, path: Path | None) -> pd.Series:
    """CIFAR-10 accuracies of all 15,625 cells, trained independently of the benchmark's authors.

    Read from the data file of the PyPI package `analog-nasbench` (its digital baseline, in
    percent). The package is not imported, and its pickle can bring in no code. Against the official
    test accuracies: Spearman 0.991, Kendall 0.926, and the same best cell.
    """
    file = path or _packaged("analognasbench", "data.anb")
    if file is None or not file.is_file():
        where = (
            "the package analog-nasbench is not installed" if path is None else f"no file {path}"
        )
        raise ZeroshotError(f"{where}; get it with: pip install 'zeroshot-nas[nb201]'")
    try:
        with file.open("rb") as stream:
            table = _Records(stream).load()
        accuracies = {_nb201(key): float(vars(table[key])["baseline_accuracy"]) for key in table}
    except Exception as error:  # a damaged pickle can fail in any way
        raise ZeroshotError(
            f"{file} is not the data of analog-nasbench ({error}); reinstall that package"
        ) from error
    return _series(accuracies)


def _packaged(package: str, name: str) -> Path | None:
    """A data file of an installed package, without importing it."""
    found = importlib.util.find_spec(package)
    folders = (found.submodule_search_locations if found else None) or []
    return next((Path(folder) / name for folder in folders), None)


def _nb201(ops: Iterable[int]) -> str:
    """The official string of six operation indices in NASLib's order.

    >>> _nb201((4, 0, 3, 1, 4, 3))[:49]
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


# -- torchvision -----------------------------------------------------------------------------------


def _load_torchvision(dataset: str, path: Path | None) -> pd.Series:
    """ImageNet-1k top-1 accuracies, in percent, of torchvision's classification models.

    From the metadata of the weights IMAGENET1K_V1: nothing is downloaded. Models that only have
    weights of other training data (SWAG) are left out, and the better V2 recipes are not used.
    Still, recipes differ from model to model, as do resolutions (224 to 600): unlike in a
    benchmark, accuracy is not the architecture's alone.

    Architectures are torchvision's model names, such as resnet18.
    """
    models = importlib.import_module("torchvision.models")
    accuracies = {}
    for name in models.list_models(module=models):
        weights = models.get_model_weights(name).__members__.get("IMAGENET1K_V1")
        metrics = weights.meta["_metrics"] if weights is not None else {}
        if "ImageNet-1K" in metrics:
            accuracies[name] = float(metrics["ImageNet-1K"]["acc@1"])
    return _series(accuracies)


# -- files to be downloaded ------------------------------------------------------------------------


def _load_nats_tss(dataset: str, path: Path | None) -> pd.Series:
    """Official accuracies of NAS-Bench-201's cells (NATS-Bench topology), in percent.

    Test accuracy after 200 epochs, the mean over the seeds there are; for cifar10-valid, the
    validation accuracy after training on half of the training set. Read by the authors' package
    `nats-bench`, which unpickles the files it is given: use those from their page only.

    Args:
        dataset: see `BENCHMARKS`.
        path: the folder NATS-tss-v1_0-3ffb9-simple, or the file NATS-tss-v1_0-3ffb9.pickle.pbz2,
            which needs tens of GB of memory.
    """
    try:
        nats_bench = importlib.import_module("nats_bench")
    except ImportError as error:
        raise ZeroshotError(
            "the benchmark 'nats-tss' needs a package; get it with: pip install nats-bench"
        ) from error
    if path is None or not path.exists():
        found = "no path was given" if path is None else f"there is nothing at {path}"
        raise ZeroshotError(
            f"the benchmark 'nats-tss' needs its files: {found}, expected the path of "
            "NATS-tss-v1_0-3ffb9-simple"
        )
    metric = "valid-accuracy" if dataset == "cifar10-valid" else "test-accuracy"
    accuracies = {}
    try:
        api = nats_bench.create(str(path), "tss", fast_mode=path.is_dir(), verbose=False)
        for index in range(len(api)):
            info = api.get_more_info(index, dataset, hp="200", is_random=False)
            accuracies[str(api.arch(index))] = float(info[metric])
    except Exception as error:  # the authors' package raises what it pleases
        raise ZeroshotError(f"nats-bench cannot read {path}: {error}") from error
    return _series(accuracies)


def _load_nbsz(dataset: str, path: Path | None) -> pd.Series:
    """Validation accuracies in a `zc_*.json` of NAS-Bench-Suite-Zero (arXiv:2210.03230).

    The file is {dataset: {architecture: {"val_accuracy": …, proxy: {"score": …, "time": …}}}}. In a
    file with nasbench201 in its name, the six operation indices of NASLib become the official
    string. Architectures of other spaces keep NASLib's notation, such as "(0, 1, 4, 2, …)".
    """
    if path is None:
        raise ZeroshotError("the benchmark 'nbsz' needs its file; give the path of a zc_*.json")
    try:
        tables = json.loads(read_text(path))
    except ValueError as error:
        if isinstance(error, ZeroshotError):
            raise
        raise ZeroshotError(f"{path} is truncated or no JSON ({error}); get it again") from error
    if not isinstance(tables, dict) or not tables:
        raise ZeroshotError(f"{path} is no file of NAS-Bench-Suite-Zero: no data sets in it")
    if not dataset and len(tables) == 1:
        dataset = next(iter(tables))
    if dataset not in tables:
        asked = f"no data set {dataset!r}{_did_you_mean(dataset, tables)}" if dataset else "several"
        raise ZeroshotError(
            f"{path} has {asked}; name one, as in {path.name}:{next(iter(tables))}; it has "
            f"{', '.join(tables)}"
        )
    spell: Callable[[str], str] = str
    if "nasbench201" in path.name:
        spell = lambda key: _nb201(literal_eval(key))  # noqa: E731
    accuracies: dict[str, float] = {}
    key = ""
    try:
        for key, entry in tables[dataset].items():
            accuracies[spell(key)] = float(entry["val_accuracy"])
    except (AttributeError, KeyError, IndexError, SyntaxError, TypeError, ValueError) as error:
        raise ZeroshotError(
            f"{path}: cannot read the architecture {key!r} of {dataset!r}; expected an entry with "
            "a val_accuracy"
        ) from error
    return _series(accuracies)


BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark("nb201", "nasbench201", ("cifar10",), "PyPI: analog-nasbench", _load_nb201),
    Benchmark("torchvision", "torchvision", ("imagenet",), "torchvision", _load_torchvision),
    Benchmark(
        "nats-tss",
        "nasbench201",
        ("cifar10", "cifar10-valid", "cifar100", "ImageNet16-120"),
        "arXiv:2009.00437",
        _load_nats_tss,
    ),
    Benchmark("nbsz", "as the file", (), "arXiv:2210.03230", _load_nbsz),
)


def _file(spec: str) -> tuple[Path | None, str | None]:
    """The file and column that a spec names; (None, None) if it looks like no file."""
    path = Path(spec)
    if path.is_file():
        return path, None
    file, colon, column = spec.rpartition(":")
    if colon and (Path(file).is_file() or file.endswith((*SUFFIXES, ".json"))):
        return Path(file), column
    if spec.endswith((*SUFFIXES, ".json")):
        return path, None  # reading it says that it is not there
    return None, None


def _series(accuracies: dict[str, float]) -> pd.Series:
    index = pd.Index(list(accuracies), name="arch")
    return pd.Series(list(accuracies.values()), index=index, name="accuracy", dtype="float64")


def _did_you_mean(word: str, choices: Iterable[str]) -> str:
    close = get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
