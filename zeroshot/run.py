"""Score many architectures: resumable, in parallel, isomorphic ones once."""

import json
import math
import platform
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout
from joblib import Parallel, delayed

import zeroshot
from zeroshot.core import Batch, Proxy
from zeroshot.errors import OutOfMemoryError, ZeroshotError
from zeroshot.eval.tables import read_scores
from zeroshot.passes import Census
from zeroshot.scoring import Scores, evaluate
from zeroshot.spaces.space import Arch, Space, Task

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
            "task": list(self.task),
            "init": self.init,
            "device": self.device.split(":")[0],
            "architectures": f"{len(self.archs)} ({sha256(spelled.encode()).hexdigest()[:12]})",
        }

    @property
    def units(self) -> list[tuple[Arch, int]]:
        """The networks to score: one per class of isomorphic architectures and seed."""
        unique = dict.fromkeys(map(self.space.canonical, self.archs))
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
        return _outcome(run, {}, run.units, None, workers, progress)
    _check_out(out)
    if out.exists():
        return _finished(run, out)
    with _locked(out), _Journal(run, out) as journal:
        done = journal.done
        outcome = _outcome(run, done, run.units, journal, workers, progress)
        with _writing(out, len(done)):
            _write_table(outcome.scores, out)
            _write_text(json.dumps(outcome.record, indent=2) + "\n", record_path(out))
    journal.path.unlink()
    return outcome


def record_path(out: Path) -> Path:
    """Where the run record of a table lies."""
    return out.with_name(out.name + ".json")


# -- scoring ---------------------------------------------------------------------------------------

_Key = tuple[str, int]  # spelled canonical architecture, seed


def _outcome(
    run: Run,
    done: dict[_Key, dict[str, Any]],
    units: list[tuple[Arch, int]],
    journal: "_Journal | None",
    workers: int,
    progress: Progress,
) -> Outcome:
    structural = {p.name for p in run.proxies if set(p.needs) <= {Census()}}
    measured = tuple(p for p in run.proxies if p.name not in structural)
    started = time.time()
    if measured:
        todo = [unit for unit in units if _key(run.space, unit) not in done]
        progress(len(units) - len(todo), len(units))
        for arch, seed, scores in _scored(run, todo, measured, workers):
            row = {"scores": scores.found, "reasons": scores.reasons, "seconds": scores.seconds}
            done[run.space.spell(arch), seed] = row
            if journal:
                journal.add(run.space.spell(arch), seed, row)
            progress(len(done), len(units))
    rows = []
    for arch in run.archs:
        cost = run.space.cost(arch, run.task)
        own = {
            p.name: float(p.formula(*(cost for _ in p.needs)))
            for p in run.proxies
            if p.name in structural
        }
        canonical = run.space.spell(run.space.canonical(arch))
        for seed in run.seeds:
            found = {**own, **(done[canonical, seed]["scores"] if measured else {})}
            rows.append(
                {"arch": run.space.spell(arch), "seed": seed}
                | {proxy.name: found[proxy.name] for proxy in run.proxies}
            )
    return Outcome(pd.DataFrame(rows), _record(run, done, rows, time.time() - started, workers))


def _scored(
    run: Run, units: Sequence[tuple[Arch, int]], proxies: tuple[Proxy, ...], workers: int
) -> Iterator[tuple[Arch, int, Scores]]:
    if workers == 1:
        for arch, seed in units:
            yield _score_one(run, proxies, arch, seed)
        return
    parallel = Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch="2*n_jobs")
    light = Run(
        run.space, (), run.batch, (), (), run.task, init=run.init, device=run.device
    )  # without the list of all architectures, which would travel with every task
    tasks = (delayed(_score_one)(light, proxies, arch, seed) for arch, seed in units)
    yield from cast(Iterator[tuple[Arch, int, Scores]], parallel(tasks))


def _score_one(
    run: Run, proxies: tuple[Proxy, ...], arch: Arch, seed: int
) -> tuple[Arch, int, Scores]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        net = run.space.network(arch, run.task, init=run.init, seed=seed, device=run.device)
        return arch, seed, evaluate(net, run.batch, proxies)
    except OutOfMemoryError:
        raise
    except ZeroshotError as error:  # this network alone cannot be scored; the others can
        names = [proxy.name for proxy in proxies]
        scores = Scores(dict.fromkeys(names, math.nan), dict.fromkeys(names, str(error)), {})
        return arch, seed, scores
    finally:
        torch.set_num_threads(threads)


def _key(space: Space, unit: tuple[Arch, int]) -> _Key:
    return space.spell(unit[0]), unit[1]


def _record(
    run: Run,
    done: dict[_Key, dict[str, Any]],
    rows: list[dict[str, Any]],
    elapsed: float,
    workers: int,
) -> dict[str, Any]:
    seconds: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {}
    for row in done.values():
        seconds.update(row["seconds"])
        for name, reason in row["reasons"].items():
            reasons.setdefault(name, Counter())[reason] += 1
    return {
        "command": shlex.join(sys.argv),
        "run": run.identity,
        "rows": len(rows),
        "networks scored": len(done),
        "not a number": {name: dict(found) for name, found in reasons.items()},
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
            "device": _device_name(run.device),
        },
    }


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


# -- files -----------------------------------------------------------------------------------------


class _Journal:
    """Finished networks, one JSON line each, behind a first line that says of which run."""

    def __init__(self, run: Run, out: Path) -> None:
        self.path = out.with_name(out.name + ".partial")
        self.done: dict[_Key, dict[str, Any]] = {}
        head = json.dumps(run.identity)
        whole = b""
        if self.path.exists():
            lines = self.path.read_bytes().split(b"\n")
            complete = lines[:-1]  # what follows the last newline was cut off in the middle
            if complete:
                self._check_same(complete[0], run)
                for number, line in enumerate(complete[1:], start=2):
                    self._take(line, number)
                whole = b"\n".join(complete) + b"\n"
        with _writing(out, len(self.done)):
            if self.path.exists() and whole:
                with self.path.open("r+b") as file:
                    file.truncate(len(whole))
            self.file = self.path.open("ab")
            if not whole:
                self.file.truncate(0)
                self.file.write(head.encode() + b"\n")
                self.file.flush()
        self.out = out

    def __enter__(self) -> "_Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def add(self, arch: str, seed: int, row: dict[str, Any]) -> None:
        with _writing(self.out, len(self.done)):
            self.file.write(json.dumps({"arch": arch, "seed": seed, **row}).encode() + b"\n")
            self.file.flush()

    def _take(self, line: bytes, number: int) -> None:
        try:
            row = json.loads(line)
            self.done[row.pop("arch"), row.pop("seed")] = row
        except (ValueError, KeyError, AttributeError) as error:
            raise ZeroshotError(
                f"{self.path}, line {number} is damaged; delete that line to score it again"
            ) from error

    def _check_same(self, head: bytes, run: Run) -> None:
        try:
            identity = json.loads(head)
        except ValueError as error:
            raise ZeroshotError(f"{self.path} is no unfinished run; move it away") from error
        _check_identity(identity, run, self.path)


def _check_identity(found: Any, run: Run, path: Path) -> None:
    wanted = json.loads(json.dumps(run.identity))
    found = found if isinstance(found, dict) else {}
    for key, value in wanted.items():
        if found.get(key) != value:
            raise ZeroshotError(
                f"{path} belongs to another run: its {key} is {_short(found.get(key))}, now it is "
                f"{_short(value)}; choose another --out, or move that file away"
            )


def _short(value: Any) -> str:
    text = ", ".join(value) if isinstance(value, dict) else str(value)
    return text if len(text) < 60 else text[:57] + "..."


def _check_out(out: Path) -> None:
    if out.suffix not in (".csv", ".parquet"):
        raise ZeroshotError(f"--out {out}: expected a name that ends in .csv or .parquet")
    if not out.parent.is_dir():
        raise ZeroshotError(f"--out {out}: the folder {out.parent} does not exist; create it first")


def _finished(run: Run, out: Path) -> Outcome:
    """Read what an earlier call finished, if it is this run."""
    try:
        record = json.loads(record_path(out).read_text())
        identity = record["run"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ZeroshotError(
            f"{out} exists, and {record_path(out)} does not tell of which run; "
            "choose another --out, or move that file away"
        ) from error
    _check_identity(identity, run, out)
    scores = read_scores(out)
    expected = [(run.space.spell(arch), seed) for arch in run.archs for seed in run.seeds]
    if list(zip(scores["arch"], scores["seed"], strict=True)) != expected:
        raise ZeroshotError(f"{out} has other rows than its record says; move that file away")
    return Outcome(scores, record)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    lock = FileLock(f"{out}.lock")
    with _writing(out, 0):
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
def _writing(out: Path, kept: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kept_words = f"; {kept} networks are kept in {out}.partial" if kept else ""
        raise ZeroshotError(
            f"{out} cannot be written: {error.strerror or error}{kept_words}; "
            "make room or choose another --out, then repeat the command"
        ) from error


def _write_table(table: pd.DataFrame, out: Path) -> None:
    part = out.with_name(out.name + ".tmp")
    if out.suffix == ".csv":
        table.to_csv(part, index=False, lineterminator="\n")
    else:
        table.to_parquet(part, index=False)
    part.replace(out)


def _write_text(text: str, path: Path) -> None:
    part = path.with_name(path.name + ".tmp")
    part.write_text(text)
    part.replace(path)
