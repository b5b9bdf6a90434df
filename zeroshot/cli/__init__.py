"""The command line. Each command calls the library function of its name."""

import io
import sys
import warnings
from typing import Annotated, Any

import typer

from zeroshot import malloc
from zeroshot.cli import lists, prune, rank, store, validate
from zeroshot.errors import ZeroshotError

# Of the click that typer imports, or of that which newer versions bring.
UsageError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")

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
            sys.exit(app(standalone_mode=False) or 0)
    except ZeroshotError as error:
        words = str(error)
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            sys.exit(2)
        words = error.format_message()
        if error.ctx is not None:
            words = f"{words.rstrip('.')}{'' if words[-1] == '?' else ';'} see "
            words += f"{error.ctx.command_path} --help"
    except typer.Abort:  # a question was answered with no
        typer.echo("Aborted!", err=True)
        sys.exit(1)
    typer.echo(f"error: {' '.join(words.split())}", err=True)
    sys.exit(2)
