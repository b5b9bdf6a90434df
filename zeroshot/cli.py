"""The command line. Each command calls the library function of its name."""

import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from itertools import groupby
from math import log10
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zeroshot.errors import ZeroshotError

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    from zeroshot.commands import Ranking
    from zeroshot.train import Trained

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

stored = typer.Typer(no_args_is_help=True, help="Scores that are kept of earlier runs.")
app.add_typer(stored, name="store")

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

WIDE = 140  # columns of a terminal that has room for everything


def _version(asked: bool) -> bool:
    if asked:
        from zeroshot import __version__

        typer.echo(__version__)
        raise typer.Exit
    return asked


@app.callback()
def start(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Score, rank and validate untrained neural networks."""


class What(str, Enum):
    """What there are lists of."""

    proxies = "proxies"
    ensembles = "ensembles"
    spaces = "spaces"
    benchmarks = "benchmarks"
    data = "data"
    inits = "inits"


@app.command("list")
def list_(what: Annotated[What, typer.Argument(help="Which list.")]) -> None:
    """Show what there is: name, direction, needs, source."""
    console = _console()
    if what is What.proxies:
        from zeroshot.proxies import PROXIES

        table = _table("proxy", "better", "needs", "source", "what it is")
        for proxy in PROXIES:
            needs = ", ".join(repr(need).replace("()", "") for need in proxy.needs)
            words = (sys.modules[proxy_module(proxy)].__doc__ or "").split(": ", 1)[-1].strip()
            table.add_row(proxy.name, proxy.better, needs, proxy.source, words)
    elif what is What.ensembles:
        from zeroshot.ranking import ENSEMBLES

        table = _table("ensemble", "members", "rule", "source")
        for ensemble in ENSEMBLES:
            members = ", ".join(ensemble.members)
            table.add_row(ensemble.name, members, ensemble.combine.__name__, ensemble.source)
    elif what is What.spaces:
        from zeroshot.spaces import SPACES

        table = _table("space", "architectures", "axes", "source")
        for space in SPACES:
            try:
                sizes, size = [len(axis.options) for axis in space.axes], space.size
            except ZeroshotError as error:  # what it is made of is not installed
                table.add_row(space.name, "", str(error), space.source)
                continue
            runs = [(size, len(list(run))) for size, run in groupby(sizes)]
            listed = " × ".join(f"{size}^{n}" if n > 1 else f"{size}" for size, n in runs)
            axes = listed if len(runs) <= 4 else f"{len(sizes)} of {min(sizes)} to {max(sizes)}"
            count = f"{size:,}" if size < 10**19 else f"{size:.1e}"
            table.add_row(space.name, count, axes, space.source)
    elif what is What.benchmarks:
        from zeroshot.eval.benchmarks import BENCHMARKS

        table = _table("benchmark", "space", "data sets", "needs", "source")
        for benchmark in BENCHMARKS:
            sets = ", ".join(benchmark.datasets) or "as the file"
            table.add_row(benchmark.name, benchmark.space, sets, benchmark.file, benchmark.source)
    elif what is What.data:
        from zeroshot.data import DATA

        table = _table("data", "what it is")
        for name, words in DATA.items():
            table.add_row(name, words)
    else:
        from zeroshot.initial import INITS

        table = _table("init", "what it is")
        for name, fill in INITS.items():
            table.add_row(name, (fill.__doc__ or "").strip())
    console.print(table)


@app.command()
def score(
    models: Annotated[
        list[str],
        typer.Argument(help="nasbench201:13714, torchvision:resnet18 or package.module:factory."),
    ],
    proxies: Annotated[str, typer.Option(help="Names with commas, all, or module:PROXY.")] = "all",
    data: Data = "noise",
    batch_size: BatchSize = 64,
    size: Annotated[int | None, typer.Option(help="Of the images; by default the space's.")] = None,
    init: Init = "default",
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Score one or several networks."""
    from zeroshot import commands

    found = commands.score(
        models,
        proxies=proxies,
        data=data,
        batch_size=batch_size,
        size=size,
        init=init,
        seed=seed,
        device=device,
    )
    table = _table("proxy", *found, right=True)
    first = next(iter(found.values()))
    for name in first:
        table.add_row(name, *(_shown(name, scores[name]) for scores in found.values()))
    console = _console()
    console.print(table)
    for model, scores in found.items():
        for name, reason in scores.reasons.items():
            _say(console, f"{name} of {model} is not a number: {reason}")


@app.command()
def rank(
    space: SpaceName,
    sample: Annotated[int, typer.Option(help="How many architectures, at random.")] = 100,
    all_: Annotated[bool, typer.Option("--all", help="All architectures instead.")] = False,
    archs: Annotated[
        Path | None, typer.Option(help="A file's architectures instead: lines, or a table.")
    ] = None,
    arch: Spelling = "{arch}",
    proxies: Annotated[
        str | None, typer.Option(help="What to compute; by default what --by needs. Or: all.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="Order: an ensemble, a proxy or a formula; by default the ensemble default."
        ),
    ] = None,
    data: Data = "noise",
    batch_size: BatchSize = 64,
    seed: Seed = 0,
    repeats: Annotated[int, typer.Option(help="Initialisations; ranks are averaged.")] = 1,
    init: Init = "default",
    max_params: Annotated[float | None, typer.Option(help="At most so many parameters.")] = None,
    max_flops: Annotated[float | None, typer.Option(help="At most so many multiply-adds.")] = None,
    max_latency: Annotated[
        float | None, typer.Option(help="At most so many milliseconds a sample, timed here.")
    ] = None,
    latency: Annotated[
        bool, typer.Option("--latency", help="Time all of them here, also into a file by --out.")
    ] = False,
    small: Small = False,
    channels: Annotated[int | None, typer.Option(help="Width of the networks.")] = None,
    cells: Annotated[int | None, typer.Option(help="Cells per stage.")] = None,
    refine: Annotated[
        int, typer.Option(help="Rank so many of the best once more, with other draws.")
    ] = 0,
    workers: Workers = None,
    scheduler: Scheduler = None,
    device: Device = "auto",
    store: StoreFile = None,
    no_store: NoStore = False,
    out: Annotated[Path | None, typer.Option(help="A .csv or .parquet file.")] = None,
    top: Annotated[int, typer.Option(min=0, help="How many of the best to show.")] = 10,
) -> None:
    """Rank architectures of a space without training any.

    With --out, the same command goes on where it was interrupted.
    """
    if all_ and archs:
        raise ZeroshotError(f"--all and --archs {archs}: expected one of them")
    path = _used(store, no_store)
    most = None if all_ or archs else sample
    loading = _workers_started(workers, most, device, scheduler, out)
    with _stoppable(_kept(path, out)), loading:
        from zeroshot import commands

        with _progress("networks") as progress:
            found = commands.rank(
                space,
                sample=None if all_ else sample,
                archs=archs,
                arch=arch,
                proxies=proxies,
                by=by,
                data=data,
                batch_size=batch_size,
                seed=seed,
                repeats=repeats,
                init=init,
                max_params=max_params,
                max_flops=max_flops,
                max_latency=max_latency,
                latency=latency,
                small=small,
                channels=channels,
                cells=cells,
                refine=refine,
                workers=workers,
                scheduler=scheduler,
                device=device,
                store=path,
                out=out,
                progress=progress,
            )
    console = _console()
    shown = found.refined or found
    title = f"Best {min(top, len(shown.admitted)):,} of {len(found.order):,} by {found.order.name}"
    if found.refined:
        title += f", refined by {shown.order.name}"
    _say_order(console, shown, top, title, found.latency)
    if found.latency is not None and max_latency is not None:
        slow = int((found.latency > max_latency).sum())
        words = f"Of {len(found.latency)} timed here, {slow} take longer than {max_latency:g} ms."
        _say(console, words)
    for part in (found, found.refined) if found.refined else (found,):
        for words in part.notes:
            _say(console, words)
        _say_reuse(console, part.record)
        _say_gaps(console, part.record)
    if out:
        _say(console, f"{len(found.scores):,} rows in {out}, the run record in {out}.json")


def _store(given: Path | None) -> Path:
    """The store asked for, or the user's."""
    from zeroshot.store import default_path

    return given or default_path()


def _used(given: Path | None, none: bool) -> Path | None:
    """The store to use, if any."""
    if given and none:
        raise ZeroshotError(f"--store {given} and --no-store: expected one of them")
    return None if none else _store(given)


def _kept(store: Path | None, out: Path | None) -> str | None:
    """What an interrupted run leaves behind."""
    place = store or (out and f"{out}.partial")
    return place and f"what is done is kept in {place}; the same command goes on"


def _say_order(
    console: "Console", found: "Ranking", top: int, title: str, latency: "pd.Series | None" = None
) -> None:
    """The best architectures, with what they are ordered by and the scores that decided.

    Where there is no room for all scores, the last ones are left out; where there is none for the
    architectures, they follow below, one a line, to be copied.
    """
    wide = console.width >= WIDE
    names = list(dict.fromkeys((*found.members, *found.scores.columns[2:])))[: 6 if wide else 4]
    means = found.scores.groupby("arch", sort=False)[names].mean()
    shown = found.admitted.head(top)
    alone = found.members == (found.order.name,) and found.scores["seed"].nunique() == 1
    rated = [] if alone else ["rating"]  # the score itself, then
    timed = [] if latency is None else ["ms"]

    def table(beside: bool, names: list[str]) -> "Table":
        heads = (*(("architecture",) if beside else ()), *rated, *names, *timed)
        made = _table("", *heads, title=title, right=True)
        if beside:
            made.columns[1].justify = "left"
        for place, (arch, rating) in enumerate(shown.items(), start=1):
            cells = [str(arch)] if beside else []
            cells += [_number(rating)] if rated else []
            cells += [_shown(name, float(means.loc[str(arch), name])) for name in names]  # pyright: ignore
            cells += [] if latency is None else [f"{latency[arch]:.3g}"]
            made.add_row(str(place), *cells)
        return made

    room = console.options.update(max_width=10_000)  # as wide as it likes to be

    def fits(beside: bool, names: list[str]) -> bool:
        return console.measure(table(beside, names), options=room).maximum <= console.width

    short = max((len(str(arch)) for arch in shown.index), default=0) <= 24
    beside = (wide or short) and fits(True, names)
    while names and not fits(beside, names):
        names = names[:-1]
    console.print(table(beside, names))
    if not beside:
        for place, arch in enumerate(shown.index, start=1):
            _say(console, f"{place:>2}  {arch}")
        console.print()


def _say_reuse(console: "Console", record: dict[str, Any]) -> None:
    """How much was there already."""
    reused = record.get("from the store", {})
    if reused.get("scores"):
        networks = f"{reused['networks']:,} of {record['networks scored']:,} networks"
        scores = f"{reused['scores']:,} scores"
        _say(console, f"{networks} ({scores}) were in the store {record['store']}")


def _say_gaps(console: "Console", record: dict[str, Any]) -> None:
    """What is missing from the scores, and why."""
    networks = record["networks scored"] or record["rows"]
    for name, reasons in record["not a number"].items():
        for reason, count in reasons.items():
            _say(
                console, f"{name} is not a number for {count:,} of {networks:,} networks: {reason}"
            )


@app.command()
def validate(
    scores: Annotated[
        list[Path], typer.Argument(help="What `zeroshot rank` wrote; several are put together.")
    ],
    truth: Annotated[list[str], typer.Option(help=TRUTH)],
    column: Column = None,
    arch: Spelling = "{arch}",
    lower_is_better: LowerIsBetter = False,
    benchmark_path: BenchmarkPath = None,
    trust: Trust = False,
    by: Annotated[
        list[str] | None, typer.Option(help="A formula of proxies to compare too, or its file.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for CSV, plots and report.html.")] = None,
    resamples: Annotated[int, typer.Option(help="Of the bootstrap.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
) -> None:
    """Check a ranking against accuracies that others measured."""
    from zeroshot import commands

    found = commands.validate(
        scores,
        truth,
        column=column,
        arch=arch,
        lower_is_better=lower_is_better,
        benchmark_path=benchmark_path,
        trust=trust,
        by=by,
        out=out,
        resamples=resamples,
        seed=seed,
    )
    console = _console()
    console.print(_validation(found.table, console.width >= WIDE))
    for words in found.verdict:
        console.print(words)
    if found.report:
        _say(console, f"report in {found.report}")


@app.command()
def advise(
    space: SpaceName,
    sample: Annotated[int, typer.Option(help="How many architectures, at random.")] = 50,
    proxies: Annotated[str, typer.Option(help="Names with commas, all, or module:PROXY.")] = "all",
    data: Data = "noise",
    batch_size: BatchSize = 64,
    seed: Seed = 0,
    repeats: Annotated[int, typer.Option(help="Initialisations, to tell who is stable.")] = 3,
    init: Init = "default",
    small: Small = False,
    workers: Workers = None,
    device: Device = "auto",
    store: StoreFile = None,
    no_store: NoStore = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for advice.csv, advice.html and scores.csv.")
    ] = None,
) -> None:
    """Tell which proxies are worth computing in a space, without any accuracies.

    With --out, the same command goes on where it was interrupted.
    """
    path = _used(store, no_store)
    with _stoppable(_kept(path, out and out / "scores.csv")):
        from zeroshot import commands

        with _progress("networks") as progress:
            found = commands.advise(
                space,
                sample=sample,
                proxies=proxies,
                data=data,
                batch_size=batch_size,
                seed=seed,
                repeats=repeats,
                init=init,
                small=small,
                workers=workers,
                device=device,
                store=path,
                out=out,
                progress=progress,
            )
    console = _console()
    console.print(_advice(found.table, console.width >= WIDE))
    for words in found.verdict:
        console.print(words)
    if found.report:
        _say(console, f"report in {found.report}")


@app.command()
def prune(
    space: SpaceName,
    criterion: Annotated[
        str, typer.Option(help="te_nas (NTK and linear regions), a proxy, an ensemble, a formula.")
    ] = "te_nas",
    method: Annotated[
        str, typer.Option(help="prune: every axis each round; perturb: axis by axis (ZC-PT).")
    ] = "prune",
    fidelity: Annotated[str, typer.Option(help="fast, paper or official.")] = "fast",
    finalists: Annotated[
        int, typer.Option(help="Stop at this many networks at most, and rank these.")
    ] = 1,
    by: Annotated[
        str | None, typer.Option(help="What ranks the finalists, as in `zeroshot rank`.")
    ] = None,
    data: Data = "noise",
    seed: Seed = 0,
    workers: Workers = None,
    scheduler: Scheduler = None,
    device: Device = "auto",
    store: StoreFile = None,
    no_store: NoStore = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for architecture, history, plot and checkpoint.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    truth: Annotated[list[str] | None, typer.Option(help=TRUTH)] = None,
    column: Column = None,
    arch: Spelling = "{arch}",
    lower_is_better: LowerIsBetter = False,
    benchmark_path: BenchmarkPath = None,
    trust: Trust = False,
    finetune: Annotated[
        int, typer.Option(help="Train the result for so many epochs, in --out/finetune.")
    ] = 0,
) -> None:
    """Prune a supernet to a single-path network without training."""
    if finetune and (out is None or data == "noise"):
        raise ZeroshotError(
            f"--finetune {finetune}: expected an --out to write to, and --data that can be learned"
        )
    path = _used(store, no_store)
    with _stoppable(out and f"finished rounds are kept in {out}; --resume goes on"):
        from zeroshot import commands

        with _progress("options") as progress:
            found = commands.prune(
                space,
                criterion=criterion,
                method=method,
                fidelity=fidelity,
                finalists=finalists,
                by=by,
                data=data,
                seed=seed,
                workers=workers,
                scheduler=scheduler,
                device=device,
                store=path,
                out=out,
                resume=resume,
                truth=truth or None,
                column=column,
                arch=arch,
                lower_is_better=lower_is_better,
                benchmark_path=benchmark_path,
                trust=trust,
                progress=progress,
            )
    console = _console()
    _say(console, found.name)
    if "accuracy" in found.record:
        place = f"rank {found.record['rank']} of {found.record['of']:,}"
        _say(console, f"accuracy {found.record['accuracy']:.2f}, {place}")
    left = len(found.finalists)
    if left == 1 < finalists:
        words = f"At most {finalists:,} finalists were asked for; pruning left one, not ranked."
        _say(console, words)
    if out:
        files = ("architecture.json", "history.csv", "pruning.png", "record.json")
        files += ("finalists.csv", "best.csv") if left > 1 else ()
        _say(console, f"in {out}: {', '.join(files)}")
    if finetune:
        with _stoppable(f"finished epochs are kept in {out}; --resume goes on"):
            from zeroshot.train import Recipe
            from zeroshot.train import finetune as run

            with _progress("batches") as progress:
                trained = run(
                    str(out),
                    recipe=Recipe(epochs=finetune),
                    data=data,
                    seed=seed,
                    device=device,
                    resume=resume and (Path(str(out)) / "finetune").is_dir(),
                    progress=progress,
                )
        _say_trained(console, trained)


@app.command()
def finetune(
    model: Annotated[
        str,
        typer.Argument(help="A folder of `zeroshot prune`, nasbench201:13714, or module:factory."),
    ],
    epochs: Annotated[int, typer.Option(help="How often every training image is seen.")] = 5,
    batch_size: Annotated[int, typer.Option(help="Images per step.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="The highest of the schedule.")] = 0.1,
    momentum: Annotated[float, typer.Option(help="Nesterov's; 0 for plain SGD.")] = 0.9,
    weight_decay: Annotated[float, typer.Option(help="On all parameters.")] = 5e-4,
    schedule: Annotated[str, typer.Option(help="one-cycle or cosine.")] = "one-cycle",
    label_smoothing: Annotated[float, typer.Option(help="Part of a label for all classes.")] = 0.0,
    crop: Annotated[
        int | None, typer.Option(help="Pixels around an image; by default an eighth of its side.")
    ] = None,
    flip: Annotated[
        bool | None, typer.Option(help="Mirror half of the images; by default unless digits.")
    ] = None,
    cutout: Annotated[int, typer.Option(help="Side of a square of zeros; 0 for none.")] = 0,
    clip: Annotated[float, typer.Option(help="Largest norm of the gradient; 0: no limit.")] = 5.0,
    amp: Annotated[bool, typer.Option("--amp", help="bfloat16, on CUDA.")] = False,
    data: Data = "digits",
    size: Annotated[int | None, typer.Option(help="Of the images; by default the space's.")] = None,
    channels: Annotated[int | None, typer.Option(help="Width of the network.")] = None,
    cells: Annotated[int | None, typer.Option(help="Cells per stage.")] = None,
    init: Init = "default",
    seed: Seed = 0,
    device: Device = "auto",
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; by default FOLDER/finetune.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run in --out.")] = False,
) -> None:
    """Train a network for a few epochs and test it.

    With --resume, an interrupted run goes on after its last finished epoch.
    """
    with _stoppable("finished epochs are kept; --resume goes on"):
        from zeroshot.train import Recipe
        from zeroshot.train import finetune as run

        recipe = Recipe(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            schedule=schedule,
            label_smoothing=label_smoothing,
            crop=crop,
            flip=flip,
            cutout=cutout,
            clip=clip,
            amp=amp,
        )
        with _progress("batches") as progress:
            found = run(
                model,
                recipe=recipe,
                data=data,
                size=size,
                channels=channels,
                cells=cells,
                init=init,
                seed=seed,
                device=device,
                out=out,
                resume=resume,
                progress=progress,
            )
    _say_trained(_console(), found)


@app.command()
def export(
    folder: Annotated[str, typer.Argument(help="What `finetune` or `prune --finetune` wrote.")],
    out: Annotated[str, typer.Option(help="A name that ends in .pt2 or .onnx.")],
    weights: Annotated[str, typer.Option(help="Of the last epoch or of the best.")] = "last",
) -> None:
    """Write a trained network for torch.export or ONNX, and check what was written."""
    from zeroshot.deploy import export as run

    apart = run(folder, out, weights=weights)
    _say(_console(), f"{out}: logits agree to {apart:.1e}")


@stored.command("list")
def list_settings(store: StorePath = None) -> None:
    """Show what there is: space, data, initialisation, and of how many networks."""
    from zeroshot.store import Store

    path = _store(store)
    with Store(path, create=False) as kept:
        found = kept.settings()
    console = _console()
    facts = ("space", "data", "init", "device", "torch")
    counts = ("architectures", "seeds", "proxies")
    table = _table("", *facts, *counts, "last written", title=str(path))
    for row in found.to_dict("records"):
        row["data"] = f"{row['samples']} of {row['data']} ({row['batch']})"
        told = (str(row[name]) for name in facts)
        table.add_row(
            str(row["number"]), *told, *(f"{row[name]:,}" for name in counts), row["written"]
        )
    console.print(table)


@stored.command("show")
def show_setting(
    number: Number,
    arch: Annotated[str | None, typer.Option(help="The scores of this architecture.")] = None,
    store: StorePath = None,
) -> None:
    """Show the proxies of a setting, or all scores of one of its architectures."""
    from zeroshot.store import Store

    with Store(_store(store), create=False) as kept:
        setting = kept.setting(number)
        found = kept.formulas(number) if arch is None else kept.of(number, arch)
    console = _console()
    if arch is None:
        _say(console, f"{setting.space}, {setting.task}, {setting.samples} of {setting.data}")
        table = _table("", "proxy", "edition", "needs", "networks", "NaN", "reasons")
        for row in found.to_dict("records"):
            told = (row["name"], row["edition"], ", ".join(json.loads(row["needs"])))
            counts = (f"{row['networks']:,}", f"{row['undefined']:,}")
            table.add_row(str(row["number"]), *told, *counts, row["reasons"])
    else:
        table = _table("seed", "proxy", "edition", "score", "reason")
        for row in found.to_dict("records"):
            told = (row["proxy"], row["edition"], repr(row["score"]), row["reason"] or "")
            table.add_row(str(row["seed"]), *told)
    console.print(table)


@stored.command("export")
def export_setting(
    number: Number,
    out: Annotated[Path, typer.Option(help="A .csv or .parquet file that is not there yet.")],
    proxies: Annotated[
        str | None, typer.Option(help="Names or numbers with commas; by default all.")
    ] = None,
    seeds: Annotated[
        list[int] | None, typer.Option("--seed", help="One or several; by default all.")
    ] = None,
    store: StorePath = None,
) -> None:
    """Write scores as a table, for `zeroshot validate` and other programs."""
    from zeroshot import commands

    names = tuple(proxies.split(",")) if proxies else ()
    found = commands.export_store(
        _store(store), number, out, proxies=names, seeds=tuple(seeds or ())
    )
    console = _console()
    _say(console, f"{len(found.scores):,} rows in {out}, the record in {out}.json")
    left_out = found.record["networks left out"]
    if left_out:
        _say(console, f"{left_out:,} networks are left out, for their architectures lack scores")


@stored.command("prune")
def prune_scores(
    outdated: Annotated[
        bool, typer.Option("--outdated", help="Of formulas that this version computes otherwise.")
    ] = False,
    space: Annotated[str | None, typer.Option(help="Of this space.")] = None,
    before: Annotated[str | None, typer.Option(help="Not added to since a date.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    store: StorePath = None,
) -> None:
    """Delete scores: those of which all that is asked for holds."""
    from zeroshot import commands
    from zeroshot.store import Store

    selection = commands.selected(space=space, before=before, outdated=outdated)
    path = _store(store)
    console = _console()
    with Store(path, create=False) as kept:
        found = kept.count(selection)
        words = f"{found['scores']:,} of {found['all scores']:,} scores in {path}"
        if found["scores"] and not yes:
            typer.confirm(f"Delete {words}, of {found['networks']:,} networks?", abort=True)
        if found["scores"]:
            kept.delete(selection)
    _say(console, f"deleted {words}")


@stored.command("merge")
def merge_stores(
    other: Annotated[Path, typer.Argument(help="Another store; it stays as it is.")],
    store: StorePath = None,
) -> None:
    """Add the scores of another store."""
    from zeroshot.store import Store

    path = _store(store)
    with Store(path) as kept:
        came = kept.merge(other)
    _say(_console(), f"{came:,} scores of {other} came into {path}")


@stored.command("check")
def check_scores(
    sample: Annotated[int, typer.Option(min=0, help="How many networks to score again.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    store: StorePath = None,
) -> None:
    """Check the file, and score some networks again; exit code 1 if something is wrong."""
    from zeroshot import commands

    path = _store(store)
    found = commands.check_store(path, sample=sample, seed=seed)
    console = _console()
    for words in found.damage:
        _say(console, f"{path}: {words}")
    for number, words in found.skipped.items():
        _say(console, f"setting {number} is not scored again: {words}")
    for row in found.scores[~found.scores["same"].astype(bool)].to_dict("records"):
        place = f"{row['proxy']} of {row['arch']}, seed {row['seed']}, setting {row['setting']}"
        _say(console, f"{place}: stored {row['stored']!r}, now {row['now']!r}")
    same, told = int(found.scores["same"].sum()), len(found.scores)
    file = f"damaged in {len(found.damage)} places" if found.damage else "sound"
    _say(console, f"{path} is {file}; {same} of {told} scores came out the same again")
    if not found.sound:
        raise typer.Exit(1)


def main() -> None:
    """Run the command line: a user's mistake is one line on stderr and exit code 2."""
    try:
        with warnings.catch_warnings():
            # joblib replaces workers that have grown by more than it likes; nothing is lost.
            warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
            app()
    except ZeroshotError as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        sys.exit(2)


def proxy_module(proxy: Any) -> str:
    """The module that says what a proxy is: the one of its name, or else its formula's."""
    own = f"zeroshot.proxies.{proxy.name}"
    return own if own in sys.modules else proxy.formula.__module__


def _validation(found: "pd.DataFrame", wide: bool) -> "Table":
    title = f"Against {found['n'].max():,} measured accuracies, the best {found['best'].max():.2f}"
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "Kendall τ": lambda row: f"{row['kendall']:.3f}",
        "95 %": lambda row: f"{row['kendall_lo']:.2f} … {row['kendall_hi']:.2f}",
        "Spearman ρ": lambda row: f"{row['spearman']:.3f}",
        "95 % ": lambda row: f"{row['spearman_lo']:.2f} … {row['spearman_hi']:.2f}",
        "ρ given size": lambda row: f"{row['partial_spearman']:.2f}",
        "top 10 %": lambda row: f"{row['precision_top10']:.0%}",
        "nDCG": lambda row: f"{row['ndcg']:.3f}",
        "picked": lambda row: f"{row['picked']:.2f}",
        "n": lambda row: f"{row['n']:,}",
        "ties": lambda row: f"{row['ties']:.1%}",
    }
    if not wide:  # the file and the report have all
        columns = {
            name: columns[name] for name in ("Kendall τ", "95 %", "Spearman ρ", "picked", "n")
        }
    table = _table("", *columns, title=title, right=True)
    ordered = found.sort_values("kendall", ascending=False, kind="stable", na_position="last")
    for row in ordered.to_dict("records"):
        cells = (show({str(key): value for key, value in row.items()}) for show in columns.values())
        style = {"baseline": "dim", "ensemble": "bold"}.get(row["kind"])
        table.add_row(row["name"], *cells, style=style)
    return table


def _advice(found: "pd.DataFrame", wide: bool) -> "Table":
    from zeroshot.eval.verdict import duration

    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "keep": lambda row: "✓" if row["keep"] else "",
        "cluster": lambda row: str(row["cluster"]),
        "seeds ρ": lambda row: f"{row['seed_agreement']:.2f}",
        "params ρ": lambda row: f"{row['spearman_params']:.2f}",
        "flops ρ": lambda row: f"{row['spearman_flops']:.2f}",
        "ties": lambda row: f"{row['ties']:.1%}",
        "NaN": lambda row: f"{row['undefined']:.1%}",
        "time": lambda row: duration(row["seconds"]),
        "findings": lambda row: row["findings"],
    }
    if not wide:  # the file and the report have all
        columns = {
            name: columns[name] for name in ("keep", "cluster", "seeds ρ", "time", "findings")
        }
    table = _table("", *columns, right=True)
    table.columns[-1].justify, table.columns[-1].no_wrap = "left", False
    for row in found.to_dict("records"):
        cells = (show({str(key): value for key, value in row.items()}) for show in columns.values())
        style = "dim" if row["kind"] == "baseline" else None
        table.add_row(row["name"], *cells, style=style)
    return table


def _say_trained(console: "Console", found: "Trained") -> None:
    table = _table("epoch", "learning rate", "loss", "train %", "test %", "seconds", right=True)
    for row in found.history.to_dict("records"):
        shown = (f"{row['train_loss']:.3f}", f"{row['train_accuracy']:.1f}")
        rest = (f"{row['test_accuracy']:.1f}", f"{row['seconds']:.1f}")
        table.add_row(str(row["epoch"]), f"{row['learning_rate']:.2g}", *shown, *rest)
    console.print(table)
    low, high = found.interval
    images = found.record["test images"]
    words = f"test accuracy {found.accuracy:.2f} %, 95 % interval {low:.2f} to {high:.2f}"
    _say(console, f"{words} ({images:,} images)")
    _say(console, f"weights, history and record in {found.folder}")


def _table(first: str, *columns: str, title: str | None = None, right: bool = False) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column(first, style="bold", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right" if right else "left", no_wrap=right)
    return table


def _console() -> "Console":
    from rich.console import Console

    # Brackets and colons in names and reasons are meant as they stand.
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:  # a pipe has no width of its own: do not cut numbers off there
        console.width = 180
    return console


def _say(console: "Console", words: str) -> None:
    """Print a line that the terminal may wrap, so that paths can be copied."""
    console.print(words, soft_wrap=True)


@contextmanager
def _workers_started(
    workers: int | None, most: int | None, device: str, scheduler: str | None, out: Path | None
) -> Iterator[None]:
    """Processes that load PyTorch while this one does, if there is work for them on the CPU.

    One for each core, worker and of the `most` networks that there are, whichever is least.
    """
    from joblib import cpu_count

    from zeroshot.spread import started

    limits = (cpu_count(), workers, most)
    wanted = min(limit for limit in limits if limit is not None)
    elsewhere = device.startswith("cuda") or scheduler is not None
    maybe = device == "auto" and shutil.which("nvidia-smi")
    if wanted < 2 or elsewhere or maybe or (out and out.exists()):
        yield
    else:
        with started(wanted):
            yield


@contextmanager
def _stoppable(kept: str | Path | None) -> Iterator[None]:
    """Ctrl-C ends with a line that says what is kept, and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"interrupted: {kept or 'nothing is kept'}", err=True)
        raise typer.Exit(130) from None


@contextmanager
def _progress(what: str) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:.2f}/s")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate())
    console = Console(stderr=True)
    bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)
    task = None

    def update(done: int, total: int, words: str = "") -> None:
        nonlocal task
        if task is None:  # not before there is something to show: an error comes without a bar
            bar.start()
            task = bar.add_task(what, total=total, completed=done)
        else:
            bar.update(task, completed=done, total=total, description=f"{what} {words}".rstrip())

    try:
        yield update
    finally:
        if task is not None:
            bar.stop()


def _shown(proxy: str, value: float) -> str:
    """A score as tables show it: as a power of ten where scores span many orders of magnitude."""
    from zeroshot.proxies import PROXIES

    if 0 < value < float("inf") and any(known.name == proxy and known.log for known in PROXIES):
        return f"10^{log10(value):.2f}"
    return _number(value)


def _number(value: float) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.5g}"
