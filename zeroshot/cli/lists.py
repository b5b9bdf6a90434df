"""`zeroshot list`."""

import sys
from enum import Enum
from itertools import groupby
from typing import Annotated, Any

import typer

from zeroshot.cli.screen import new_console, new_table
from zeroshot.errors import ZeroshotError


class What(str, Enum):
    """What there are lists of."""

    proxies = "proxies"
    ensembles = "ensembles"
    spaces = "spaces"
    benchmarks = "benchmarks"
    data = "data"
    inits = "inits"


def list_(what: Annotated[What, typer.Argument(help="What to list.")]) -> None:
    """List the proxies, spaces and so on that there are."""
    console = new_console()
    if what is What.proxies:
        from zeroshot.proxies import PROXIES

        table = new_table("proxy", "better", "needs", "source", "what it is")
        for proxy in PROXIES:
            needs = ", ".join(repr(need).replace("()", "") for need in proxy.needs)
            words = (sys.modules[proxy_module(proxy)].__doc__ or "").split(": ", 1)[-1].strip()
            table.add_row(proxy.name, proxy.better, needs, proxy.source, words)
    elif what is What.ensembles:
        from zeroshot.ranking import ENSEMBLES

        table = new_table("ensemble", "members", "rule", "source")
        for ensemble in ENSEMBLES:
            members = ", ".join(ensemble.members)
            table.add_row(ensemble.name, members, ensemble.combine.__name__, ensemble.source)
    elif what is What.spaces:
        from zeroshot.spaces import SPACES

        table = new_table("space", "architectures", "axes", "source")
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

        table = new_table("benchmark", "space", "data sets", "needs", "source")
        for benchmark in BENCHMARKS:
            sets = ", ".join(benchmark.datasets) or "as the file"
            table.add_row(benchmark.name, benchmark.space, sets, benchmark.file, benchmark.source)
    elif what is What.data:
        from zeroshot.data import DATA

        table = new_table("data", "what it is")
        for name, words in DATA.items():
            table.add_row(name, words)
    else:
        from zeroshot.initial import INITS

        table = new_table("init", "what it is")
        for name, fill in INITS.items():
            table.add_row(name, (fill.__doc__ or "").strip())
    console.print(table)


def proxy_module(proxy: Any) -> str:
    """The module that says what a proxy is: the one of its name, or else its formula's."""
    own = f"zeroshot.proxies.{proxy.name}"
    return own if own in sys.modules else proxy.formula.__module__
