"""What commands write on the terminal: lines, tables and numbers."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import log10
from pathlib import Path
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Any

import typer

from zeroshot.progress import Underway

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDE = 140  # columns of a terminal that has room for everything


def new_table(first: str, *columns: str, title: str | None = None, right: bool = False) -> "Table":
    """A table of bold rows under plain heads; to the right, if it is of numbers."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column(first, style="bold", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right" if right else "left", no_wrap=right)
    return table


def new_console() -> "Console":
    """The terminal, or the file or pipe instead."""
    from rich.console import Console

    # Brackets and colons in names and reasons are meant as they stand.
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:  # a pipe has no width of its own: do not cut numbers off there
        console.width = 180
    return console


def fits(console: "Console", table: "Table") -> bool:
    """Whether the terminal has room for all of a table."""
    room = console.options.update(max_width=10_000)  # as wide as it likes to be
    return console.measure(table, options=room).maximum <= console.width


def side_by_side(
    console: "Console", names: Sequence[str], table: Callable[[Sequence[str]], "Table"]
) -> Iterator[Sequence[str]]:
    """Names in groups, each as large as there is room for a table of; at least one."""
    while names:
        count = next((n for n in range(len(names), 1, -1) if fits(console, table(names[:n]))), 1)
        yield names[:count]
        names = names[count:]


def say(console: "Console", words: str) -> None:
    """Print a line that the terminal may wrap, so that paths can be copied."""
    console.print(words, soft_wrap=True)


def score_text(proxy: str, value: float) -> str:
    """A score as tables show it: as a power of ten where scores span many orders of magnitude."""
    from zeroshot.proxies import PROXIES

    if 0 < value < float("inf") and any(known.name == proxy and known.log for known in PROXIES):
        return f"10^{log10(value):.2f}"
    return number_text(value)


def number_text(value: float) -> str:
    """A number of five digits, or a whole one in full."""
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.5g}"


@contextmanager
def stoppable(kept: str | Path | None) -> Iterator[None]:
    """Ctrl-C ends with a line that says what is kept, if anything was done, and exit code 130.

    So does SIGTERM, with 143.
    """
    told: list[int] = []

    def terminated(number: int, _: Any) -> None:
        told.append(number)
        raise KeyboardInterrupt

    # Other threads may not set it, and what ignores it goes on to.
    alone = current_thread() is main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if alone:
        signal.signal(signal.SIGTERM, terminated)
    try:
        yield
    except KeyboardInterrupt as stop:
        done = kept or "nothing is kept"
        words = done if isinstance(stop, Underway) else "nothing new was done"
        typer.echo(f"interrupted: {words}", err=True)
        raise typer.Exit(128 + told[0] if told else 130) from None
    finally:
        if alone:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
