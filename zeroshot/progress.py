"""How far a long call has come: told to nobody, to a function of the caller's, or by a bar."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

Progress = Callable[..., None]  # how many are done, of how many, and perhaps words


class Underway(KeyboardInterrupt):
    """Ctrl-C, when some is done already."""


def telling(progress: Progress | bool | None, what: str) -> AbstractContextManager[Progress]:
    """A context that gives the function to tell: a bar's for True, a silent one for nothing."""
    if callable(progress):
        return nullcontext(progress)
    return progress_bar(what) if progress else nullcontext(silent)


def silent(done: int, total: int, words: str = "") -> None:
    """Nobody is told of the progress."""


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """A bar on stderr, or in a notebook, with `what` before it and the words after that."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import (
        Progress as Bar,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:.2f}/s")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate())
    console = Console(stderr=True)
    bar = Bar(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)
    task, some = None, False

    def update(done: int, total: int, words: str = "") -> None:
        nonlocal task, some
        some = some or done > 0
        if task is None:  # not before there is something to show: an error comes without a bar
            bar.start()
            task = bar.add_task(what, total=total, completed=done)
        else:
            bar.update(task, completed=done, total=total, description=f"{what} {words}".rstrip())

    try:
        yield update
    except KeyboardInterrupt as stop:
        raise (Underway() if some else stop) from None
    finally:
        if task is not None:
            bar.stop()
