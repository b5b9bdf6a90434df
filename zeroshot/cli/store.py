"""`zeroshot store`: scores that are kept of earlier runs."""

import ast
import json
from pathlib import Path
from typing import Annotated

import typer

from zeroshot.cli.options import Number, StoreFile, store_path
from zeroshot.cli.screen import new_console, new_table, say

FEW = 4  # proxies, at most, that are named in a list of settings
LONG = 40  # characters, at most, of a field that is shown there

stored = typer.Typer(
    no_args_is_help=True, help="Look after the scores that are kept of earlier runs."
)


@stored.command("list")
def list_settings(store: StoreFile = None) -> None:
    """List settings: space, data, initialisation, and what is kept of them."""
    from zeroshot.store import Store, contents

    path = store_path(store)
    with Store(path, create=False) as kept:
        found = contents.settings(kept)
    console = new_console()
    facts = ("space", "data", "init", "device", "torch")
    counts = ("architectures", "seeds")
    table = new_table("", *facts, *counts, "proxies", "last written", title=str(path))
    for row in found.to_dict("records"):
        row["data"] = f"{row['samples']} of {row['data']} ({row['batch']})"
        row["space"] = _spoken(row["name"], row["space"])
        told = [str(row[name]) for name in facts] + [f"{row[name]:,}" for name in counts]
        few = row["proxies"] <= FEW
        told += [row["names"].replace(",", ", ") if few else f"{row['proxies']:,}"]
        table.add_row(str(row["number"]), *told, row["written"])
    console.print(table)


def _spoken(name: str, space: str) -> str:
    """A space as a line holds it: its name, and the fields that are not as by default.

    Args:
        name: what `find_space` takes.
        space: with all fields, as `repr` shows it.
    """
    from zeroshot.spaces import SPACES

    fields = _fields(space)
    plain = _fields(next((repr(own) for own in SPACES if own.name == name), ""))
    told = [
        f"{field}={value if len(value) <= LONG else '…'}"
        for field, value in fields.items()
        if plain.get(field) != value
    ]
    return f"{name}({', '.join(told)})" if told else name


def _fields(space: str) -> dict[str, str]:
    """Fields and their values in words, from the `repr` of a dataclass; none if it has no such."""
    try:
        call = ast.parse(space, mode="eval").body
    except SyntaxError:
        return {}
    words = call.keywords if isinstance(call, ast.Call) else []
    return {str(word.arg): ast.unparse(word.value) for word in words}


@stored.command("show")
def show_setting(
    number: Number,
    arch: Annotated[str | None, typer.Option(help="Show the scores of this architecture.")] = None,
    store: StoreFile = None,
) -> None:
    """Show the proxies of a setting, or all scores of one of its architectures."""
    from zeroshot.store import Store, contents

    with Store(store_path(store), create=False) as kept:
        setting = contents.setting(kept, number)
        found = (
            contents.formulas(kept, number)
            if arch is None
            else contents.scores_of(kept, number, arch)
        )
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
    out: Annotated[
        Path, typer.Option(help="Table to write, a .csv or .parquet file that is not there yet.")
    ],
    proxies: Annotated[
        str | None, typer.Option(help="Names or numbers of proxies, with commas; default: all.")
    ] = None,
    seeds: Annotated[
        list[int] | None,
        typer.Option("--seed", help="Seed to export; default: all. May be repeated."),
    ] = None,
    store: StoreFile = None,
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
        bool,
        typer.Option(
            "--outdated", help="Delete scores of formulas that this version computes otherwise."
        ),
    ] = False,
    space: Annotated[str | None, typer.Option(help="Delete scores of this space.")] = None,
    before: Annotated[
        str | None,
        typer.Option(help="Delete scores of networks to which nothing was added since this date."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before deleting.")] = False,
    store: StoreFile = None,
) -> None:
    """Delete scores that match all given conditions."""
    from zeroshot import commands
    from zeroshot.store import Store, upkeep

    selection = commands.selected(space=space, before=before, outdated=outdated)
    path = store_path(store)
    console = new_console()
    with Store(path, create=False) as kept:
        found = upkeep.count(kept, selection)
        words = f"{found['scores']:,} of {found['all scores']:,} scores in {path}"
        if found["scores"] and not yes:
            typer.confirm(f"Delete {words}, of {found['networks']:,} networks?", abort=True)
        if found["scores"]:
            upkeep.delete(kept, selection)
    say(console, f"deleted {words}")


@stored.command("merge")
def merge_stores(
    other: Annotated[Path, typer.Argument(help="Store to add; it stays as it is.")],
    store: StoreFile = None,
) -> None:
    """Add the scores of another store."""
    from zeroshot.store import Store, upkeep

    path = store_path(store)
    with Store(path) as kept:
        came = upkeep.merge(kept, other)
    say(new_console(), f"{came:,} scores of {other} came into {path}")


@stored.command("check")
def check_scores(
    sample: Annotated[int, typer.Option(min=0, help="Number of networks to score again.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed for the choice of networks.")] = 0,
    store: StoreFile = None,
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
