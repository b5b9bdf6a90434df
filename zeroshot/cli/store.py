"""`zeroshot store`: scores that are kept of earlier runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from zeroshot.cli.options import Number, StorePath, store_path
from zeroshot.cli.screen import new_console, new_table, say

stored = typer.Typer(no_args_is_help=True, help="Scores that are kept of earlier runs.")


@stored.command("list")
def list_settings(store: StorePath = None) -> None:
    """Show what there is: space, data, initialisation, and of how many networks."""
    from zeroshot.store import Store

    path = store_path(store)
    with Store(path, create=False) as kept:
        found = kept.settings()
    console = new_console()
    facts = ("space", "data", "init", "device", "torch")
    counts = ("architectures", "seeds", "proxies")
    table = new_table("", *facts, *counts, "last written", title=str(path))
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

    with Store(store_path(store), create=False) as kept:
        setting = kept.setting(number)
        found = kept.formulas(number) if arch is None else kept.of(number, arch)
    console = new_console()
    if arch is None:
        say(console, f"{setting.space}, {setting.task}, {setting.samples} of {setting.data}")
        table = new_table("", "proxy", "edition", "needs", "networks", "NaN", "reasons")
        for row in found.to_dict("records"):
            told = (row["name"], row["edition"], ", ".join(json.loads(row["needs"])))
            counts = (f"{row['networks']:,}", f"{row['undefined']:,}")
            table.add_row(str(row["number"]), *told, *counts, row["reasons"])
    else:
        table = new_table("seed", "proxy", "edition", "score", "reason")
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
        store_path(store), number, out, proxies=names, seeds=tuple(seeds or ())
    )
    console = new_console()
    say(console, f"{len(found.scores):,} rows in {out}, the record in {out}.json")
    left_out = found.record["networks left out"]
    if left_out:
        say(console, f"{left_out:,} networks are left out, for their architectures lack scores")


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
    path = store_path(store)
    console = new_console()
    with Store(path, create=False) as kept:
        found = kept.count(selection)
        words = f"{found['scores']:,} of {found['all scores']:,} scores in {path}"
        if found["scores"] and not yes:
            typer.confirm(f"Delete {words}, of {found['networks']:,} networks?", abort=True)
        if found["scores"]:
            kept.delete(selection)
    say(console, f"deleted {words}")


@stored.command("merge")
def merge_stores(
    other: Annotated[Path, typer.Argument(help="Another store; it stays as it is.")],
    store: StorePath = None,
) -> None:
    """Add the scores of another store."""
    from zeroshot.store import Store

    path = store_path(store)
    with Store(path) as kept:
        came = kept.merge(other)
    say(new_console(), f"{came:,} scores of {other} came into {path}")


@stored.command("check")
def check_scores(
    sample: Annotated[int, typer.Option(min=0, help="How many networks to score again.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    store: StorePath = None,
) -> None:
    """Check the file, and score some networks again; exit code 1 if something is wrong."""
    from zeroshot import commands

    path = store_path(store)
    found = commands.check_store(path, sample=sample, seed=seed)
    console = new_console()
    for words in found.damage:
        say(console, f"{path}: {words}")
    for number, words in found.skipped.items():
        say(console, f"setting {number} is not scored again: {words}")
    for row in found.scores[~found.scores["same"].astype(bool)].to_dict("records"):
        place = f"{row['proxy']} of {row['arch']}, seed {row['seed']}, setting {row['setting']}"
        say(console, f"{place}: stored {row['stored']!r}, now {row['now']!r}")
    same, told = int(found.scores["same"].sum()), len(found.scores)
    file = f"damaged in {len(found.damage)} places" if found.damage else "sound"
    say(console, f"{path} is {file}; {same} of {told} scores came out the same again")
    if not found.sound:
        raise typer.Exit(1)
