"""Arguments and options that several commands take, and what follows from some of them."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from zeroshot.errors import ZeroshotError

SpaceName = Annotated[
    str,
    typer.Argument(
        help="Name of a space, see `zeroshot list spaces`; one of your own is package.module:SPACE."
    ),
]
Small = Annotated[
    bool, typer.Option("--small", help="Score smaller networks, which rank almost as well.")
]
Data = Annotated[
    str,
    typer.Option(help="Samples to use: noise, digits, cifar10, cifar100, folder:PATH or npz:PATH."),
]
BatchSize = Annotated[int, typer.Option(help="Number of samples that each network is shown.")]
Seed = Annotated[
    int, typer.Option(help="Seed for weights, batch, sample and all other random draws.")
]
Init = Annotated[
    str, typer.Option(help="Initialisation of the weights, see `zeroshot list inits`.")
]
Workers = Annotated[
    int | None, typer.Option(help="Number of processes; default: one per core, or per GPU.")
]
Scheduler = Annotated[
    str | None,
    typer.Option(help="Address of a dask cluster that does the work instead, as tcp://HOST:8786."),
]
Device = Annotated[str, typer.Option(help="Device to run on: auto, cpu, cuda or cuda:i.")]
StoreFile = Annotated[
    Path | None,
    typer.Option(
        help="File of scores kept of earlier runs; default: $ZEROSHOT_STORE, or one in the cache."
    ),
]
Number = Annotated[int, typer.Argument(help="Number of a setting, see `zeroshot store list`.")]
NoStore = Annotated[
    bool, typer.Option("--no-store", help="Neither look up nor keep scores of earlier runs.")
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Let a benchmark's files run code; most need none.")
]
TRUTH = "Accuracies: BENCHMARK, BENCHMARK/DATASET or a table with a column arch. May be repeated."
PROXIES = "Proxies to compute: names with commas, all, or module:PROXY."
Computed = Annotated[
    str | None, typer.Option(help=f"{PROXIES[:-1]}; default: those that --by needs.")
]
By = Annotated[
    str | None,
    typer.Option(
        help="Rank by an ensemble, a proxy or a formula; default: an ensemble that suits the "
        "space, or the first of --proxies where these lack a member of it."
    ),
]
Repeats = Annotated[
    int, typer.Option(help="Number of initialisations; ranks are averaged over them.")
]
MaxParams = Annotated[
    float | None,
    typer.Option(help="Limit on parameters; the full network counts, also with --small."),
]
MaxFlops = Annotated[
    float | None,
    typer.Option(help="Limit on multiply-adds; the full network counts, also with --small."),
]
MaxLatency = Annotated[
    float | None,
    typer.Option(
        help="Limit on milliseconds per sample, timed on this machine; the full network counts."
    ),
]
Refine = Annotated[
    int,
    typer.Option(
        help="Rank this many of the best once more, with other weights and data; 0 for none."
    ),
]
TableFile = Annotated[Path | None, typer.Option(help="Table to write, a .csv or .parquet file.")]
Top = Annotated[int, typer.Option(min=0, help="Number of the best architectures to show.")]
ImageSize = Annotated[
    int | None, typer.Option(help="Side of the images in pixels; default: the space's own.")
]
Channels = Annotated[
    int | None, typer.Option(help="Width of the networks; default: the space's own.")
]
Cells = Annotated[
    int | None, typer.Option(help="Number of cells per stage; default: the space's own.")
]
Column = Annotated[
    str | None,
    typer.Option(help="Column of the table to use; needed if it has several of numbers."),
]
Spelling = Annotated[
    str,
    typer.Option(
        "--arch", help="How a table's columns spell an architecture, such as '{normal}, {reduce}'."
    ),
]
LowerIsBetter = Annotated[
    bool,
    typer.Option(
        "--lower-is-better", help="Lower values of the table are better, as of losses or latencies."
    ),
]
BenchmarkPath = Annotated[
    Path | None, typer.Option(help="Where the benchmark's own files lie, if it needs them.")
]


def store_path(given: Path | None) -> Path:
    """The store asked for, or the user's."""
    from zeroshot.store import default_path

    return given or default_path()


def used_store(given: Path | None, none: bool) -> Path | None:
    """The store to use, if any."""
    if given and none:
        raise ZeroshotError(f"--store {given} and --no-store: expected one of them")
    path = None if none else store_path(given)
    if path and not given and not os.environ.get("ZEROSHOT_STORE"):  # nobody has asked for it
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            words = f"{path.parent} cannot be written: scores are not kept; --store takes a place"
            typer.echo(words, err=True)
            return None
    return path


def kept_where(store: Path | None, out: Path | None) -> str | None:
    """What an interrupted run leaves behind."""
    place = store or (out and f"{out}.partial")
    return place and f"what is done is kept in {place}; the same command goes on"
