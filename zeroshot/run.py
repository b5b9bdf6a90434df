"""Score many architectures: resumable, in parallel, isomorphic ones once."""

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import zeroshot
from zeroshot.core import Batch, Pass, Proxy, closure, planned
from zeroshot.errors import OutOfMemoryError, ZeroshotError, in_a_line
from zeroshot.eval.tables import read_scores
from zeroshot.files import (
    check_out,
    locked,
    record_path,
    replace_file,
    write_json,
    write_table,
    writing,
)
from zeroshot.initial import INITS
from zeroshot.passes import Census
from zeroshot.progress import Progress, silent
from zeroshot.ranking import KEYS
from zeroshot.record import check_identity, circumstances, read_identity
from zeroshot.searches.search import Search
from zeroshot.spaces.space import Arch, Space, Task
from zeroshot.spread import spread
from zeroshot.store import Formula, Kept, Key, Setting, Store, remove
from zeroshot.store.kept import facts
from zeroshot.worker import Work


@dataclass(frozen=True, eq=False)
class Run:
    """Everything that the scores of a run depend on.

    Attributes:
        space: with its network shape.
        archs: in the order of the table's rows; those that a search starts with.
        batch: what every network is shown; `data` and `data_seed` say where it came from.
        proxies: one column each.
        seeds: one row per architecture and seed.
        task: what the networks accept and answer.
        init: name of the initialisation.
        device: where the networks run; 'cuda' is all GPUs that there are.
        data_seed: what the batch was drawn by, if it was drawn.
        search: what more is scored, as scores come; nothing without.
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
    data_seed: int | None = None
    search: Search | None = None

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
        digest = _digest(map(self.space.spell, self.archs))
        return {
            "zeroshot": zeroshot.__version__,
            "torch": torch.__version__,
            "space": repr(self.space),
            **({} if self.search is None else self.search.identity),
            "seeds": list(self.seeds),
            "proxies": {proxy.name: [repr(need) for need in proxy.needs] for proxy in self.proxies},
            "formulas": {proxy.name: proxy.edition for proxy in self.proxies},
            "better": {proxy.name: proxy.better for proxy in self.proxies},
            "code": self.setting.code,
            "data": self.data,
            "batch": f"{len(self.batch)} ({self.batch.hash})",
            "task": repr(self.task),
            "init": self.init,
            "device": self.device.split(":")[0],
            "architectures": f"{len(self.archs)} ({digest})",
        }

    @property
    def setting(self) -> Setting:
        """What the scores of all its networks depend on; the key of them in a store."""
        shape = {field.name: getattr(self.space, field.name) for field in fields(self.space)}
        plain = {name: x for name, x in shape.items() if isinstance(x, (bool, int, float, str))}
        return Setting(
            space=repr(self.space),
            code=self.space.code(type(self.task), self.batch.loss),
            task=repr(self.task),
            batch=self.batch.hash,
            init=self.init,
            device=self.device.split(":")[0],
            torch=torch.__version__,
            name=spelled(self.space),
            shape=json.dumps(plain),
            data=self.data,
            data_seed=self.data_seed,
            samples=len(self.batch),
        )

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
        mixed = any(Census() in closure(proxy.needs) for proxy in self.measured)
        return {arch: arch if mixed else self.space.canonical(arch) for arch in self.archs}

    @property
    def units(self) -> list[tuple[Arch, int]]:
        """The networks to score: one per class of isomorphic architectures and seed."""
        if not self.measured:
            return []
        unique = dict.fromkeys(self.stand_ins.values())
        return [(arch, seed) for arch in unique for seed in self.seeds]


def spelled(space: Space) -> str:
    """How `find_space` finds a space again."""
    own = type(space)
    known = own.__module__.startswith("zeroshot.spaces.")
    return space.name if known else f"{own.__module__}:{own.__qualname__}"


def formula_of(proxy: Proxy) -> Formula:
    """A proxy as a store knows it."""
    needs, passes = (
        [repr(wanted) for wanted in held] for held in (proxy.needs, closure(proxy.needs))
    )
    return Formula(
        proxy.name, json.dumps(needs), proxy.edition, proxy.better, json.dumps(sorted(passes))
    )


@dataclass(frozen=True, eq=False)
class Outcome:
    """A finished run: its table and its record."""

    scores: pd.DataFrame
    record: dict[str, Any]


def execute(
    run: Run,
    out: Path | None = None,
    *,
    store: Path | None = None,
    workers: int = 1,
    scheduler: Any = None,
    progress: Progress = silent,
) -> Outcome:
    """Score every network of a run that has not been scored yet.

    Each network runs on one thread, so that the number of workers cannot change a digit. Finished
    networks are kept as they come, in `store`, or else, with `out`, in `<out>.partial`: the same
    call after any kind of interruption goes on from there. Table and record (`<out>.json`) appear
    together at the end.

    Args:
        run: what to score.
        out: a .csv or .parquet file; its folder must exist.
        store: a file of scores, which is looked up and added to; made if it is not there. It is not
            opened if `out` is finished.
        workers: processes; for CUDA one for each GPU is best.
        scheduler: of a dask cluster that is to do the work instead: its address, or a client.
        progress: called after every network.

    Returns:
        The table (`arch`, `seed`, then one column per proxy) and the record.

    Raises:
        ZeroshotError: if `out` belongs to another run or cannot be written, if the store is damaged
            or none, or if memory runs out.
    """
    if out is None:
        with _keeping(run, None, store) as kept, _telling_what_is_kept(kept):
            return _outcome(run, kept, store is not None, workers, scheduler, progress)
    check_out(out)
    if out.exists():
        return _finished(run, out)
    with locked(out):
        if out.exists():  # another process has finished it meanwhile
            return _finished(run, out)
        if record_path(out).exists():
            check_identity(read_identity(out), run.identity, record_path(out))
        with _keeping(run, out, store) as kept, _telling_what_is_kept(kept):
            outcome = _outcome(run, kept, store is not None, workers, scheduler, progress)
            write(outcome, out, _where(kept))
    return outcome


@contextmanager
def _keeping(run: Run, out: Path | None, store: Path | None) -> Iterator[Store | None]:
    """The store given, or one of the run's own beside `out`, which goes when all is done."""
    if store is not None:
        with Store(store) as kept:
            yield kept
    elif out is None:
        yield None
    else:
        path = out.with_name(out.name + ".partial")
        with Store(path) as kept:
            if kept.owner is None:
                kept.claim(run.identity)
            check_identity(kept.owner, run.identity, path)
            yield kept
        remove(path)


@contextmanager
def _telling_what_is_kept(store: Store | None) -> Iterator[None]:
    """If memory runs out, the error's line says so."""
    try:
        yield
    except OutOfMemoryError as error:
        raise OutOfMemoryError(f"{error}{_where(store)}") from error


def _where(store: Store | None) -> str:
    """What is kept so far, as the end of an error's line."""
    return f"; {store.kept} networks are kept in {store.path}" if store and store.kept else ""


# -- scoring ---------------------------------------------------------------------------------------


def _outcome(
    run: Run, store: Store | None, shared: bool, workers: int, scheduler: Any, progress: Progress
) -> Outcome:
    started = time.time()
    better = {proxy.name: proxy.better for proxy in run.proxies}
    every: dict[Key, Kept] = {}
    failed: dict[Key, str] = {}
    reused: Counter[str] = Counter(networks=0, scores=0)
    reasons: dict[str, Counter[str]] = {proxy.name: Counter() for proxy in run.proxies}
    rows: list[dict[str, Any]] = []
    part, archs = run, list[Arch]()
    while part.archs:
        done = _completed(
            part,
            *(store, workers, scheduler),
            progress=_from(len(every), run, progress),
            failed=failed,
            reused=reused,
        )
        every |= done
        if every and len(failed) == len(every):
            first = next(iter(failed.values()))
            raise ZeroshotError(f"none of {len(every)} networks could be scored: {first}")
        rows += _rows(part, done, reasons)
        archs += part.archs
        if run.search is None:
            break
        part = replace(part, archs=run.search.after(archs, pd.DataFrame(rows), better))
    if run.search is not None and len(archs) < run.search.plan.budget:
        progress(len(every), len(every))  # more were expected
    elapsed = time.time() - started
    by = workers if scheduler is None else "those of a dask cluster"
    record = _record(run, list(every.values()), reasons, len(rows), elapsed, by)
    if run.search is not None:
        record["found"] = _digest(map(run.space.spell, archs))
    if store and shared:
        record |= {"store": str(store.path), "from the store": dict(reused)}
    return Outcome(pd.DataFrame(rows), record)


def _from(before: int, run: Run, progress: Progress) -> Callable[[int, int], None]:
    """Tells how many are done besides those before; of a search, of all that it may score."""
    all_ = None if run.search is None else run.search.plan.budget * len(run.seeds)
    return lambda done, total: progress(before + done, all_ or total)


def _completed(
    run: Run,
    store: Store | None,
    workers: int,
    scheduler: Any,
    *,
    progress: Callable[[int, int], None],
    failed: dict[Key, str],
    reused: Counter[str],
) -> dict[Key, Kept]:
    """What there is to know of every network of a run, from the store or computed and added to it.

    Args:
        run: what to score.
        store: where scores are looked up and kept.
        workers: processes.
        scheduler: of a cluster that does the work instead.
        progress: told how many are done, of how many.
        failed: why a network could not be scored at all; these are added.
        reused: networks and scores that were in the store; these are counted.
    """
    units = {(run.space.spell(arch), seed): (arch, seed) for arch, seed in run.units}
    if not units:
        return {}
    setting, formulas = run.setting, tuple(map(formula_of, run.measured))
    held = store.load(setting, formulas, units) if store else {}
    names = {formula.name for formula in formulas}
    done = {key: held[key] for key in units if key in held and held[key].scores.keys() == names}
    todo = [
        (arch, seed, tuple(sorted(names - (held[key].scores.keys() if key in held else set()))))
        for key, (arch, seed) in units.items()
        if key not in done
    ]
    reused.update(networks=len(done), scores=sum(len(kept.scores) for kept in held.values()))
    progress(len(done), len(units))
    with closing(_scored(run, todo, workers, scheduler)) as results:  # at once, when interrupted
        for arch, seed, found, errors in results:
            key = run.space.spell(arch), seed
            if store and found and found.scores:
                store.add(setting, formulas, *key, found)
            # What failed is not kept: the next call tries it again.
            if found is None:  # nothing is told of it, be there a store or not
                errors = dict.fromkeys(names, next(iter(errors.values())))
            silent = Kept(dict.fromkeys(errors, math.nan), errors)
            done[key] = held.get(key, Kept()) | (found or Kept()) | silent
            if len(errors) == len(names):
                failed[key] = next(iter(errors.values()))
            progress(len(done), len(units))
    return {key: done[key] for key in units}


def _rows(
    run: Run, done: Mapping[Key, Kept], reasons: Mapping[str, Counter[str]]
) -> Iterator[dict[str, Any]]:
    """The table's rows of a run; why what needs no network is not a number is counted."""
    for arch, stand_in in run.stand_ins.items():
        own, silent = _structure(run, arch)
        for name, reason in silent.items():
            reasons[name][reason] += 1
        for seed in run.seeds:
            kept = done.get((run.space.spell(stand_in), seed), Kept())
            found = own | kept.scores
            keys = {"arch": run.space.spell(arch), "seed": seed}
            yield keys | {proxy.name: found[proxy.name] for proxy in run.proxies}


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


_Unit = tuple[Arch, int, tuple[str, ...]]  # what is built, its seed, and the proxies it lacks


def _scored(
    run: Run, units: Sequence[_Unit], workers: int, scheduler: Any
) -> Generator[tuple[Arch, int, Kept | None, dict[str, str]], None, None]:
    work = Work(run.space, run.batch, run.measured, run.task, run.init, run.device)
    lower = f"the batch size ({len(run.batch)})"
    items = [(number, *unit) for number, unit in enumerate(units)]
    with closing(spread(Work.score, work, items, workers, lower, scheduler=scheduler)) as results:
        for arch, seed, scores, errors in results:
            if scores is None:
                yield arch, seed, None, errors
            else:
                yield arch, seed, Kept(scores.found, scores.reasons, scores.seconds), errors


def _passes(run: Run) -> dict[str, list[str]]:
    """All that ran for each proxy, passes that it shares with others among them."""
    taken = planned(run.measured)

    def ran(wanted: Pass[Any]) -> set[str]:
        wanted = taken.get(wanted, wanted)
        return {repr(wanted)}.union(*map(ran, wanted.needs))

    passes = {proxy.name: set[str]().union(*map(ran, proxy.needs)) for proxy in run.measured}
    return {proxy.name: sorted(passes.get(proxy.name, ())) for proxy in run.proxies}


def _record(
    run: Run,
    networks: Sequence[Kept],
    reasons: Mapping[str, Mapping[str, int]],
    rows: int,
    elapsed: float,
    workers: int | str,
) -> dict[str, Any]:
    return {
        "run": run.identity,
        "rows": rows,
        **facts(networks, _passes(run), reasons),
        "seconds in this session": round(elapsed, 3),
        "workers": workers,
        **circumstances(run.device),
    }


# -- files -----------------------------------------------------------------------------------------


def write(outcome: Outcome, out: Path, kept: str = "") -> None:
    """Write table and record, each whole or not at all; `kept` is what an error's line adds."""
    with writing(out, kept):
        write_json(record_path(out), outcome.record)
        replace_file(out, lambda part: write_table(outcome.scores, part))


def _finished(run: Run, out: Path) -> Outcome:
    """Read what an earlier call finished, if it is this run."""
    check_identity(read_identity(out), run.identity, out)
    scores = read_scores(out)
    record = json.loads(record_path(out).read_text(encoding="utf-8"))
    archs = [run.space.spell(arch) for arch in run.archs]
    if run.search is not None and record.get("found") == _digest(scores["arch"].unique()):
        archs = list(scores["arch"].unique())
    expected = [(arch, seed) for arch in archs for seed in run.seeds]
    rows = list(zip(scores["arch"], scores["seed"], strict=True))
    columns = [*KEYS, *(proxy.name for proxy in run.proxies)]
    if rows != expected or list(scores.columns) != columns:
        raise ZeroshotError(
            f"{out} has other rows or columns than its record says; move that file away"
        )
    return Outcome(scores, record)


def _digest(names: Iterable[str]) -> str:
    return sha256("\n".join(names).encode()).hexdigest()[:12]
