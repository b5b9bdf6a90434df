"""`zeroshot score`, `zeroshot rank` and `zeroshot search`."""

import shutil
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from zeroshot.cli.options import (
    PROXIES,
    BatchSize,
    By,
    Cells,
    Channels,
    Computed,
    Data,
    Device,
    ImageSize,
    Init,
    MaxFlops,
    MaxLatency,
    MaxParams,
    NoStore,
    Refine,
    Repeats,
    Scheduler,
    Seed,
    Small,
    SpaceName,
    Spelling,
    StoreFile,
    TableFile,
    Top,
    Workers,
    kept_where,
    used_store,
)
from zeroshot.cli.screen import (
    WIDE,
    fits,
    new_console,
    new_table,
    number_text,
    say,
    score_text,
    side_by_side,
    stoppable,
)
from zeroshot.errors import ZeroshotError
from zeroshot.progress import progress_bar
from zeroshot.searches import BUDGET, METHOD, POPULATION, REFINED, SAMPLE

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    from zeroshot.commands import Ranking

V = TypeVar("V", bound=Hashable)


def score(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Networks: nasbench201:13714, torchvision:resnet18 or package.module:factory."
        ),
    ],
    proxies: Annotated[str, typer.Option(help=PROXIES)] = "all",
    data: Data = "noise",
    batch_size: BatchSize = 64,
    size: ImageSize = None,
    init: Init = "default",
    seed: Seed = 0,
    device: Device = "auto",
    out: Annotated[
        Path | None,
        typer.Option(help="Table to write, a row for each network; a .csv or .parquet file."),
    ] = None,
) -> None:
    """Score one or several networks."""
    from zeroshot import commands

    with progress_bar("networks") if len(models) > 1 else nullcontext() as progress:
        found = commands.score(
            models,
            proxies=proxies,
            data=data,
            batch_size=batch_size,
            size=size,
            init=init,
            seed=seed,
            device=device,
            out=out,
            progress=progress,
        )
    console = new_console()
    names = next(iter(found.values()))

    def table(some: Sequence[str]) -> "Table":
        made = new_table("proxy", *some, right=True)
        for name in names:
            made.add_row(name, *(score_text(name, found[model][name]) for model in some))
        return made

    for some in side_by_side(console, list(found), table):
        console.print(table(some))
    models_of: dict[tuple[str, str], tuple[str, ...]] = {}  # by proxy and reason
    for model, scores in found.items():
        for gap in scores.reasons.items():
            models_of[gap] = (*models_of.get(gap, ()), model)
    for (those, reason), names in _alike(models_of).items():
        who = f"all {len(found)} networks" if 1 < len(found) == len(those) else _listed(those)
        say(console, f"{_listed(names)} of {who} {_are(names)} not a number: {reason}")
    if out:
        say(console, f"{len(found):,} rows in {out}")


def rank(
    space: SpaceName,
    sample: Annotated[
        int | None,
        typer.Option(help=f"Number of architectures to draw at random; default: {SAMPLE}."),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Rank all architectures instead of a sample.")
    ] = False,
    archs: Annotated[
        Path | None,
        typer.Option(help="Rank the architectures of a file instead: one a line, or a table."),
    ] = None,
    arch: Spelling = "{arch}",
    proxies: Computed = None,
    by: By = None,
    data: Data = "noise",
    batch_size: BatchSize = 64,
    seed: Seed = 0,
    repeats: Repeats = 1,
    init: Init = "default",
    max_params: MaxParams = None,
    max_flops: MaxFlops = None,
    max_latency: MaxLatency = None,
    latency: Annotated[
        bool,
        typer.Option(
            "--latency",
            help="Time every network on this machine; with --out also written to NAME.latency.csv.",
        ),
    ] = False,
    small: Small = False,
    channels: Channels = None,
    cells: Cells = None,
    refine: Refine = 0,
    workers: Workers = None,
    scheduler: Scheduler = None,
    device: Device = "auto",
    store: StoreFile = None,
    no_store: NoStore = False,
    out: TableFile = None,
    top: Top = 10,
) -> None:
    """Rank architectures of a space without training any.

    With --out, the same command goes on where it was interrupted. The order lies beside the scores,
    in NAME.order.csv, unless --proxies without --by ask for a table alone.
    """
    asked = [f"--sample {sample}"] if sample is not None else []
    asked += (["--all"] if all_ else []) + ([f"--archs {archs}"] if archs else [])
    if len(asked) > 1:
        raise ZeroshotError(f"{' and '.join(asked)}: expected one of them")
    path = used_store(store, no_store)
    drawn = None if all_ or archs else SAMPLE if sample is None else sample
    loading = workers_started(workers, drawn, device, scheduler, out)
    with stoppable(kept_where(path, out)), loading:
        from zeroshot import commands

        with progress_bar("networks") as progress:
            found = commands.rank(
                space,
                sample=drawn,
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
    say_ranking(found, top, out, implied=by is None and proxies is not None)


def search(
    space: SpaceName,
    method: Annotated[
        str,
        typer.Option(
            help="How to go on from the best so far: climb (neighbours of the best), evolve "
            "(children of the best ten) or random."
        ),
    ] = METHOD,
    budget: Annotated[int, typer.Option(help="Number of architectures to score in all.")] = BUDGET,
    population: Annotated[
        int, typer.Option(help="Number to score at a time, and at random to begin with.")
    ] = POPULATION,
    proxies: Computed = None,
    by: By = None,
    data: Data = "noise",
    batch_size: BatchSize = 64,
    seed: Seed = 0,
    repeats: Repeats = 1,
    init: Init = "default",
    max_params: MaxParams = None,
    max_flops: MaxFlops = None,
    max_latency: MaxLatency = None,
    small: Small = False,
    channels: Channels = None,
    cells: Cells = None,
    refine: Refine = REFINED,
    workers: Workers = None,
    scheduler: Scheduler = None,
    device: Device = "auto",
    store: StoreFile = None,
    no_store: NoStore = False,
    out: TableFile = None,
    top: Top = 10,
) -> None:
    """Search a space for what ranks best, without training any network.

    With --out, or with the store, the same command goes on where it was interrupted.
    """
    path = used_store(store, no_store)
    loading = workers_started(workers, population, device, scheduler, out)
    with stoppable(kept_where(path, out)), loading:
        from zeroshot import commands

        with progress_bar("networks") as progress:
            found = commands.search(
                space,
                method=method,
                budget=budget,
                population=population,
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
    say_ranking(found, top, out, implied=by is None and proxies is not None)


def say_ranking(found: "Ranking", top: int, out: Path | None, *, implied: bool) -> None:
    """The best, what there is to know of them and of the others, and where all is written.

    `implied`: whether what orders them follows from --proxies.
    """
    console = new_console()
    shown = found.refined or found
    title = f"Best {min(top, len(shown.admitted)):,} of {len(found.order):,} by {found.order.name}"
    if found.refined:
        title += f", refined by {shown.order.name}"
    hidden = _say_order(console, shown, top, title, found.latency, found.costs(top))
    if found.latency is not None and found.max_latency is not None:
        slow = int((found.latency > found.max_latency).sum())
        limit = f"{found.max_latency:g} ms"
        say(console, f"Of {len(found.latency)} timed here, {slow} take longer than {limit}.")
    parts = (found, found.refined) if found.refined else (found,)
    notes = (words for part in parts for words in part.notes)
    first, *others = found.scores.columns[2:]
    if implied and others and found.order.name == first:
        say(console, f"ranked by {first}, the first of --proxies; --by chooses")
    for words in dict.fromkeys(notes):
        say(console, words)
    for part in parts:
        _say_reuse(console, part.record)
        _say_gaps(console, part.record)
    if out:
        from zeroshot.files import beside

        order = beside(out, "order")
        ordered = f", the order in {order}" if order.exists() else ""
        say(console, f"{len(found.scores):,} rows in {out}, the run record in {out}.json{ordered}")
    elif hidden:
        say(console, f"{hidden} more scores of each are not shown; --out writes all of them")


def _say_order(
    console: "Console",
    found: "Ranking",
    top: int,
    title: str,
    latency: "pd.Series | None" = None,
    costs: "pd.DataFrame | None" = None,
) -> int:
    """The best architectures: what orders them, the scores that decided, what they weigh and take.

    Where there is no room for all scores, the last ones are left out; returns how many. Where there
    is none for the architectures, they follow below, one a line, to be copied.
    """
    wide = console.width >= WIDE
    names = list(dict.fromkeys((*found.members, *found.scores.columns[2:])))[: 6 if wide else 4]
    means = found.scores.groupby("arch", sort=False)[names].mean()
    shown = found.admitted.head(top)
    alone = found.members == (found.order.name,) and found.scores["seed"].nunique() == 1
    rated = [] if alone else ["rating"]  # the score itself, then
    weighed = [] if costs is None else ["M params", "M flops"]
    timed = [] if latency is None else ["ms"]

    def table(beside: bool, names: list[str]) -> "Table":
        heads = (*(("architecture",) if beside else ()), *rated, *names, *weighed, *timed)
        made = new_table("", *heads, title=title, right=True)
        if beside:
            made.columns[1].justify = "left"
        for place, (arch, rating) in enumerate(shown.items(), start=1):
            cells = [str(arch)] if beside else []
            cells += [number_text(rating)] if rated else []
            cells += [score_text(name, float(means.loc[str(arch), name])) for name in names]  # pyright: ignore
            if costs is not None:
                cells += [
                    f"{cost / 1e6:{',.0f' if cost > 1e9 else '.3g'}}"
                    for cost in costs.loc[str(arch)]
                ]
            cells += [] if latency is None else [f"{latency[arch]:.3g}"]
            made.add_row(str(place), *cells)
        return made

    def fitting(beside: bool, names: list[str]) -> bool:
        return fits(console, table(beside, names))

    short = max((len(str(arch)) for arch in shown.index), default=0) <= 24
    beside = (wide or short) and fitting(True, names)
    while names and not fitting(beside, names):
        names = names[:-1]
    console.print(table(beside, names))
    if not beside:
        for place, arch in enumerate(shown.index, start=1):
            say(console, f"{place:>2}  {arch}")
        console.print()
    return len(found.scores.columns) - 2 - len(names)


def _say_reuse(console: "Console", record: dict[str, Any]) -> None:
    """How much was there already."""
    reused = record.get("from the store", {})
    if reused.get("scores"):
        whole, scored = reused["networks"], record["networks scored"]
        words = f"{reused['scores']:,} {'scores' if reused['scores'] > 1 else 'score'}"
        words += f", all of {whole:,} of {scored:,} networks," if whole else ""
        verb = "were" if reused["scores"] > 1 else "was"
        say(console, f"{words} {verb} in the store {record['store']}")


def _say_gaps(console: "Console", record: dict[str, Any]) -> None:
    """What is missing from the scores, and why."""
    networks = record["networks scored"] or record["rows"]
    told = record["not a number"]
    counts = {(name, why): n for name, reasons in told.items() for why, n in reasons.items()}
    for (count, reason), names in _alike(counts).items():
        words = f"{_are(names)} not a number for {count:,} of {networks:,} networks"
        say(console, f"{_listed(names)} {words}: {reason}")


def _alike(gaps: Mapping[tuple[str, str], V]) -> dict[tuple[V, str], list[str]]:
    """From what holds of a proxy and a reason to the proxies of which both are the same.

    >>> _alike({("dss", "flat"): 3, ("snip", "deep"): 3, ("zen", "flat"): 3})
    {(3, 'flat'): ['dss', 'zen'], (3, 'deep'): ['snip']}
    """
    found: dict[tuple[V, str], list[str]] = {}
    for (name, reason), holds in gaps.items():
        found.setdefault((holds, reason), []).append(name)
    return found


def _are(names: Sequence[str]) -> str:
    return "are" if len(names) > 1 else "is"


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


@contextmanager
def workers_started(
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
