"""`zeroshot list`."""

import sys
from collections.abc import Callable, Iterator
from enum import Enum
from itertools import groupby
from typing import Annotated

import typer

from zeroshot.cli.screen import new_console, new_table
from zeroshot.errors import ZeroshotError

Row = tuple[str, ...]


class What(str, Enum):
    """What there are lists of."""

    proxies = "proxies"
    ensembles = "ensembles"
    spaces = "spaces"
    benchmarks = "benchmarks"
    data = "data"
    inits = "inits"
    searches = "searches"


def _proxies() -> Iterator[Row]:
    from zeroshot.proxies import PROXIES

    yield "proxy", "better", "needs", "source", "what it is"
    for proxy in PROXIES:
        needs = ", ".join(repr(need).replace("()", "") for need in proxy.needs)
        told = sys.modules[proxy.formula.__module__].__doc__ or ""
        yield proxy.name, proxy.better, needs, proxy.source, told.split(": ", 1)[-1].strip()


def _ensembles() -> Iterator[Row]:
    from zeroshot.ranking import ENSEMBLES

    yield "ensemble", "members", "rule", "source"
    for each in ENSEMBLES:
        yield each.name, ", ".join(each.members), each.combine.__name__, each.source


def _spaces() -> Iterator[Row]:
    from zeroshot.spaces import SPACES

    yield "space", "architectures", "axes", "source"
    for space in SPACES:
        try:
            sizes, size = [len(axis.options) for axis in space.axes], space.size
        except ZeroshotError as error:  # what it is made of is not installed
            yield space.name, "", str(error), space.source
            continue
        runs = [(size, len(list(run))) for size, run in groupby(sizes)]
        listed = " × ".join(f"{size}^{n}" if n > 1 else f"{size}" for size, n in runs)
        axes = listed if len(runs) <= 4 else f"{len(sizes)} of {min(sizes)} to {max(sizes)}"
        count = f"{size:,}" if size < 10**19 else f"{size:.1e}"
        yield space.name, count, axes, space.source


def _benchmarks() -> Iterator[Row]:
    from zeroshot.eval.benchmarks import BENCHMARKS

    yield "benchmark", "space", "data sets", "needs", "source"
    for each in BENCHMARKS:
        sets = ", ".join(each.datasets) or "as the file"
        yield each.name, each.space, sets, each.file, each.source


def _data() -> Iterator[Row]:
    from zeroshot.data import DATA

    yield "data", "what it is"
    yield from DATA.items()


def _inits() -> Iterator[Row]:
    from zeroshot.initial import INITS

    yield "init", "what it is"
    yield from ((name, (fill.__doc__ or "").strip()) for name, fill in INITS.items())


def _searches() -> Iterator[Row]:
    from zeroshot.searches.search import SEARCHES

    yield "search", "source", "what it does"
    for method in SEARCHES:
        yield method.name, method.source, (method.propose.__doc__ or "").split("\n")[0]


# The headings, then the rows; what they are of is loaded when it is asked for.
LISTS: dict[What, Callable[[], Iterator[Row]]] = {
    What.proxies: _proxies,
    What.ensembles: _ensembles,
    What.spaces: _spaces,
    What.benchmarks: _benchmarks,
    What.data: _data,
    What.inits: _inits,
    What.searches: _searches,
}


def list_(what: Annotated[What, typer.Argument(help="What to list.")]) -> None:
    """List the proxies, spaces and so on that there are."""
    headings, *rows = LISTS[what]()
    table = new_table(*headings)
    for row in rows:
        table.add_row(*row)
    new_console().print(table)
