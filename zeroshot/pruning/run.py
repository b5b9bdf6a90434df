"""Training-free pruning end to end: measure, prune, rank finalists, keep what was found.

`search.prune` decides what goes, `supernets` measures.
"""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import zeroshot
from zeroshot import ranking
from zeroshot.core import Batch, Pass, Proxy
from zeroshot.data import load_batch
from zeroshot.edition import edition
from zeroshot.errors import ZeroshotError
from zeroshot.files import writing
from zeroshot.models import find_members
from zeroshot.passes import TangentKernel
from zeroshot.progress import Progress, silent
from zeroshot.pruning.checkpoint import Checkpoint
from zeroshot.pruning.pruned import Pruned
from zeroshot.record import circumstances
from zeroshot.run import Run, execute
from zeroshot.searches.candidates import MANY
from zeroshot.searches.prune import (
    Candidate,
    Criterion,
    Effect,
    Without,
    by_ensemble,
    networks,
    prune,
    rows_of,
    te_nas,
    to_measure,
)
from zeroshot.spaces.space import Arch, Space, check_axes, shape_of
from zeroshot.spread import spread
from zeroshot.supernets import FIDELITIES, Supernets, forget

SHOWN = 32  # samples that finalists are shown
BEST, DRAWS = 50, 5  # so many finalists are ranked once more, as so many initialisations each
METHODS = {
    "prune": "each round the least important option of every axis goes (TE-NAS)",
    "perturb": "axis by axis, the option stays whose loss hurts most (ZC-PT)",
}


@dataclass(frozen=True)
class Pruning:
    """Everything that the result depends on.

    Attributes:
        space: whose axes can be mixed.
        criterion: 'te_nas' (κ and linear regions), or a proxy, an ensemble or an expression of
            proxies that say something about supernets.
        method: see `METHODS`.
        fidelity: see `FIDELITIES`.
        finalists: pruning stops when at most so many networks are left, which are then ranked.
        by: what ranks them: an ensemble, a proxy or an expression.
        data: what the networks are shown.
        seed: of weights, batches, crops and the order of axes.
        device: where they run.
        chunk: MiB of a tangent kernel's Jacobian that are held at a time, at least a layer's. With
            less, memory is saved and work repeated; it changes no digit, so a run resumes with
            another.
    """

    space: Space
    criterion: str | ranking.Ensemble = "te_nas"
    method: str = "prune"
    fidelity: str = "fast"
    finalists: int = 1
    by: str | ranking.Ensemble = "az_nas"
    data: str = "noise"
    seed: int = 0
    device: str = "cpu"
    chunk: int = 512

    def __post_init__(self) -> None:
        if not self.space.mixable:
            raise ZeroshotError(
                f"{self.space.name} cannot be pruned: options of its axis "
                f"{self.space.axes[0].name!r} cannot be mixed in one network"
            )
        for what, given, known in (
            ("fidelity", self.fidelity, FIDELITIES),
            ("method", self.method, METHODS),
        ):
            if given not in known:
                raise ZeroshotError(f"unknown {what} {given!r}; expected {', '.join(known)}")
        check_axes(self.space.axes, self.space.name)  # a property of its own has not been checked
        if not 1 <= self.finalists <= MANY:
            raise ZeroshotError(f"{self.finalists:,} finalists; expected 1 to {MANY:,}")
        if not 1 <= self.chunk <= 2**20:
            raise ZeroshotError(f"chunk {self.chunk}: expected 1 to 1,048,576 MiB")
        _ = self.judged, self.final  # says what is wrong before anything is measured

    @property
    def judged(self) -> tuple[Criterion, tuple[Proxy, ...]]:
        """The criterion, and the proxies that it needs (and what is reported beside them)."""
        how = FIDELITIES[self.fidelity]
        if self.criterion == "te_nas":
            return te_nas(how.digits), self._bounded((*how.proxies, how.singular))
        ensemble, proxies = find_members(self.criterion)
        better = {proxy.name: proxy.better for proxy in proxies}
        return by_ensemble(ensemble, better), self._bounded(proxies)

    @property
    def supernets(self) -> Supernets:
        """What measures the supernets."""
        how, proxies = FIDELITIES[self.fidelity], self.judged[1]
        return Supernets(self.space.searched, how, proxies, self.data, self.seed, self.device)

    @property
    def final(self) -> tuple[ranking.Ensemble, tuple[Proxy, ...]]:
        """What ranks the finalists, and the proxies that it needs."""
        ensemble, proxies = find_members(self.by)
        return ensemble, self._bounded(proxies)

    def _bounded(self, proxies: Iterable[Proxy]) -> tuple[Proxy, ...]:
        """The same proxies, in as little memory as was asked for."""

        def bounded(need: Pass[Any]) -> Pass[Any]:
            return need.holding(self.chunk * 2**20) if isinstance(need, TangentKernel) else need

        return tuple(replace(p, needs=tuple(map(bounded, p.needs))) for p in proxies)

    @property
    def order(self) -> list[int] | None:
        """In which the axes are decided, if they are decided one by one: as the seed says."""
        if self.method == "prune":
            return None
        return np.random.default_rng(self.seed).permutation(len(self.space.axes)).tolist()

    @cached_property
    def _sample(self) -> Batch:
        """A batch that no supernet is shown; it tells the data from others."""
        return self.supernets.draw("identity").batch

    @property
    def identity(self) -> dict[str, Any]:
        """What must agree for a checkpoint to be of the same run."""
        proxies = (*self.judged[1], *(self.final[1] if self.finalists > 1 else ()))
        batch = self._sample
        return {
            "zeroshot": zeroshot.__version__,
            "torch": torch.__version__,
            "space": repr(self.space),
            "axes": {axis.name: list(axis.options) for axis in self.space.axes},
            "code": self.space.code(type(self.space.task), batch.loss),
            "formulas": {proxy.name: proxy.edition for proxy in proxies},
            "criterion": _spelt_out(self.criterion),
            "method": self.method,
            "fidelity": self.fidelity,
            "settings": repr(FIDELITIES[self.fidelity]),
            "finalists": self.finalists,
            "by": _spelt_out(self.by) if self.finalists > 1 else None,
            "data": self.data,
            "seed": self.seed,
            "device": self.device.split(":")[0],
            "batch": f"{len(batch)} ({batch.hash})",  # last: what it is drawn by is said before
        }

    def run(
        self,
        out: Path | None = None,
        *,
        resume: bool = False,
        store: Path | None = None,
        workers: int = 1,
        scheduler: Any = None,
        progress: Progress = silent,
    ) -> Pruned:
        """Prune, keeping a checkpoint in the folder `out` after every round.

        Args:
            out: the folder; nothing is written without.
            resume: go on with the unfinished run that it holds.
            store: a file of scores, for those of the finalists; see `zeroshot.run.execute`.
            workers: processes; never changes the result.
            scheduler: of a dask cluster that is to do the work instead.
            progress: called with the numbers of options and finalists measured and in all.

        Raises:
            ZeroshotError: if `out` holds another run, or an unfinished one and `resume` is not set,
                or cannot be written, or is not given and `resume` is; or if the criterion says
                nothing about a supernet, the space cannot build one, or has a field that
                architecture.json cannot hold.
        """
        if resume and out is None:
            raise ZeroshotError("--resume goes on with the run in --out: name its folder")
        _ = self._sample  # so that what is wrong with the data is said before anything is measured
        started = time.time()
        finished = None if out is None else self._finished(out)
        resume = resume or finished is not None
        how = {"workers": workers, "scheduler": scheduler, "progress": progress}
        arch, seen = self._pruned(out, resume, **how)
        finalists = self._ranked(arch, out, store=store, **how)
        found = self.space.parse(str(finalists.index[0]))
        if finished is not None:
            record, scores = finished
        else:
            scores = self._scores(found)
            if len(finalists) > 1:
                scores |= {str(name): float(rated) for name, rated in finalists.iloc[0].items()}
            record = {
                "run": self.identity,
                "options measured": len(seen),
                "kernels with an eigenvalue below zero in single precision": sum(
                    candidate.singular for candidate in seen
                ),
                "finalists": len(finalists),
                "workers": workers,
                "seconds in this session": round(time.time() - started, 2),
                **circumstances(self.device),
            }
        table = _table(seen, self.judged[0])
        return Pruned(found, self.space.spell(found), table, finalists, scores, record)

    def _finished(self, out: Path) -> tuple[dict[str, Any], dict[str, float]] | None:
        """Record and scores of this run, if the folder holds the whole of it."""
        try:
            record = json.loads((out / "record.json").read_text(encoding="utf-8"))
            same = record["run"] == json.loads(json.dumps(self.identity))
            found = json.loads((out / "architecture.json").read_text(encoding="utf-8"))
            scores = {str(name): float(score) for name, score in found["scores"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # whatever is there instead is looked at when it is resumed
        return (record, scores) if same and (out / "checkpoint.json").exists() else None

    def _pruned(
        self, out: Path | None, resume: bool, *, workers: int, scheduler: Any, progress: Progress
    ) -> tuple[Arch, list[Candidate]]:
        """The supernet that is left, and what was measured on the way."""
        criterion, supernets = self.judged[0], self.supernets
        start, history = self.space.prunable, list[Candidate]()
        checkpoint = None
        if out is not None:  # what cannot be written is refused before it is measured
            shape_of(self.space)
            checkpoint = Checkpoint(out / "checkpoint.json", self.identity)
            start, history = checkpoint.read(start, criterion, resume=resume)
            with writing(out):
                out.mkdir(parents=True, exist_ok=True)
            if not history:  # so that a run that is stopped in its first round can be resumed
                checkpoint.keep(start, history)
        total = self._to_measure(self.space.prunable)

        def measure(
            arch: Arch, options: Sequence[tuple[int, int]], number: int
        ) -> Iterator[list[Without]]:
            done = total - self._to_measure(arch)
            items = [(arch, *option, number) for option in options]
            progress(done, total)
            found = spread(
                Supernets.repeats,
                *(supernets, items, workers, "the batch"),
                scheduler=scheduler,
                in_order=True,
            )
            with closing(found):  # at once, when interrupted
                for position, repeats in enumerate(found, start=1):
                    progress(done + position, total)
                    yield repeats

        try:
            return prune(
                self.space,
                start,
                measure,
                criterion,
                order=self.order,
                finalists=self.finalists,
                history=history,
                after_round=checkpoint.keep if checkpoint else lambda arch, history: None,
            )
        finally:
            forget()

    def _scores(self, arch: Arch) -> dict[str, float]:
        """What the criterion's proxies say of a single path, as a supernet with nothing else."""
        (scores,) = spread(Supernets.alone, self.supernets, [(arch,)], 1, "the batch")
        scores.pop("singular", None)
        return scores

    def _to_measure(self, arch: Arch) -> int:
        return to_measure(self.space, arch, self.order, self.finalists)

    def _ranked(self, arch: Arch, out: Path | None, **how: Any) -> pd.DataFrame:
        """The networks that are left, ranked in the small shape.

        All are drawn once. How good a network looks is luck in part, and most so for what looks
        best: these are judged by other weights and images.
        """

        def rated(archs: Sequence[Arch], first: int, draws: int, name: str) -> pd.Series:
            ensemble, proxies = self.final
            batch, task = load_batch(self.data, batch_size=SHOWN, task=self.space.task, seed=first)
            run = Run(
                space=self.space.small,
                archs=tuple(archs),
                batch=batch,
                proxies=proxies,
                seeds=tuple(range(first, first + draws)),
                task=task,
                data=self.data,
                device=self.device,
                data_seed=first,
            )
            path = None if out is None else out / f"{name}.csv"
            scores = execute(run, path, **how).scores
            return ranking.rank(scores, ensemble, {proxy.name: proxy.better for proxy in proxies})

        left = tuple(networks(self.space, arch))
        columns = {"rated": float("nan"), "refined": float("nan")}
        if len(left) == 1:
            return pd.DataFrame(columns, pd.Index([self.space.spell(left[0])], name="arch"))
        first = rated(left, self.seed, 1, "finalists")
        best = [self.space.parse(str(name)) for name in first.index[:BEST]]
        again = rated(best, self.seed + 1, DRAWS, "best")
        table = pd.DataFrame({"rated": first, "refined": again})
        return table.loc[[*again.index, *first.index[len(best) :]]]


def _spelt_out(by: str | ranking.Ensemble) -> str:
    """What networks are ranked by, of which a file or code may say something else tomorrow."""
    if isinstance(by, ranking.Ensemble):
        return f"{by.name} of {', '.join(by.members)} ({edition(1, by.combine)})"
    return ranking.saved(by).combine.__name__ if by.endswith(".txt") else by


def _table(history: Sequence[Candidate], criterion: Criterion) -> pd.DataFrame:
    """A row for each candidate; the columns are the same if there is none."""
    effects = {name: Effect(0.0, 0.0, 0.0, 0) for name in criterion.better}
    example = Candidate(0, "", "", effects, singular=0, importance=0.0, dropped=False)
    return pd.DataFrame(rows_of([example, *history])).iloc[1:].reset_index(drop=True)
