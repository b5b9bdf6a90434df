"""`zeroshot validate` and `zeroshot advise`."""

from collections.abc import Callable
from functools import partial
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zeroshot.cli.options import (
    PROXIES,
    TRUTH,
    BatchSize,
    BenchmarkPath,
    Column,
    Data,
    Device,
    Init,
    LowerIsBetter,
    NoStore,
    Scheduler,
    Seed,
    Small,
    SpaceName,
    Spelling,
    StoreFile,
    Trust,
    Workers,
    kept_where,
    used_store,
)
from zeroshot.cli.screen import WIDE, fits, new_console, new_table, say, stoppable
from zeroshot.progress import progress_bar

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    from zeroshot.commands import Advice, Validation

# Heads, and what stands beneath them for a row.
Columns = dict[str, Callable[[dict[str, Any]], str]]


def validate(
    scores: Annotated[
        list[Path],
        typer.Argument(help="Tables that `zeroshot rank` wrote; several are put together."),
    ],
    truth: Annotated[list[str], typer.Option(help=TRUTH)],
    column: Column = None,
    arch: Spelling = "{arch}",
    lower_is_better: LowerIsBetter = False,
    benchmark_path: BenchmarkPath = None,
    trust: Trust = False,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Also compare a formula of proxies, or one in a file. May be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write: tables, plots and report.html.")
    ] = None,
    resamples: Annotated[int, typer.Option(help="Number of bootstrap resamples.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed for the bootstrap resamples.")] = 0,
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
    _say_found(found, partial(_validation, found.quantity))


def advise(
    space: SpaceName,
    sample: Annotated[int, typer.Option(help="Number of architectures to draw at random.")] = 50,
    proxies: Annotated[str, typer.Option(help=PROXIES)] = "all",
    data: Data = "noise",
    batch_size: BatchSize = 64,
    seed: Seed = 0,
    repeats: Annotated[
        int, typer.Option(help="Number of initialisations, to tell which proxies are stable.")
    ] = 3,
    init: Init = "default",
    small: Small = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    device: Device = "auto",
    store: StoreFile = None,
    no_store: NoStore = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write: advice.csv, advice.html and scores.csv.")
    ] = None,
) -> None:
    """Tell which proxies are worth computing in a space, without any accuracies.

    With --out, the same command goes on where it was interrupted.
    """
    path = used_store(store, no_store)
    with stoppable(kept_where(path, out and out / "scores.csv")):
        from zeroshot import commands

        with progress_bar("networks") as progress:
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
                scheduler=scheduler,
                device=device,
                store=path,
                out=out,
                progress=progress,
            )
    _say_found(found, _advice)


def _say_found(
    found: "Validation | Advice", shown: Callable[["pd.DataFrame", "Console"], "Table"]
) -> None:
    """The table, as wide as the terminal allows, the verdict, and where the report is."""
    console = new_console()
    console.print(shown(found.table, console))
    for words in found.verdict:
        console.print(words)
    if found.report:
        say(console, f"report in {found.report}")


def _validation(quantity: str, found: "pd.DataFrame", console: "Console") -> "Table":
    """As many columns as there is room for; the file and the report have all."""
    title = (
        f"Against {found['measured'].max():,} measured architectures, the best {quantity} "
        f"{found['best'].max():.4g}"
    )
    if lacking := int(found["unmatched"].max()):
        title += f"; {lacking:,} scored ones are not measured"
    columns: Columns = {
        "Kendall τ": lambda row: _told(row["kendall"], ".3f"),
        "95 %": lambda row: _interval(row, "kendall"),
        "Spearman ρ": lambda row: _told(row["spearman"], ".3f"),
        "95 % ": lambda row: _interval(row, "spearman"),
        "ρ given size": lambda row: _told(row["partial_spearman"], ".2f"),
        "top 10 %": lambda row: _told(row["precision_top10"], ".0%"),
        "nDCG": lambda row: _told(row["ndcg"], ".3f"),
        "picked": lambda row: _told(row["picked"], ".4g"),
        "n": lambda row: f"{row['n']:,}",
        "ties": lambda row: _told(row["ties"], ".1%"),
    }
    ordered = found.sort_values("kendall", ascending=False, kind="stable", na_position="last")
    rest = ("n", "picked", "Spearman ρ", *reversed(columns))  # the last ones go first
    wanted = list(dict.fromkeys(("Kendall τ", "95 %", *rest)))
    while True:
        kept = {name: show for name, show in columns.items() if name in wanted}
        table = new_table("", *kept, title=title, right=True)
        table = _filled(table, ordered, kept, {"baseline": "dim", "ensemble": "bold"})
        if len(wanted) < 2 or fits(console, table):
            return table
        wanted.pop()


def _advice(found: "pd.DataFrame", console: "Console") -> "Table":
    from zeroshot.eval.verdict import duration

    columns: Columns = {
        "keep": lambda row: "✓" if row["keep"] else "",
        "cluster": lambda row: str(row["cluster"]),
        "seeds ρ": lambda row: _told(row["seed_agreement"], ".2f"),
        "params ρ": lambda row: _told(row["spearman_params"], ".2f"),
        "flops ρ": lambda row: _told(row["spearman_flops"], ".2f"),
        "ties": lambda row: _told(row["ties"], ".1%"),
        "NaN": lambda row: f"{row['undefined']:.1%}",
        "time": lambda row: duration(row["seconds"]),
        "findings": lambda row: row["findings"],
    }
    if console.width < WIDE:  # the file and the report have all
        columns = {
            name: columns[name] for name in ("keep", "cluster", "seeds ρ", "time", "findings")
        }
    table = new_table("", *columns, right=True)
    table.columns[-1].justify, table.columns[-1].no_wrap = "left", False
    return _filled(table, found, columns, {"baseline": "dim"})


def _told(value: float, form: str) -> str:
    return "–" if isnan(value) else format(value, form)


def _interval(row: dict[str, Any], name: str) -> str:
    low, high = row[f"{name}_lo"], row[f"{name}_hi"]
    return "–" if isnan(low) else f"{low:.2f} … {high:.2f}"


def _filled(
    table: "Table", found: "pd.DataFrame", columns: Columns, styles: dict[str, str]
) -> "Table":
    """A table with a row for each of `found`: its name, and what each column shows of it."""
    for row in found.to_dict("records"):
        cells = (show({str(key): value for key, value in row.items()}) for show in columns.values())
        table.add_row(row["name"], *cells, style=styles.get(row["kind"]))
    return table
