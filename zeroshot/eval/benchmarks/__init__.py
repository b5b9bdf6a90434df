"""Accuracies that others measured: benchmarks, and files of your own.

`BENCHMARKS` lists them. One module reads the files of one benchmark, as its authors distribute
them; nothing that a file asks to run is run, unless the user trusts it.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks import (
    hw_nas_bench,
    nasbench101,
    nasbench301,
    natsbench,
    transnasbench101,
)
from zeroshot.eval.benchmarks.benchmark import Benchmark, Query, did_you_mean
from zeroshot.eval.benchmarks.nasbench201 import load_nb201
from zeroshot.eval.benchmarks.suite_zero import load_nbsz
from zeroshot.eval.benchmarks.torchvision import load_torchvision
from zeroshot.eval.tables import SPELLING, SUFFIXES, read_truth

__all__ = ["BENCHMARKS", "Benchmark", "Query", "is_negated", "load_benchmark", "load_truth"]

BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark(
        "nb101",
        "nasbench101",
        nasbench101.DATASETS,
        "nasbench_only108.tfrecord, nasbench_full.tfrecord or CSV",
        "arXiv:1902.09635",
        nasbench101.load_nb101,
    ),
    Benchmark(
        "nb201",
        "nasbench201",
        ("cifar10",),
        "pip install 'zeroshot-nas[nb201]'",
        "PyPI: analog-nasbench",
        load_nb201,
    ),
    Benchmark(
        "nats-tss",
        "nasbench201",
        natsbench.DATASETS,
        natsbench.TOPOLOGY,
        "arXiv:2009.00437",
        natsbench.load_topology,
    ),
    Benchmark(
        "nats-sss",
        "natsbench_size",
        natsbench.DATASETS,
        natsbench.SIZE,
        "arXiv:2009.00437",
        natsbench.load_size,
    ),
    Benchmark(
        "nb301",
        "darts",
        ("cifar10-valid",),
        "nb_models_1.0, and pip install nasbench301",
        "arXiv:2008.09777",
        nasbench301.load_nb301,
    ),
    Benchmark(
        "tnb101-micro",
        "transnasbench101_micro",
        tuple(transnasbench101.MEASURES),
        transnasbench101.FILE,
        "arXiv:2105.11871",
        transnasbench101.load_micro,
    ),
    Benchmark(
        "tnb101-macro",
        "transnasbench101_macro",
        tuple(transnasbench101.MEASURES),
        transnasbench101.FILE,
        "arXiv:2105.11871",
        transnasbench101.load_macro,
    ),
    Benchmark("nbsz", "as the file", (), "zc_*.json", "arXiv:2210.03230", load_nbsz),
    Benchmark(
        "hw-nas-bench",
        "nasbench201",
        hw_nas_bench.DATASETS,
        hw_nas_bench.FILE,
        "arXiv:2103.10584",
        hw_nas_bench.load_hw_nas_bench,
        better="lower",
    ),
    Benchmark("torchvision", "torchvision", ("imagenet",), "none", "torchvision", load_torchvision),
)


def load_truth(
    spec: str | Path,
    column: str | None = None,
    path: str | Path | None = None,
    *,
    trust: bool = False,
    archs: Iterable[str] = (),
    arch: str = SPELLING,
    better: str = "higher",
) -> pd.Series:
    """Accuracies, indexed by architecture; NaN where one is unknown.

    What is better lower is negated: more is better in everything that this returns. Of a benchmark
    that is known, and so are its `seconds`; of a table say it by `better`.

    Args:
        spec: BENCHMARK, BENCHMARK/DATASET, or a file: a table with a column `arch`, or a
            `zc_*.json` of NAS-Bench-Suite-Zero. FILE:COLUMN names the column, or the data set.
        column: of a file, another way to say it; of a benchmark's table, by default its first.
        path: the files of a benchmark that has to be downloaded.
        trust: whether code that a benchmark's files ask for may run.
        archs: for surrogates, the architectures to predict.
        arch: how a table spells an architecture, its columns in braces: "{normal}, {reduce}".
        better: "higher", or "lower" for a table of losses or latencies.

    Raises:
        ZeroshotError: if there is no such benchmark, data set, file or column, or it is damaged.
    """
    if better not in ("higher", "lower"):
        raise ZeroshotError(f"better {better!r}: expected 'higher' or 'lower'")
    spec = str(spec)
    file, named = _file(spec)
    if file is not None and file.suffix != ".json":
        if named and column and named != column:
            raise ZeroshotError(f"{spec!r} and column {column!r} name two columns; name one")
        if not file.name.endswith(SUFFIXES):
            raise ZeroshotError(
                f"{file} is no table ({', '.join(SUFFIXES)}); if it is a benchmark's file, name "
                "the benchmark, and give the file as its path (--benchmark-path)"
            )
        return read_truth(file, named or column, arch=arch, better=better)
    if arch != SPELLING or better != "higher":
        asked = f"the spelling {arch!r}" if arch != SPELLING else f"better {better!r}"
        raise ZeroshotError(f"{asked} is for tables; {spec} tells these things itself")
    if file is not None:
        if named and column and named != column:
            raise ZeroshotError(f"{spec!r} and column {column!r} name two data sets; name one")
        return load_nbsz(Query(named or column or "", file))["accuracy"]
    table = load_benchmark(spec, path, trust=trust, archs=archs)
    column = column or str(table.columns[0])
    if column not in table.columns:
        names = [str(name) for name in table.columns]
        listed = names if len(names) <= 10 else [*names[:6], "…", names[-1]]
        raise ZeroshotError(
            f"the benchmark {spec!r} has no column {column!r}{did_you_mean(column, names)}; it has "
            f"{', '.join(listed)}"
        )
    return -table[column] if is_negated(spec, column) else table[column]


def is_file(spec: str) -> bool:
    """Whether a source, as `load_truth` takes it, is a file of the user's and no benchmark."""
    return _file(spec)[0] is not None


def is_negated(spec: str, column: str | None = None, better: str = "higher") -> bool:
    """Whether `load_truth` gives the negative of what was measured.

    Args:
        spec: as for `load_truth`.
        column: as for `load_truth`.
        better: as for `load_truth`.

    Raises:
        ZeroshotError: if there is no such benchmark or data set.
    """
    if _file(spec)[0] is not None:
        return better == "lower"
    return _named(spec)[0].better == "lower" or column == "seconds"


def load_benchmark(
    spec: str, path: str | Path | None = None, *, trust: bool = False, archs: Iterable[str] = ()
) -> pd.DataFrame:
    """All that a benchmark tells of a data set, indexed by arch; see `Benchmark.load`.

    Args:
        spec: BENCHMARK or BENCHMARK/DATASET.
        path: its files, if it has to be downloaded.
        trust: whether code that the files ask for may run.
        archs: for surrogates, the architectures to predict.

    Raises:
        ZeroshotError: if there is no such benchmark or data set, or its files are damaged.
    """
    benchmark, dataset = _named(spec)
    where = None if path is None else Path(path)
    return benchmark.load(Query(dataset, where, trust, tuple(dict.fromkeys(archs))))


def _named(spec: str) -> tuple[Benchmark, str]:
    """The benchmark and data set that a spec names."""
    name, _, dataset = spec.partition("/")
    benchmarks = {benchmark.name: benchmark for benchmark in BENCHMARKS}
    if name not in benchmarks:
        raise ZeroshotError(
            f"no benchmark and no file is called {spec!r}{did_you_mean(name, benchmarks)}; "
            f"expected one of {', '.join(benchmarks)}, or a file ({', '.join(SUFFIXES)}, .json)"
        )
    benchmark = benchmarks[name]
    if benchmark.datasets:
        dataset = dataset or benchmark.datasets[0]
        if dataset not in benchmark.datasets:
            raise ZeroshotError(
                f"the benchmark {name!r} has no data set {dataset!r}"
                f"{did_you_mean(dataset, benchmark.datasets)}; it has "
                f"{', '.join(benchmark.datasets)}"
            )
    return benchmark, dataset


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
