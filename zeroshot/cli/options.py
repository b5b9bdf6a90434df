"""Arguments and options that several commands take, and what follows from some of them."""

from pathlib import Path
from typing import Annotated

import typer

from zeroshot.errors import ZeroshotError

SpaceName = Annotated[
    str, typer.Argument(help="See `zeroshot list spaces`; yours is package.module:SPACE.")
]
Small = Annotated[
    bool, typer.Option("--small", help="Smaller networks, which rank almost as well.")
]
Data = Annotated[
    str,
    typer.Option(help="noise, digits, cifar10, cifar100, folder:PATH or npz:PATH."),
]
BatchSize = Annotated[int, typer.Option(help="Samples that each network is shown.")]
Seed = Annotated[int, typer.Option(help="Of weights, batch, sample and every draw.")]
Init = Annotated[str, typer.Option(help="Initialisation; see `zeroshot list inits`.")]
Workers = Annotated[int | None, typer.Option(help="Processes; by default one a core.")]
Scheduler = Annotated[
    str | None, typer.Option(help="tcp://HOST:8786 of a dask cluster that does the work instead.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.")]
StoreFile = Annotated[
    Path | None,
    typer.Option(help="Scores kept of earlier runs; by default $ZEROSHOT_STORE, or in the cache."),
]
StorePath = Annotated[
    Path | None, typer.Option("--store", help="By default $ZEROSHOT_STORE, or in the cache.")
]
Number = Annotated[int, typer.Argument(help="Of a setting; see `zeroshot store list`.")]
NoStore = Annotated[bool, typer.Option("--no-store", help="Neither look up nor keep scores.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run what a benchmark's files ask for; most need nothing.")
]
TRUTH = "BENCHMARK, BENCHMARK/DATASET, or a table with a column arch; perhaps several times."
Column = Annotated[str | None, typer.Option(help="Which column of the table.")]
Spelling = Annotated[
    str, typer.Option("--arch", help="How a table's columns spell one: '{normal}, {reduce}'.")
]
LowerIsBetter = Annotated[
    bool, typer.Option("--lower-is-better", help="The table is of losses or latencies.")
]
BenchmarkPath = Annotated[
    Path | None, typer.Option(help="The benchmark's own files, where it needs them.")
]


def store_path(given: Path | None) -> Path:
    """The store asked for, or the user's."""
    from zeroshot.store import default_path

    return given or default_path()


def used_store(given: Path | None, none: bool) -> Path | None:
    """The store to use, if any."""
    if given and none:
        raise ZeroshotError(f"--store {given} and --no-store: expected one of them")
    return None if none else store_path(given)


def kept_where(store: Path | None, out: Path | None) -> str | None:
    """What an interrupted run leaves behind."""
    place = store or (out and f"{out}.partial")
    return place and f"what is done is kept in {place}; the same command goes on"
