"""Tasks over the cores of this machine, or over the machines of a dask cluster."""

import gc
import logging
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from typing import Any, TypeVar

from joblib import Parallel, delayed
from joblib.externals.loky import process_executor
from joblib.externals.loky.backend.reduction import dumps
from joblib.externals.loky.process_executor import BrokenProcessPool

import zeroshot
from zeroshot import malloc
from zeroshot.errors import OutOfMemoryError, ZeroshotError, in_a_line

T = TypeVar("T")

PATIENCE = 10.0  # seconds until a scheduler has to answer, and a worker to be there
AHEAD = 1000  # tasks that a scheduler holds, at least
ORPHANED = 1.0  # seconds after which a process sees that the one that started it is gone


def spread(
    task: Callable[..., T],
    shared: object,
    items: Sequence[tuple[Any, ...]],
    workers: int,
    lower: str,
    *,
    scheduler: Any = None,
    in_order: bool = False,
) -> Generator[T, None, None]:
    """Results of `task(shared, *item)` for every item, each computed on one thread.

    With one worker they are computed here, one after the other, with more in so many processes,
    and with a scheduler by the workers of its cluster. There, `shared` travels once to each.

    Args:
        task: a function of a module.
        shared: what every call needs.
        items: what calls differ in.
        workers: processes; the cluster has its own.
        lower: what else would save memory.
        scheduler: address of a dask scheduler, or a `distributed.Client`.
        in_order: whether results come in the order of the items, or as they are ready.

    Raises:
        OutOfMemoryError: if worker processes die.
        ZeroshotError: if `shared` cannot be sent to them; if there is no scheduler at the address,
            it has no workers, or these have other versions, or several threads.
    """
    if scheduler is not None:
        if items:
            yield from _on_a_cluster(task, shared, items, scheduler, in_order, lower)
        return
    workers = min(workers, len(items))
    if workers < 2:
        for item in items:
            yield _on_one_thread(task, shared, *item)
        return
    parallel = _processes(workers, return_as=_kind(in_order), pre_dispatch="2*n_jobs")
    parcel = _Parcel.of(task, shared)
    calls = (delayed(_in_a_process)(parcel, *item) for item in items)
    try:
        with _workers_deaf_to_ctrl_c():
            found = parallel(calls)
        yield from _results(found)
    except BrokenProcessPool as error:
        if "serialize" in str(error):  # it could not read a task, or its result is not readable
            lines = str(error.__cause__ or error).strip('\n"').splitlines()
            raise ZeroshotError(
                f"a worker process and this one cannot read what they send ({lines[-1]}); take one "
                "worker"
            ) from error
        raise OutOfMemoryError(
            f"one of {workers} worker processes has died, most likely for lack of memory: "
            f"lower the workers or {lower}"
        ) from error


@contextmanager
def started(workers: int) -> Iterator[None]:
    """Worker processes, which load what they need meanwhile; `spread` finds them there.

    Loading PyTorch takes as long as ranking some networks: let this process do so at the same time.
    """
    with _workers_deaf_to_ctrl_c():
        found = _processes(workers, return_as="generator_unordered", pre_dispatch="all")(
            delayed(_load)() for _ in range(workers)
        )
    try:
        yield
    finally:
        # To the end: loky's thread stumbles over tasks that are taken back before they are sent.
        with suppress(Exception):  # whatever ails these processes, `spread` has met
            for _ in found:
                pass


def _load() -> None:
    """A process's first task."""
    gc.disable()
    import_module("zeroshot.worker")
    gc.enable()
    _settle()


def _results(found: Any) -> Generator[Any, None, None]:
    """What joblib yields. Whoever stops early knows that the rest goes to waste."""
    try:
        for result in found:  # noqa: UP028 - closed below, and not before
            yield result
    finally:
        _close(found)


def _close(found: Any) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\d+ tasks ", UserWarning)
        found.close()


def _kind(in_order: bool) -> str:
    return "generator" if in_order else "generator_unordered"


def _processes(workers: int, **options: Any) -> Parallel:
    """Processes whatever joblib is configured to take: threads would share PyTorch's switches."""
    return Parallel(n_jobs=workers, backend="loky", **options)


@dataclass(frozen=True)
class _Parcel:
    """What all tasks have in common, for processes that may have started before it was imported.

    Attributes:
        data: pickled here once.
        path: where modules are found here.
    """

    data: bytes
    path: tuple[str, ...]

    @classmethod
    def of(cls, *held: object) -> "_Parcel":
        try:
            return cls(bytes(dumps(held)), tuple(sys.path))
        except Exception as error:  # what is sent may be the caller's own
            raise ZeroshotError(
                f"what worker processes need cannot be pickled ({in_a_line(error)}); take one "
                "worker"
            ) from error

    def opened(self) -> Any:
        sys.path += [folder for folder in self.path if folder not in sys.path]
        try:
            return pickle.loads(self.data)
        except Exception as error:  # a module of the caller's own may raise anything
            raise ZeroshotError(
                f"a worker process cannot load what it needs ({in_a_line(error)}): modules of your "
                "own must be importable there; or take one worker"
            ) from error


def _in_a_process(parcel: _Parcel, *args: Any) -> Any:
    """A task in a process that does nothing else."""
    _settle()
    task, shared = parcel.opened()
    result = _on_one_thread(task, shared, *args)
    malloc.give_back()
    return result


@cache
def _settle() -> None:
    """Let a process that does nothing but score go on without what takes time there, or too long.

    It ends where the process that asked for it was killed, not when loky has waited five minutes.
    The collector of garbage goes through all that PyTorch has loaded. loky ends a process that has
    grown by 300 MB, as one does that has scored a large network, and the next one loads PyTorch
    again.
    """
    import torch  # noqa: F401 - most of what is loaded

    threading.Thread(target=_leave_after, args=(os.getppid(),), daemon=True).start()
    gc.freeze()
    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize  # pyright: ignore
    malloc.hold()


def _leave_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(ORPHANED)
    os._exit(1)


def _on_one_thread(task: Callable[..., T], *args: Any) -> T:
    """Sums of floating-point numbers depend on how many threads share them."""
    import torch  # here, so that processes can be started before this one has loaded it

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return task(*args)
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _workers_deaf_to_ctrl_c() -> Iterator[None]:
    """Processes started here do not hear it: this one does, and ends them without their noise."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# -- dask ------------------------------------------------------------------------------------------


def _on_a_cluster(
    task: Callable[..., T],
    shared: object,
    items: Sequence[tuple[Any, ...]],
    scheduler: Any,
    in_order: bool,
    lower: str,
) -> Generator[T, None, None]:
    with connected(scheduler) as client:
        from distributed import CancelledError
        from distributed.scheduler import KilledWorker

        _check_workers(client)
        address = client.scheduler.address
        with warnings.catch_warnings():
            # It is large: that is why it is sent only once.
            warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
            # As a task of its own, and not scattered, it is made again where a worker has died.
            sent = client.submit(_same, shared, pure=False)
        try:
            # joblib would wait for ever for what a scheduler cannot read.
            client.submit(_arrived, task, sent, *items[0], pure=False).result()
        except Exception as error:
            raise ZeroshotError(
                f"the cluster of {address} cannot take the work ({in_a_line(error)}): modules of "
                "your own must be importable by its scheduler and its workers"
            ) from error
        backend = _backend(client)
        ahead = max(AHEAD, 10 * len(client.nthreads()))  # for workers that join later, too
        parallel = Parallel(
            n_jobs=-1, backend=backend, return_as=_kind(in_order), pre_dispatch=str(ahead)
        )
        call = delayed(partial(_on_the_same_versions, versions()))
        try:
            yield from _results(parallel(call(task, sent, *item) for item in items))
        except KilledWorker as error:
            raise OutOfMemoryError(
                "several workers of the cluster have died over the same network, most likely for "
                f"lack of memory: give them more, or lower {lower}"
            ) from error
        except (CancelledError, OSError) as error:
            raise ZeroshotError(
                f"the scheduler {address} is gone; start it again, then repeat the command"
            ) from error
        finally:
            sent.release()


def _backend(client: Any) -> Any:
    """The backend for dask; as joblib has it, it leaves one worker's work to this process."""
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(2, super().effective_n_jobs(n_jobs))

    return Backend(client=client)


def _same(shared: T) -> T:
    return shared


def _arrived(*_: Any) -> None:
    """A task that needs what all others need."""


@contextmanager
def connected(scheduler: Any) -> Iterator[Any]:
    """A client of a dask scheduler, by its address; a client given stays open.

    Raises:
        ZeroshotError: if dask is not installed, or nothing answers at the address.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise ZeroshotError(
            "a scheduler needs dask, which is not installed: pip install 'zeroshot-nas[dask]'"
        ) from error
    if isinstance(scheduler, Client):
        yield scheduler
        return
    try:
        client = Client(str(scheduler), timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise ZeroshotError(
            f"no dask scheduler answers at {scheduler} within {PATIENCE:g} s "
            f"({in_a_line(error)}); start one with `dask scheduler`, and give the address that it "
            "prints, as tcp://HOST:8786"
        ) from error
    with _quietly("distributed.client"), client:
        yield client


@contextmanager
def _quietly(name: str) -> Iterator[None]:
    """What a logger tells at length, when a scheduler is gone, this package tells in a line."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def versions() -> dict[str, str]:
    """What has to be the same everywhere, for digits depend on it."""
    import torch

    return {"zeroshot": zeroshot.__version__, "torch": torch.__version__}


def _check_workers(client: Any) -> None:
    """Refuse a cluster without workers, or with workers that would compute something else."""
    from distributed import TimeoutError as NoneInTime

    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except NoneInTime as error:
        raise ZeroshotError(
            f"no worker has joined {client.scheduler.address} within {PATIENCE:g} s; start some: "
            f"dask worker {client.scheduler.address} --nworkers -1 --nthreads 1"
        ) from error
    for address, threads in client.nthreads().items():
        if threads != 1:
            raise ZeroshotError(
                f"the worker {address} has {threads} threads; start workers with --nthreads 1, and "
                "as many as there are cores: a process scores one network at a time"
            )
    try:
        found = client.run(versions)
    except Exception as error:  # a worker may lack anything
        raise ZeroshotError(
            f"a worker of {client.scheduler.address} cannot run zeroshot ({in_a_line(error)}); "
            "install the same environment everywhere"
        ) from error
    for address, there in found.items():
        _check_versions(there, versions(), address)


def _check_versions(there: dict[str, str], here: dict[str, str], address: str) -> None:
    for name, version in here.items():
        if there[name] != version:
            raise ZeroshotError(
                f"the worker {address} has {name} {there[name]}, this process {version}: scores "
                "would differ; install the same environment everywhere"
            )


def _on_the_same_versions(wanted: dict[str, str], task: Callable[..., T], *args: Any) -> T:
    """A task for a worker that may have joined after the others were looked at."""
    from distributed import get_worker

    _check_versions(versions(), wanted, get_worker().address)
    return _on_one_thread(task, *args)
