"""Score many architectures: resumable, in parallel, isomorphic ones once."""

import json
import math
import platform
import shlex
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import BrokenProcessPool

import zeroshot
from zeroshot.core import Batch, Pass, Proxy
from zeroshot.errors import OutOfMemoryError, ZeroshotError, in_a_line
from zeroshot.eval.tables import read_scores
from zeroshot.initial import INITS
from zeroshot.passes import Census
from zeroshot.ranking import KEYS
from zeroshot.scoring import evaluate
from zeroshot.spaces.space import Arch, Space, Task

T = TypeVar("T")
Progress = Callable[[int, int], None]  # networks done, networks in all


@dataclass(frozen=True, eq=False)
class Run:
    """Everything that the scores of a run depend on.

    Attributes:
        space: with its network shape.
        archs: in the order of the table's rows.
        batch: what every network is shown; `data` and `data_seed` say where it came from.
        proxies: one column each.
        seeds: one row per architecture and seed.
        task: what the networks accept and answer.
        init: name of the initialisation.
        device: where the networks run.
    """

    space: Space
    archs: tuple[Arch, ...]
    batch: Batch
    proxies: tuple[Proxy, ...]
    seeds: tuple[int, ...]
    task: Task
    data: str = "noise"
    init: str = "default"
    device: str = "cpu"

    def __post_init__(self) -> None:
        names = [proxy.name for proxy in self.proxies]
        for name, count in Counter(names).items():
            if count > 1:
                raise ZeroshotError(f"two proxies are called {name!r}; give one another name")
            if name in KEYS:
                raise ZeroshotError(f"a proxy is called {name!r}, as is a column; rename it")
        if self.init not in INITS:
            raise ZeroshotError(
                f"unknown initialisation {self.init!r}; there are {', '.join(INITS)}"
            )

    @property
    def identity(self) -> dict[str, Any]:
        """What must agree for two files to be of the same run."""
        spelled = "\n".join(map(self.space.spell, self.archs))
        return {
            "zeroshot": zeroshot.__version__,
            "torch": torch.__version__,
            "space": repr(self.space),
            "seeds": list(self.seeds),
            "proxies": {proxy.name: [repr(need) for need in proxy.needs] for proxy in self.proxies},
            "better": {proxy.name: proxy.better for proxy in self.proxies},
            "data": self.data,
            "batch": f"{len(self.batch)} ({self.batch.hash})",
            "task": repr(self.task),
            "init": self.init,
            "device": self.device.split(":")[0],
            "architectures": f"{len(self.archs)} ({sha256(spelled.encode()).hexdigest()[:12]})",
        }

    @property
    def structural(self) -> tuple[Proxy, ...]:
        """The proxies that need nothing but the cost, which isomorphic architectures differ in."""
        return tuple(proxy for proxy in self.proxies if set(proxy.needs) <= {Census()})

    @property
    def measured(self) -> tuple[Proxy, ...]:
        """The proxies that need the network."""
        return tuple(proxy for proxy in self.proxies if not set(proxy.needs) <= {Census()})

    @property
    def stand_ins(self) -> dict[Arch, Arch]:
        """What is built for each architecture: one for all that compute the same function.

        A proxy that mixes the cost with what the network does tells them apart: each is built then.
        """
        mixed = any(Census() in _needed(proxy.needs) for proxy in self.measured)
        return {arch: arch if mixed else self.space.canonical(arch) for arch in self.archs}

    @property
    def units(self) -> list[tuple[Arch, int]]:
        """The networks to score: one per class of isomorphic architectures and seed."""
        if not self.measured:
            return []
        unique = dict.fromkeys(self.stand_ins.values())
        return [(arch, seed) for arch in unique for seed in self.seeds]


@dataclass(frozen=True, eq=False)
class Outcome:
    """A finished run: its table and its record."""

    scores: pd.DataFrame
    record: dict[str, Any]


def execute(
    run: Run,
    out: Path | None = None,
    *,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> Outcome:
    """Score every network of a run that has not been scored yet.

    Each network runs on one thread, so that the number of workers cannot change a digit. With
    `out`, finished networks are kept in `<out>.partial` as they come: the same call after any kind
    of interruption goes on from there. Table and record (`<out>.json`) appear together at the end.

    Args:
        run: what to score.
        out: a .csv or .parquet file; its folder must exist.
        workers: processes; for CUDA 1 is best.
        progress: called after every network.

    Returns:
        The table (`arch`, `seed`, then one column per proxy) and the record.

    Raises:
        ZeroshotError: if `out` belongs to another run or cannot be written, or memory runs out.
    """
    if out is None:
        return _outcome(run, None, workers, progress)
    _check_out(out)
    if out.exists():
        return _finished(run, out)
    with locked(out):
        if out.exists():  # another process has finished it meanwhile
            return _finished(run, out)
        if record_path(out).exists():
            check_identity(_read_identity(out), run, record_path(out))
        with _Journal(run, out) as journal:
            try:
                outcome = _outcome(run, journal, workers, progress)
            except OutOfMemoryError as error:
                kept = f"; {journal.kept} networks are kept in {journal.path}"
                raise OutOfMemoryError(f"{error}{kept if journal.kept else ''}") from error
            with writing(out, journal.kept):
                record = json.dumps(outcome.record, indent=2) + "\n"
                replace_file(
                    record_path(out), lambda part: part.write_text(record, encoding="utf-8")
                )
                replace_file(out, lambda part: _write_table(outcome.scores, part))
        journal.path.unlink(missing_ok=True)
    return outcome


def record_path(out: Path) -> Path:
    """Where the run record of a table lies."""
    return out.with_name(out.name + ".json")


# -- scoring ---------------------------------------------------------------------------------------

_Key = tuple[str, int]  # spelled architecture, seed
_Row = dict[str, Any]  # scores, reasons, seconds, and an error if the network could not be scored


def _outcome(run: Run, journal: "_Journal | None", workers: int, progress: Progress) -> Outcome:
    started = time.time()
    done = journal.done if journal else {}
    units = run.units
    todo = [unit for unit in units if (run.space.spell(unit[0]), unit[1]) not in done]
    if units:
        progress(len(done), len(units))
    for arch, seed, row in _scored(run, todo, workers):
        done[run.space.spell(arch), seed] = row
        if journal and "error" not in row:  # what failed is tried again by the next call
            journal.add(run.space.spell(arch), seed, row)
        progress(len(done), len(units))
    if units and all("error" in row for row in done.values()):
        first = next(iter(done.values()))["error"]
        raise ZeroshotError(f"none of {len(units)} networks could be scored: {first}")
    rows: list[dict[str, Any]] = []
    reasons: dict[str, Counter[str]] = {}
    for arch, stand_in in run.stand_ins.items():
        own, silent = _structure(run, arch)
        for name, reason in silent.items():
            reasons.setdefault(name, Counter())[reason] += 1
        for seed in run.seeds:
            found = own | (done[run.space.spell(stand_in), seed]["scores"] if units else {})
            rows.append(
                {"arch": run.space.spell(arch), "seed": seed}
                | {proxy.name: found[proxy.name] for proxy in run.proxies}
            )
    record = _record(run, done, reasons, len(rows), time.time() - started, workers)
    return Outcome(pd.DataFrame(rows), record)


def _structure(run: Run, arch: Arch) -> tuple[dict[str, float], dict[str, str]]:
    """What the cost alone tells of an architecture; NaN with a reason where it cannot be told."""
    if not run.structural:
        return {}, {}
    names = [proxy.name for proxy in run.structural]
    try:
        cost = run.space.cost(arch, run.task)
        return {p.name: float(p.formula(*(cost for _ in p.needs))) for p in run.structural}, {}
    except Exception as error:  # a builder or formula of the user's own may raise anything
        return dict.fromkeys(names, math.nan), dict.fromkeys(names, in_a_line(error))


def _scored(
    run: Run, units: Sequence[tuple[Arch, int]], workers: int
) -> Iterator[tuple[Arch, int, _Row]]:
    light = Run(
        run.space, (), run.batch, run.measured, (), run.task, init=run.init, device=run.device
    )  # without the list of all architectures, which would travel with every task
    tasks = [partial(_score_one, light, arch, seed) for arch, seed in units]
    return spread(tasks, workers, f"the batch size ({len(run.batch)})")


def spread(
    tasks: Sequence[Callable[[], T]], workers: int, lower: str, *, in_order: bool = False
) -> Iterator[T]:
    """Results of tasks, each computed on one thread; `lower` is what else would save memory.

    With one worker they run here, one after the other, with more in so many processes.
    """
    workers = min(workers, len(tasks))
    if workers < 2:
        yield from map(_on_one_thread, tasks)
        return
    kind = "generator" if in_order else "generator_unordered"
    parallel = Parallel(n_jobs=workers, return_as=kind, pre_dispatch="2*n_jobs")
    try:
        with _workers_deaf_to_ctrl_c():
            found = cast(Iterator[T], parallel(delayed(_on_one_thread)(task) for task in tasks))
        yield from found
    except BrokenProcessPool as error:
        raise OutOfMemoryError(
            f"one of {workers} worker processes has died, most likely for lack of memory: "
            f"lower the workers or {lower}"
        ) from error


def _on_one_thread(task: Callable[[], T]) -> T:
    """Sums of floating-point numbers depend on how many threads share them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return task()
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


def _score_one(run: Run, arch: Arch, seed: int) -> tuple[Arch, int, _Row]:
    try:
        net = run.space.network(arch, run.task, init=run.init, seed=seed, device=run.device)
        scores = evaluate(net, run.batch, run.proxies)
    except OutOfMemoryError:
        raise
    except Exception as error:  # this network alone cannot be scored; the others can
        words = in_a_line(error)
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in words:
            raise OutOfMemoryError(
                f"out of memory while {run.space.spell(arch)} was built: lower the workers, or "
                "take a smaller network"
            ) from error
        names = [proxy.name for proxy in run.proxies]
        silent = dict.fromkeys(names, math.nan), dict.fromkeys(names, words)
        return (
            arch,
            seed,
            {"scores": silent[0], "reasons": silent[1], "seconds": {}, "error": words},
        )
    row = {"scores": scores.found, "reasons": scores.reasons, "seconds": scores.seconds}
    return arch, seed, row


def _needed(passes: Sequence[Pass[Any]]) -> set[Pass[Any]]:
    """Passes, those that they need, and so on."""
    return set(passes).union(*(_needed(wanted.needs) for wanted in passes))


def _passes(run: Run) -> dict[str, list[str]]:
    """All that ran for each proxy, passes that it shares with others among them."""
    planned = _needed([need for proxy in run.measured for need in proxy.needs])

    def ran(wanted: Pass[Any]) -> set[str]:
        wanted = wanted.instead if wanted.instead in planned else wanted
        return {repr(wanted)}.union(*map(ran, wanted.needs))

    passes = {proxy.name: set[str]().union(*map(ran, proxy.needs)) for proxy in run.measured}
    return {proxy.name: sorted(passes.get(proxy.name, ())) for proxy in run.proxies}


def _record(
    run: Run,
    done: dict[_Key, _Row],
    reasons: dict[str, Counter[str]],
    rows: int,
    elapsed: float,
    workers: int,
) -> dict[str, Any]:
    seconds: Counter[str] = Counter()
    for row in done.values():
        seconds.update(row["seconds"])
        for name, reason in row["reasons"].items():
            reasons.setdefault(name, Counter())[reason] += 1
    return {
        "command": shlex.join(sys.argv),
        "run": run.identity,
        "rows": rows,
        "networks scored": len(done),
        "not a number": {name: dict(found) for name, found in reasons.items()},
        "passes": _passes(run),
        "seconds per pass": {name: round(value, 3) for name, value in seconds.most_common()},
        "seconds in this session": round(elapsed, 3),
        "workers": workers,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "pandas": pd.__version__,
        },
        "machine": {
            "system": platform.platform(),
            "device": device_name(run.device),
        },
    }


def device_name(device: str) -> str:
    """The GPU's name, or the processor's kind and how many threads."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


# -- files -----------------------------------------------------------------------------------------


class _Journal:
    """Finished networks, one JSON line each, behind a first line that says of which run.

    Every line is handed to the system at once: what is in the file outlives the process.
    """

    def __init__(self, run: Run, out: Path) -> None:
        self.out = out
        self.path = out.with_name(out.name + ".partial")
        self.done: dict[_Key, _Row] = {}
        self.names = {proxy.name for proxy in run.measured}
        whole = 0
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            lines = []
        except OSError as error:
            raise ZeroshotError(f"{self.path} cannot be read: {error.strerror}") from error
        complete = lines[:-1]  # what follows the last newline was cut off in the middle
        if complete:
            self._check_same(complete[0], run)
            for number, line in enumerate(complete[1:], start=2):
                self._take(line, number)
            whole = sum(len(line) + 1 for line in complete)
        self.kept = len(self.done)  # lines in the file
        with writing(out, self.kept):
            self.file = self.path.open("ab", buffering=0)
            self.file.truncate(whole)
            if not whole:
                self._write(run.identity)

    def __enter__(self) -> "_Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def add(self, arch: str, seed: int, row: _Row) -> None:
        with writing(self.out, self.kept):
            self._write({"arch": arch, "seed": seed, **row})
        self.kept += 1

    def _write(self, value: dict[str, Any]) -> None:
        rest = json.dumps(value).encode() + b"\n"
        while rest:  # a disk that is nearly full takes a part
            rest = rest[self.file.write(rest) :]

    def _take(self, line: bytes, number: int) -> None:
        try:
            row = json.loads(line)
            key = str(row.pop("arch")), int(row.pop("seed"))
            whole = set(row["scores"]) == self.names and row["reasons"].keys() <= self.names
            if not whole or not all(isinstance(x, float) for x in row["scores"].values()):
                raise ValueError("not the scores of this run")
            Counter(row["seconds"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ZeroshotError(
                f"{self.path}, line {number} is damaged; delete that line to score it again"
            ) from error
        self.done[key] = row

    def _check_same(self, head: bytes, run: Run) -> None:
        try:
            identity = json.loads(head)
        except ValueError as error:
            raise ZeroshotError(f"{self.path} is no unfinished run; move it away") from error
        check_identity(identity, run, self.path)


@runtime_checkable
class _Identified(Protocol):
    @property
    def identity(self) -> dict[str, Any]: ...


def check_identity(found: Any, run: _Identified, path: Path) -> None:
    """Refuse a file of another run, naming what differs."""
    wanted = json.loads(json.dumps(run.identity))
    found = found if isinstance(found, dict) else {}
    for key, value in wanted.items():
        if found.get(key) != value:
            there, here = _short(found.get(key), value), _short(value, found.get(key))
            raise ZeroshotError(
                f"{path} belongs to another run: there, {key} is {there}, now it is {here}; "
                "choose another --out, or move that file away"
            )


def _short(value: Any, other: Any) -> str:
    """A value in a few words; of a dictionary the names, or what differs if these agree."""
    if isinstance(value, dict):
        same = isinstance(other, dict) and value.keys() == other.keys()
        value = {k: v for k, v in value.items() if v != other[k]} if same else ", ".join(value)
    text = str(value)
    return text if len(text) < 60 else text[:57] + "..."


def _check_out(out: Path) -> None:
    if out.suffix not in (".csv", ".parquet"):
        raise ZeroshotError(f"--out {out}: expected a name that ends in .csv or .parquet")
    if not out.parent.is_dir():
        raise ZeroshotError(f"--out {out}: the folder {out.parent} does not exist; create it first")


def _read_identity(out: Path) -> Any:
    """Of which run a table is, by the record beside it."""
    try:
        return json.loads(record_path(out).read_text(encoding="utf-8"))["run"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ZeroshotError(
            f"{record_path(out)} does not tell of which run {out} is; "
            "choose another --out, or move both away"
        ) from error


def _finished(run: Run, out: Path) -> Outcome:
    """Read what an earlier call finished, if it is this run."""
    check_identity(_read_identity(out), run, out)
    scores = read_scores(out)
    expected = [(run.space.spell(arch), seed) for arch in run.archs for seed in run.seeds]
    rows = list(zip(scores["arch"], scores["seed"], strict=True))
    columns = [*KEYS, *(proxy.name for proxy in run.proxies)]
    if rows != expected or list(scores.columns) != columns:
        raise ZeroshotError(
            f"{out} has other rows or columns than its record says; move that file away"
        )
    return Outcome(scores, json.loads(record_path(out).read_text(encoding="utf-8")))


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other processes from writing the same file meanwhile."""
    lock = FileLock(f"{out}.lock")
    with writing(out):
        Path(lock.lock_file).open("ab").close()  # else an unwritable folder looks like a held lock
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ZeroshotError(
                f"another process is writing {out}; wait for it or choose another --out"
            ) from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


@contextmanager
def writing(out: Path, kept: int = 0) -> Iterator[None]:
    """Turn an error of the file system into one line that says what is kept."""
    try:
        yield
    except OSError as error:
        kept_words = f"; {kept} networks are kept in {out}.partial" if kept else ""
        raise ZeroshotError(
            f"{out} cannot be written: {error.strerror or error}{kept_words}; "
            "make room or choose another --out, then repeat the command"
        ) from error


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file so that it appears whole or not at all."""
    part = path.with_name(path.name + ".tmp")
    try:
        write(part)
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _write_table(table: pd.DataFrame, path: Path) -> None:
    if path.name.endswith(".csv.tmp"):
        table.to_csv(path, index=False, lineterminator="\n")
    else:
        table.to_parquet(path, index=False)
