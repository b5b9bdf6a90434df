"""TransNAS-Bench-101: both search spaces on seven tasks, from the authors' one file."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks.benchmark import (
    Query,
    did_you_mean,
    needed,
    tabulate,
    unreadable,
)
from zeroshot.eval.benchmarks.pickles import read_pickle

FILE = "transnas-bench_v10141024.pth"
# What each task is measured by; all are better higher.
MEASURES = {
    "class_scene": "top1",
    "class_object": "top1",
    "room_layout": "neg_loss",
    "jigsaw": "top1",
    "segmentsemantic": "mIoU",
    "normal": "ssim",
    "autoencoder": "ssim",
}


def load_micro(query: Query) -> pd.DataFrame:
    """The 4,096 cells; see `_load`."""
    return _load(query, "micro")


def load_macro(query: Query) -> pd.DataFrame:
    """The 3,256 stacks of residual blocks; see `_load`."""
    return _load(query, "macro")


def _load(query: Query, space: str) -> pd.DataFrame:
    """Validation results of one training per architecture and task.

    In percent where it is a top-1 accuracy or mIoU; SSIM for surface normals and autoencoding; the
    negative loss for room layouts. `accuracy` is that after the last epoch, `best` the best of all
    epochs, which the authors' code shows by default; `test` that on test images after the last, if
    recorded. `seconds` are the last entry of `time_elapsed`, read as 'hours:minutes:seconds', as
    the authors' trainer writes it, or as seconds.

    The file needs plain data only, so that nothing of it is run.

    Raises:
        ZeroshotError: naming the file, if it is damaged or asks for more than that.
    """
    path = needed(query, f"tnb101-{space}", FILE)
    data = read_pickle(path, trust=query.trust)
    try:
        archs = dict(data["data"][space])
    except Exception as error:  # a file of something else can have any shape
        unreadable(path, f"TransNAS-Bench-101's, with the space {space}", error)
    return tabulate(_rows(path, archs, query.dataset), path)


def _rows(
    path: Path, archs: Mapping[str, Any], task: str
) -> Iterator[tuple[str, Mapping[str, float]]]:
    for arch, results in archs.items():
        try:
            tasks = list(results)
            row = _row(results[task]["metrics"], MEASURES[task]) if task in tasks else None
        except Exception as error:  # as above
            raise ZeroshotError(
                f"{path}: cannot read {task} of {arch} ({type(error).__name__}: {error}); get it "
                "again"
            ) from error
        if row is None:
            raise ZeroshotError(
                f"{path}: {arch} has no results of {task}{did_you_mean(task, tasks)}, only of "
                f"{', '.join(tasks)}"
            )
        yield arch, row


def _row(metrics: Mapping[str, Sequence[Any]], measure: str) -> dict[str, float]:
    curve = [float(value) for value in metrics[f"valid_{measure}"]]
    tested = metrics.get(f"test_{measure}", ())
    elapsed = metrics.get("time_elapsed", ())
    return {
        "accuracy": curve[-1],
        "best": max(curve),
        "test": float(tested[-1]) if tested else np.nan,
        "seconds": _seconds(elapsed[-1]) if elapsed else np.nan,
        **{f"epoch_{epoch}": value for epoch, value in enumerate(curve, start=1)},
    }


def _seconds(elapsed: Any) -> float:
    """3,661 for '01:01:01'.

    >>> _seconds("01:01:01")
    3661.0
    """
    if not isinstance(elapsed, str):
        return float(elapsed)
    hours, minutes, seconds = elapsed.split(":")
    return 3600.0 * int(hours) + 60.0 * int(minutes) + float(seconds)
