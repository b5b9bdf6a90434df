"""Rank the networks of a space."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zeroshot import ranking
from zeroshot.commands.arguments import check_data, check_space, workers_of
from zeroshot.commands.timed import TIMED, Timing
from zeroshot.core import Batch, Proxy
from zeroshot.data import load_batch
from zeroshot.errors import ZeroshotError, check_seed, real, whole
from zeroshot.files import beside, replace_file, write_table, writing
from zeroshot.models import (
    Device,
    default_ensemble,
    find_device,
    find_members,
    find_proxies,
    find_space,
    reshaped,
)
from zeroshot.progress import Progress, telling
from zeroshot.proxies import PROXIES
from zeroshot.pruning import DRAWS
from zeroshot.ranking import Ensemble
from zeroshot.run import Outcome, Run, execute
from zeroshot.searches import SAMPLE
from zeroshot.searches.candidates import MANY, Chosen, Limits, choose, list_archs, read_archs
from zeroshot.searches.search import Plan, Search
from zeroshot.spaces import Arch, Space, Task

SAME_BATCH = (
    "The best were judged once more by other weights, but on the same data: a batch was given."
)


@dataclass(frozen=True, eq=False)
class Ranking:
    """What `rank` found.

    Attributes:
        order: architectures from best to worst, with what they were ordered by.
        members: the proxies that decided.
        scores: columns `arch`, `seed`, then one per proxy, raw values.
        record: how they came about.
        refined: the ranking of the best alone, if they were ranked once more.
        latency: milliseconds of those that were timed, in their order; None if none was.
        max_latency: the limit.
        notes: what there is to know of sample and order, in sentences.
        built: the space whose networks a user would build, which are not small, and their task.
    """

    order: pd.Series
    members: tuple[str, ...]
    scores: pd.DataFrame
    record: dict[str, Any]
    refined: "Ranking | None" = None
    latency: pd.Series | None = None
    max_latency: float | None = None
    notes: tuple[str, ...] = ()
    built: tuple[Space, Task] | None = None

    def __repr__(self) -> str:
        best = "" if self.admitted.empty else f", best first: {', '.join(self.admitted.index[:3])}"
        return f"<Ranking of {len(self.order):,} by {self.order.name}{best}>"

    @property
    def best(self) -> str:
        """The architecture to take; ZeroshotError if nothing orders them."""
        admitted = (self.refined or self).admitted
        if admitted.empty:
            raise ZeroshotError(f"{self.order.name} is undefined for all; order by something else")
        return str(admitted.index[0])

    @property
    def admitted(self) -> pd.Series:
        """The order of those rated and within the limit on latency, if there is one."""
        if self.latency is None or self.max_latency is None:
            return self.order.dropna()
        return self.order[self.latency.index[self.latency <= self.max_latency]]

    def costs(self, top: int = 10) -> pd.DataFrame:
        """What the best weigh: columns `params` and `flops` (multiply-adds), by architecture.

        Of networks as a user would build them, not of small ones, which may have been scored.
        """
        if self.built is None:
            raise ZeroshotError(
                "a ranking that `rank` did not make does not tell what networks weigh"
            )
        space, task = self.built
        best = (self.refined or self).admitted.index[:top]
        found = [space.cost(space.parse(str(arch)), task) for arch in best]
        rows = [(cost.params, cost.macs) for cost in found]
        return pd.DataFrame(rows, index=best, columns=["params", "flops"])


def rank(
    space: str | Space,
    *,
    sample: int | None = SAMPLE,
    archs: str | Path | Sequence[str | int | Arch] | None = None,
    arch: str = "{arch}",
    proxies: str | Proxy | Iterable[str | Proxy] | None = None,
    by: str | Proxy | Ensemble | None = None,
    data: str | Batch = "noise",
    batch_size: int = 64,
    seed: int = 0,
    repeats: int = 1,
    init: str = "default",
    max_params: float | None = None,
    max_flops: float | None = None,
    max_latency: float | None = None,
    latency: bool = False,
    small: bool = False,
    channels: int | None = None,
    cells: int | None = None,
    refine: int = 0,
    workers: int | None = None,
    scheduler: Any = None,
    device: Device = "auto",
    store: str | Path | None = None,
    out: str | Path | None = None,
    progress: Progress | bool | None = None,
    plan: Plan | None = None,
) -> Ranking:
    """Rank architectures of a space without training any.

    Args:
        space: its name, or a space of your own.
        sample: how many architectures, at random; None takes all. A smaller space is taken whole.
        archs: instead of a sample: a file (one per line, or a table with a column `arch`), or a
            list.
        arch: how the file's columns spell one, in braces: "{normal}, {reduce}".
        proxies: what to compute; by default the members of `by`. 'all' is all of them.
        by: what to order by: an ensemble, a proxy or an expression of proxies. By default the
            ensemble `default`, `log_rank` for spaces whose networks name no blocks, `swap` where
            they read tokens, or the first of `proxies`, if these lack one of its members.
        data: what the networks are shown, or a batch of your own; see `load_batch`.
        batch_size: number of samples.
        seed: of sample, batch, weights and all draws.
        repeats: how many initialisations; their seeds follow `seed`. Ranks are averaged.
        init: initialisation, a name of `zeroshot.initial.INITS`.
        max_params: only architectures with at most so many parameters, counted of networks that are
            not `small`. Where few of a large space are, the sample is not uniform; see
            `zeroshot.searches.candidates.choose`, and `notes`.
        max_flops: only architectures with at most so many multiply-adds, counted likewise.
        max_latency: milliseconds that an inference of one sample may take on `device`. Timed after
            the ranking, on networks that are not `small`, from the best down until `TIMED` (or
            `refine`) are fast enough; see `zeroshot.measure.latency`. What was timed is kept beside
            `out`, in a file with 'latency' in its name: columns `arch` and `latency`, in
            milliseconds. The same call takes it from there.
        latency: time all that are rated, one after the other.
        small: smaller networks, which rank almost as well; for spaces that have such a shape.
        channels: width of the networks, for spaces that have it.
        cells: cells per stage, for spaces that have it.
        refine: so many of the best are ranked once more, alone, with other data and `DRAWS` other
            initialisations: what looks best is lucky as well as good.
        workers: processes; by default one per core, and on CUDA one per GPU.
        scheduler: of a dask cluster that is to do the work instead of processes here: its address,
            as 'tcp://host:8786', or a `distributed.Client`.
        device: auto, cpu, cuda or cuda:i.
        store: a file of scores: what is there is not computed again, what is computed is added.
        out: a .csv or .parquet file. The same call goes on where it was interrupted. Beside it lie
            the order, in a file with 'order' in its name, unless proxies alone were asked for; the
            best ranked again in one with 'refined', and latencies in one with 'latency'.
        progress: True shows a bar; a function is called with the numbers of networks done and in
            all.
        plan: how to go on from these architectures as their scores come: a
            `zeroshot.searches.search.Plan`, which `zeroshot.search` makes.

    Returns:
        The order, the table and the record.

    Raises:
        ZeroshotError: for anything that is not there, malformed or not to be written, for all of a
            space of more than a million, or if nothing can be ordered; for limits on latency and
            for `refine`, which need an order, too.
    """
    if isinstance(space, str):
        space = find_space(space)
    check_space(space)
    full = reshaped(space, channels=channels, cells=cells)  # what the user will build
    space = reshaped(space, small=small, channels=channels, cells=cells)
    where = find_device(device)
    for what, number in (("batch_size", batch_size), ("sample", sample)):
        if number is not None:
            whole(what, number)
    if archs is not None and sample not in (None, SAMPLE):
        raise ZeroshotError(f"sample {sample} and archs: expected one of them")
    if whole("repeats", repeats) < 1:
        raise ZeroshotError(f"{repeats} repeats; expected at least 1")
    if whole("refine", refine) < 0 or refine == 1:
        raise ZeroshotError(
            f"refine {refine}: expected 0, or how many of the best to rank again, 2 and more"
        )
    check_seed(seed, repeats + (DRAWS if refine else 0))
    limits = Limits(_limit("max_params", max_params), _limit("max_flops", max_flops))
    max_latency = _limit("max_latency", max_latency)
    path = None if out is None else Path(out)
    kept = None if store is None else Path(store)
    check_data(data)
    workers = workers_of(workers, where)
    wanted: tuple[Proxy, ...] = () if proxies is None else find_proxies(proxies)
    if isinstance(by, Proxy):
        by, wanted = by.name, find_proxies((*wanted, by))
    timed = latency or max_latency is not None
    # Else a table was asked for.
    ordered = by is not None or not wanted or timed or refine > 0 or plan is not None
    by, wanted = _ordering(space, by, wanted)
    ensemble = ranking.find(by, tuple(proxy.name for proxy in wanted))
    batch, task = load_batch(data, batch_size=batch_size, task=space.task, seed=seed)
    notes: tuple[str, ...] = ()
    if small and space == full:
        shape = "has no small shape" if full.small == full else "was given a shape of its own"
        notes += (f"{space.name} {shape}: its networks were scored as they are.",)
    if archs is None:
        drawn = _drawn if plan is None else _begun
        chosen, told_of_it = drawn(full, task, sample, limits, seed)
        notes += told_of_it
    elif isinstance(archs, (str, Path)):
        chosen, doubles = read_archs(space, Path(archs), arch)
        if doubles:
            notes += (f"{archs} names {len(chosen):,} architectures, {doubles:,} more times.",)
    else:
        chosen = list_archs(space, archs)
    within = tuple(arch for arch in chosen if archs is None or limits.admit(full, arch, task))
    if not within:
        raise ZeroshotError(f"no architecture of {archs} has at most {limits}; raise the limits")
    if len(within) < len(chosen):
        left = len(chosen) - len(within)
        notes += (f"{left:,} of the {len(chosen):,} architectures given are beyond the limits.",)
    timing = Timing(full, task, where, path and beside(path, "latency")) if timed else None
    search = None
    if plan is not None:
        search = Search(
            *(plan, ensemble, full, task, limits, int(seed)),
            latency=timing and timing.of,
            max_latency=max_latency,
        )
        within = search.start(within)
    run = Run(
        space=space,
        archs=within,
        batch=batch,
        proxies=wanted,
        seeds=tuple(range(seed, seed + repeats)),
        task=task,
        data=data if isinstance(data, str) else "given",
        init=init,
        device=where,
        data_seed=seed if isinstance(data, str) else None,
        search=search,
    )
    try:
        with telling(progress, "networks") as told:
            outcome: Outcome = execute(
                run, path, store=kept, workers=workers, scheduler=scheduler, progress=told
            )
    finally:  # a search has timed some
        if timing is not None:
            timing.keep()
    better = {proxy.name: proxy.better for proxy in wanted}
    outcome.scores.attrs["better"] = better  # the table alone is ranked and validated as well
    order = ranking.rank(outcome.scores, by, better)
    notes += _gaps(order, ensemble, outcome, path or kept, needed=ordered)
    if path is not None and ordered:
        with writing(path):
            table = order.rename_axis("arch").reset_index()
            replace_file(beside(path, "order"), lambda part: write_table(table, part))
    if search is not None and (count := len(order)) < search.plan.budget:
        within_limits = f" with at most {limits}" if str(limits) else ""
        notes += (
            f"The search ended after {count:,} architectures: it found no others{within_limits}.",
        )
    times = None
    if timing is not None:
        rated = order.dropna().index
        enough = len(rated) if latency else refine or TIMED
        times = timing.best(rated, math.inf if max_latency is None else max_latency, enough)
    found = Ranking(
        order=order,
        members=ensemble.members,
        scores=outcome.scores,
        record=outcome.record,
        latency=times,
        max_latency=max_latency,
        notes=notes,
        built=(full, task),
    )
    if refine:
        if isinstance(data, Batch):
            found = replace(found, notes=(*notes, SAME_BATCH))
        refined = rank(
            space,
            archs=[str(arch) for arch in found.admitted.index[:refine]],
            by=ensemble,
            proxies=tuple(proxy for proxy in wanted if proxy.name in ensemble.members),
            data=data,
            batch_size=batch_size,
            seed=seed + repeats,
            repeats=DRAWS,
            init=init,
            workers=workers,
            scheduler=scheduler,
            device=device,
            store=store,
            out=path and beside(path, "refined"),
            progress=progress,
        )
        found = replace(found, refined=replace(refined, built=(full, task)))
    return found


def _ordering(
    space: Space, by: str | Ensemble | None, wanted: tuple[Proxy, ...]
) -> tuple[str | Ensemble, tuple[Proxy, ...]]:
    """What a space is ordered by, and all proxies: those asked for, and those that it needs."""
    if by is None:
        by = default_ensemble(space)
        if wanted and set(find_members(by)[0].members) - {proxy.name for proxy in wanted}:
            by = wanted[0].name
    return find_members(by) if not wanted else (by, wanted + _lacking(by, wanted))


def _drawn(
    space: Space, task: Task, sample: int | None, limits: Limits, seed: int
) -> tuple[Sequence[Arch], tuple[str, ...]]:
    """A sample of a space, or all of it, and what there is to know of it."""
    whole_of_it = sample is not None and MANY >= space.size <= sample
    given = None if whole_of_it else sample
    found = choose(space, task, sample=given, limits=limits, rng=np.random.default_rng(seed))
    notes = _how_drawn(found)
    if sample not in (None, SAMPLE) and len(found.archs) < sample:
        within = f" with at most {limits}" if str(limits) else ""
        notes += (f"{space.name} has {len(found.archs):,} architectures{within}, not {sample:,}.",)
    return found.archs, notes


def _begun(
    space: Space, task: Task, sample: int | None, limits: Limits, seed: int
) -> tuple[Sequence[Arch], tuple[str, ...]]:
    """What a search begins with, as many as there are; nothing depends on its being a sample."""
    count = min(sample or SAMPLE, space.size)
    rng = np.random.default_rng(seed)
    return choose(space, task, sample=count, limits=limits, rng=rng, least=1).archs, ()


def _lacking(by: str | Ensemble, wanted: tuple[Proxy, ...]) -> tuple[Proxy, ...]:
    """Proxies of the package that an order needs besides those asked for."""
    there = {proxy.name for proxy in wanted}
    ensemble = by if isinstance(by, Ensemble) else ranking.named(by)
    members = (by,) if ensemble is None else ensemble.members
    return tuple(p for p in PROXIES if p.name in members and p.name not in there)


def _limit(what: str, given: object) -> float | None:
    return None if given is None else real(what, given)


def _how_drawn(chosen: Chosen) -> tuple[str, ...]:
    """That a sample is not uniform, if it is not."""
    near = len(chosen.archs) - chosen.uniform
    if not near:
        return ()
    return (
        f"The sample is not uniform: of {chosen.drawn:,} architectures drawn at random, "
        f"{chosen.uniform:,} are within the limits; the other {near:,} were found by mutating "
        "those nearest to them.",
    )


def _gaps(
    order: pd.Series, ensemble: Ensemble, outcome: Outcome, kept: Path | None, *, needed: bool
) -> tuple[str, ...]:
    """What the order does not know or lean on; an error, if `needed` and it knows nothing at all.

    For how many architectures there is nothing to order by, which members are infinite for how
    many, and which are the same for all.
    """
    silent = int(order.isna().sum())
    if silent == len(order) and needed:
        told = outcome.record["not a number"]
        reasons = [reason for member in ensemble.members for reason in told.get(member, {})]
        why = f": {reasons[0]}" if reasons else ""
        saved = f"; the scores are kept in {kept}" if kept else ""
        raise ZeroshotError(
            f"{order.name} is undefined for all {len(order):,} architectures{why}; order --by "
            f"something else{saved}"
        )
    notes = []
    if silent:
        notes.append(f"{order.name} is undefined for {silent:,} of {len(order):,} architectures.")
    constant = ranking.constant(outcome.scores, ensemble.members)
    level = len(order) > 1 and not silent and order.nunique() == 1
    if level and not constant.issuperset(ensemble.members):  # of members that is said below
        notes.append(f"{order.name} is the same for all: this is no order.")
    scores = outcome.scores.set_index("arch")[list(ensemble.members)]
    for member, values in scores.items():
        infinite = values.index[np.isinf(values)].nunique()
        if infinite:
            notes.append(
                f"{member} is infinite for {infinite:,} of {len(order):,} architectures, and "
                "ranked as such."
            )
        if len(order) > 1 and member in constant:
            notes.append(f"{member} is the same for all {len(order):,} architectures: no say.")
    return tuple(notes)
