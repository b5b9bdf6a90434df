"""A Python process of its own, in which published code is timed as its users run it.

The package's own processes hold the memory that they free (`zeroshot/malloc.py`). What is timed in
such a process gains by it, whoever wrote it; a plain process shows what one waits for without.
"""

import time
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType

import torch

Work = Callable[[], object]


class Apart:
    """Tasks in a plain process, which waits while others run here.

    Args:
        tasks: a function of a module that makes them there, by name.
    """

    def __init__(self, tasks: Callable[[], Mapping[str, Work]]) -> None:
        context = get_context("spawn")
        self._asked, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, tasks), daemon=True)
        self._process.start()
        theirs.close()

    def seconds(self, name: str, threads: int) -> float:
        """Run a task on so many threads; on one, seconds of the processor.

        Raises:
            EOFError: it failed there, where its traceback has been printed.
        """
        self._asked.send((name, threads))
        return self._asked.recv()

    def __enter__(self) -> "Apart":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._asked.close()
        self._process.join()


def seconds_of(task: Work) -> float:
    """By the clock; on one thread of the CPU, of this process alone, whatever else runs there."""
    waits = torch.cuda.is_available()
    alone = not waits and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    if waits:
        torch.cuda.synchronize()
    start = clock()
    task()
    if waits:
        torch.cuda.synchronize()
    return clock() - start


def _serve(asked: Connection, tasks: Callable[[], Mapping[str, Work]]) -> None:
    made = tasks()
    while True:
        try:
            name, threads = asked.recv()
        except EOFError:
            return
        torch.set_num_threads(threads)
        asked.send(seconds_of(made[name]))
