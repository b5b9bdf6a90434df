"""The command line. Each command calls the library function of its name."""

import io
import sys
import warnings
from typing import Annotated

import typer

from zeroshot import malloc
from zeroshot.cli import lists, prune, rank, store, validate
from zeroshot.errors import ZeroshotError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Score, rank and validate untrained neural networks."""


app.command("list")(lists.list_)
for command in (
    *(rank.score, rank.rank, rank.search, validate.validate, validate.advise),
    *(prune.prune, prune.finetune, prune.export),
):
    app.command()(command)
app.add_typer(store.stored, name="store")


def main() -> None:
    """Run the command line: a user's mistake is one line on stderr and exit code 2."""
    malloc.hold()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # it may know no Greek
            stream.reconfigure(errors="replace")
    try:
        with warnings.catch_warnings():
            # joblib replaces workers that it finds too large or idle for too long; nothing is lost.
            warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
            app()
    except ZeroshotError as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
