"""NATS-Bench, both search spaces, from the folders and files that its authors distribute."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks.benchmark import Query, needed, tabulate, unreadable
from zeroshot.eval.benchmarks.pickles import read_pickle

DATASETS = ("cifar10", "cifar10-valid", "cifar100", "ImageNet16-120")
TOPOLOGY = "NATS-tss-v1_0-3ffb9-simple"
SIZE = "NATS-sss-v1_0-50262-simple"
_META = "meta.pickle.pbz2"


def load_topology(query: Query) -> pd.DataFrame:
    """Official accuracies of NAS-Bench-201's cells after 200 epochs; see `_load`."""
    return _load(query, "nats-tss", TOPOLOGY, "200")


def load_size(query: Query) -> pd.DataFrame:
    """Official accuracies of the size search space after 90 epochs; see `_load`."""
    return _load(query, "nats-sss", SIZE, "90")


def _load(query: Query, name: str, files: str, epochs: str) -> pd.DataFrame:
    """Test accuracies in percent, the mean over seeds, as the authors' package gives them.

    For cifar10-valid, the validation accuracy after training on half of the training set.
    `seconds` are those of the training; the authors estimate some from shorter runs. The curve has
    the epochs at which the files hold this accuracy: all for CIFAR-10, else the last. Trainings of
    fewer epochs with a schedule of their own (1, 12) are not read.

    The files need plain data only, so that nothing of theirs is run. A folder of the topology space
    takes some minutes; the one file with everything, `….pickle.pbz2`, tens of GB of memory.

    Raises:
        ZeroshotError: naming the file, if one is missing, damaged, or of another architecture than
            `meta.pickle.pbz2` says.
    """
    whole = f"{files.removesuffix('-simple')}.pickle.pbz2"
    path = needed(query, name, f"{files}, or of the file {whole}", folder=True)
    return tabulate(_rows(path, query, epochs), path)


def _rows(path: Path, query: Query, epochs: str) -> Iterator[tuple[str, Mapping[str, float]]]:
    for file, arch, results in _results(path, query.trust):
        try:
            result = results[epochs]
            own, seeds = result["arch_str"], result["dataset_seed"][query.dataset]
            trials = [result["all_results"][query.dataset, seed] for seed in seeds]
            row = _row(trials, query.dataset)
        except Exception as error:  # a file of something else can have any shape
            unreadable(file, f"NATS-Bench's, with {query.dataset} after {epochs} epochs", error)
        if own != arch:
            raise ZeroshotError(
                f"{file} is of {own}, but by {_META} it is {arch}; they are of two downloads, get "
                "both again"
            )
        yield arch, row


def _results(path: Path, trust: bool) -> Iterator[tuple[Path, str, Any]]:
    """Every architecture with the file that its results are in."""
    if path.is_file():
        whole = read_pickle(path, trust=trust)
        try:
            archs, infos = whole["meta_archs"], whole["arch2infos"]
            found = [(arch, infos[index]) for index, arch in enumerate(archs)]
        except Exception as error:  # as above
            unreadable(path, "NATS-Bench's", error)
        yield from ((path, arch, results) for arch, results in found)
        return
    meta = read_pickle(path / _META, trust=trust)
    try:
        archs = [str(arch) for arch in meta["meta_archs"]]
    except Exception as error:  # as above
        unreadable(path / _META, "NATS-Bench's", error)
    files = [path / f"{index:06d}.pickle.pbz2" for index in range(len(archs))]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ZeroshotError(
            f"{path} lacks {len(missing):,} of {len(files):,} files, the first {missing[0]}; "
            "unpack it again"
        )
    for file, arch in zip(files, archs, strict=True):
        yield file, arch, read_pickle(file, trust=trust)


def _row(trials: Sequence[Mapping[str, Any]], dataset: str) -> dict[str, float]:
    """The means over trials."""
    measured = {"cifar10": "ori-test", "cifar10-valid": "x-valid"}.get(dataset, "x-test")
    last = trials[0]["epochs"]
    curves = [trial["eval_acc1es"] for trial in trials]
    curve = {
        f"epoch_{epoch + 1}": _mean([one[f"{measured}@{epoch}"] for one in curves])
        for epoch in range(last)
        if all(f"{measured}@{epoch}" in one for one in curves)
    }
    times = [trial["train_times"] for trial in trials]
    seconds = np.nan if None in times else _mean([sum(time.values()) for time in times])
    return {"accuracy": curve[f"epoch_{last}"], "seconds": seconds, **curve}


def _mean(values: Sequence[float]) -> float:
    return float(sum(values) / len(values))
