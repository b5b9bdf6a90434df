"""The library calls behind the commands, with the same names and defaults."""

import json
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from joblib import cpu_count
from torch import nn

from zeroshot import measure, ranking
from zeroshot.core import Batch, Net, Proxy
from zeroshot.data import load_batch
from zeroshot.errors import ZeroshotError, check_seed, real, whole
from zeroshot.eval.tables import read_table, record_path
from zeroshot.models import (
    Device,
    default_ensemble,
    find_device,
    find_members,
    find_model,
    find_proxies,
    find_space,
    refining_ensemble,
    reshaped,
    space_of,
)
from zeroshot.proxies import PROXIES
from zeroshot.pruning import DRAWS, Pruned, Pruning
from zeroshot.ranking import ENSEMBLES, Ensemble, proxies_of
from zeroshot.run import (
    Outcome,
    Progress,
    Run,
    check_identity,
    check_out,
    device_name,
    execute,
    formula_of,
    read_identity,
    write,
    writing,
)
from zeroshot.scoring import Scores, evaluate
from zeroshot.search.candidates import MANY, Chosen, Limits, choose, list_archs, read_archs
from zeroshot.spaces import SPACES, Arch, Space, Task
from zeroshot.store import Selection, Setting, Store

if TYPE_CHECKING:
    from zeroshot.eval.truth import Truth

SAMPLE = 100  # architectures that are ranked, if nothing else is asked for
TIMED = 10  # of the best that are fast enough, before timing stops
BETTER = {proxy.name: proxy.better for proxy in PROXIES}


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


@dataclass(frozen=True, eq=False)
class Validation:
    """What `validate` found.

    Attributes:
        table: one row per proxy, ensemble and baseline; see `zeroshot.eval.validate`.
        verdict: the same in sentences, the advice first; see `zeroshot.eval.verdict`.
        report: the page that was written, if a folder was given.
        quantity: what the accuracies are called where they are from.
    """

    table: pd.DataFrame
    verdict: tuple[str, ...]
    report: Path | None
    quantity: str = "accuracy"

    def __repr__(self) -> str:
        return f"<Validation of {len(self.table)} rankings: {self.verdict[0]}>"


@dataclass(frozen=True, eq=False)
class Check:
    """What `check_store` found.

    Attributes:
        damage: what SQLite finds wrong with the file.
        scores: one row per score that was computed again: `setting`, `arch`, `seed`, `proxy`,
            `stored`, `now` and whether they are the `same`, to the last digit.
        skipped: why networks of a setting cannot be scored again, by its number.
    """

    damage: list[str]
    scores: pd.DataFrame
    skipped: dict[int, str]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damage and bool(self.scores["same"].all())


@dataclass(frozen=True, eq=False)
class Advice:
    """What `advise` found.

    Attributes:
        table: one row per proxy and baseline; see `zeroshot.eval.advise`.
        verdict: the same in sentences, the advice first; see `zeroshot.eval.verdict.advice`.
        scores: columns `arch`, `seed`, then one per proxy, raw values.
        record: how they came about.
        report: the page that was written, if a folder was given.
    """

    table: pd.DataFrame
    verdict: tuple[str, ...]
    scores: pd.DataFrame
    record: dict[str, Any]
    report: Path | None


def score(
    models: str | nn.Module | Net | Sequence[str | nn.Module | Net],
    *,
    proxies: str | Proxy | Iterable[str | Proxy] = "all",
    data: str | Batch = "noise",
    batch_size: int = 64,
    size: int | None = None,
    init: str = "default",
    seed: int = 0,
    device: Device = "auto",
) -> dict[str, Scores]:
    """Score networks, one after the other.

    Args:
        models: 'nasbench201:13714' (or its string), 'torchvision:resnet18',
            'package.module:factory', or a module; one or several.
        proxies: names, comma-separated or as a tuple; 'all'; 'package.module:MY_PROXY'.
        data: what they are shown, or a batch of your own; see `load_batch`.
        batch_size: number of samples.
        size: of the images; by default the space's own, or 32.
        init: initialisation, a name of `zeroshot.initial.INITS`. A module given is left as it is.
        seed: of weights, batch and all draws.
        device: auto, cpu, cuda or cuda:i. A module given stays where it is.

    Returns:
        Scores by model, in the order given.

    Raises:
        ZeroshotError: for a model, proxy, data or device that is not there or not usable.
    """
    wanted = find_proxies(proxies)
    where = find_device(device)
    several = [models] if isinstance(models, (str, nn.Module, Net)) else models
    if not isinstance(several, Collection) or not len(several):
        raise ZeroshotError(f"models {models!r}: expected a name, a module, or a list of these")
    for what, number in (("batch_size", batch_size), ("size", size)):
        if number is not None:
            whole(what, number)
    check_seed(seed)
    _check_data(data)
    found: dict[str, Scores] = {}
    for number, model in enumerate(several):
        home = space_of(model) if isinstance(model, str) else None
        task = find_space(home[0]).task if home else Task()
        task = task if size is None else replace(task, size=size)
        batch, task = load_batch(data, batch_size=batch_size, task=task, seed=seed)
        if not isinstance(model, (str, nn.Module, Net)):
            raise ZeroshotError(f"model {model!r}: expected a name or a torch.nn.Module")
        if isinstance(model, str):
            name, net = model, find_model(model, task, init=init, seed=seed, device=where)
        else:
            net = model if isinstance(model, Net) else Net(model, seed=seed)
            name = f"{number}: {type(net.module).__name__}"
        found[name] = evaluate(net, batch, wanted)
    return found


def rank(
    space: str | Space,
    *,
    sample: int | None = SAMPLE,
    archs: str | Path | Sequence[str | int | Arch] | None = None,
    arch: str = "{arch}",
    proxies: str | Proxy | Iterable[str | Proxy] | None = None,
    by: str | Ensemble | None = None,
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
    progress: Progress | None = None,
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
            `zeroshot.search.candidates.choose`, and `notes`.
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
        out: a .csv or .parquet file. The same call goes on where it was interrupted. The best are
            kept beside it, in a file with 'refined' in its name.
        progress: called with the numbers of networks done and in all.

    Returns:
        The order, the table and the record.

    Raises:
        ZeroshotError: for anything that is not there, malformed or not to be written, for all of a
            space of more than a million, or if nothing can be ordered; for limits on latency and
            for `refine`, which need an order, too.
    """
    if isinstance(space, str):
        space = find_space(space)
    _check_space(space)
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
    _check_data(data)
    workers = _workers(workers, where)
    wanted: tuple[Proxy, ...] = () if proxies is None else find_proxies(proxies)
    timed = latency or max_latency is not None
    ordered = by is not None or not wanted or timed or refine > 0  # else a table was asked for
    if by is None:
        by = default_ensemble(space)
        if wanted and set(find_members(by)[0].members) - {proxy.name for proxy in wanted}:
            by = wanted[0].name
    if not wanted:
        by, wanted = find_members(by)
    ensemble = ranking.find(by, tuple(proxy.name for proxy in wanted))
    batch, task = load_batch(data, batch_size=batch_size, task=space.task, seed=seed)
    notes: tuple[str, ...] = ()
    if archs is None:
        if sample is not None and MANY >= space.size <= sample:
            sample = None
        generator = np.random.default_rng(seed)
        drawn = choose(full, task, sample=sample, limits=limits, rng=generator)
        chosen, notes = drawn.archs, _told(drawn)
    elif isinstance(archs, (str, Path)):
        chosen = read_archs(space, Path(archs), arch)
    else:
        chosen = list_archs(space, archs)
    run = Run(
        space=space,
        archs=tuple(arch for arch in chosen if archs is None or limits.admit(full, arch, task)),
        batch=batch,
        proxies=wanted,
        seeds=tuple(range(seed, seed + repeats)),
        task=task,
        data=data if isinstance(data, str) else "given",
        init=init,
        device=where,
        data_seed=seed if isinstance(data, str) else None,
    )
    if not run.archs:
        raise ZeroshotError(f"no architecture of {archs} has at most {limits}; raise the limits")
    path = None if out is None else Path(out)
    kept = None if store is None else Path(store)
    outcome: Outcome = execute(
        run,
        path,
        store=kept,
        workers=workers,
        scheduler=scheduler,
        progress=progress or _silent,
    )
    better = {proxy.name: proxy.better for proxy in wanted}
    order = ranking.rank(outcome.scores, by, better)
    notes += _gaps(order, ensemble, outcome, path or kept, needed=ordered)
    times = None
    if timed:
        rated = order.dropna().index
        enough = len(rated) if latency else refine or TIMED
        limit = math.inf if max_latency is None else max_latency
        beside = path and path.with_name(f"{path.stem}.latency{path.suffix}")
        times = _Timing(full, task, where).of(rated, limit, enough, beside)
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
            out=path and path.with_name(f"{path.stem}.refined{path.suffix}"),
            progress=progress,
        )
        found = replace(found, refined=refined)
    return found


def validate(
    scores: str | Path | Sequence[str | Path] | pd.DataFrame | Ranking,
    truth: str | Path | Sequence[str | Path] | pd.Series,
    *,
    column: str | None = None,
    arch: str = "{arch}",
    lower_is_better: bool = False,
    benchmark_path: str | Path | None = None,
    trust: bool = False,
    by: str | Ensemble | Sequence[str | Ensemble] | None = None,
    out: str | Path | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Validation:
    """Check a ranking against accuracies that others measured.

    Args:
        scores: what `rank` returned, or its table, or its file; the table alone does not tell what
            the proxies cost. Several files of one setting, with other proxies, architectures or
            seeds, are put together; see `zeroshot.eval.recorded`.
        truth: 'nb201', 'torchvision', another benchmark, 'BENCHMARK/DATASET', or a file with a
            column `arch`; several of these, which have to agree; or accuracies indexed by
            architecture. Architectures may be spelt in any way that their space reads.
        column: of the file, if it has several of numbers.
        arch: how the file spells an architecture, its columns in braces: "{normal}, {reduce}".
        lower_is_better: the truth is of losses or latencies.
        benchmark_path: where the benchmark's own files lie, for those that need them.
        trust: whether code that these files ask for may run. Most need none.
        by: ensembles of your own to compare too: expressions of the proxies, files that hold one,
            or values. Their names must be new.
        out: folder for validation.csv, plots and report.html; nothing is written without.
        resamples: of the bootstrap, at least 100.
        seed: of the bootstrap, at least 0.

    Returns:
        The table, what it says in words, and where the report is.

    Raises:
        ZeroshotError: if a file is damaged, or scores and accuracies have too little in common.
    """
    # Here, because statistics and plots take longer to load than some rankings take.
    from zeroshot.eval.plots import quantity
    from zeroshot.eval.recorded import read_recorded
    from zeroshot.eval.report import write_report
    from zeroshot.eval.validate import validate as compare
    from zeroshot.eval.verdict import verdict

    record: dict[str, Any] = {}
    if isinstance(scores, Ranking):
        record, scores = scores.record, scores.scores
    files = [scores] if isinstance(scores, (str, Path)) else scores
    some = isinstance(files, pd.DataFrame) or (isinstance(files, (list, tuple)) and files)
    if not some:
        raise ZeroshotError(f"scores {scores!r}: expected a ranking, its table or its files")
    source = truth
    if not isinstance(source, pd.Series):
        source = _truth(truth, column, arch, lower_is_better, benchmark_path, trust)
        lower_is_better = source.negated
    elif column is not None:
        raise ZeroshotError(
            f"column {column!r} is for files, and the truth is one column; leave it out"
        )
    if whole("seed", seed) < 0:
        raise ZeroshotError(f"seed {seed}: expected a whole number, at least 0")
    if isinstance(files, pd.DataFrame):
        scores = files
    else:
        scores, record = read_recorded([Path(file) for file in files])
    proxies_of(scores)  # says what is wrong, if it is no table of scores
    if isinstance(source, pd.Series):
        known = -source if lower_is_better else source
    else:
        record = {"truth": str(source)} | record
        known = source.read(list(scores["arch"].unique()), _respelling(_space_of(scores)))
    scores = _with_baselines(scores)
    given: dict[str, Any] = {
        "better": _better(record),
        "ensembles": _with_own(by, proxies_of(scores)),
        "lower_is_better": lower_is_better,
    }
    table = compare(scores, known, resamples=resamples, seed=seed, record=record, **given)
    report = None
    if out is not None:
        report = write_report(Path(out), table, scores, known, record, **given)
    return Validation(table, verdict(table), report, quantity(known))


def advise(
    space: str | Space,
    *,
    sample: int = 50,
    proxies: str | Proxy | Iterable[str | Proxy] = "all",
    data: str | Batch = "noise",
    batch_size: int = 64,
    seed: int = 0,
    repeats: int = 3,
    init: str = "default",
    small: bool = False,
    workers: int | None = None,
    device: Device = "auto",
    store: str | Path | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Advice:
    """Tell which proxies are worth computing in a space, from networks without accuracies.

    Args:
        space: its name, or a space of your own.
        sample: how many architectures, at random. A smaller space is taken whole.
        proxies: what to look at: names, comma-separated or as a tuple; 'all';
            'package.module:MY_PROXY'. Parameters, multiply-adds and depth are added to them, to
            compare with; they are counted without a network.
        data: what the networks are shown, or a batch of your own; see `load_batch`.
        batch_size: number of samples.
        seed: of sample, batch, weights and all draws.
        repeats: how many initialisations; their seeds follow `seed`. One tells nothing of how
            stable the proxies are.
        init: initialisation, a name of `zeroshot.initial.INITS`.
        small: smaller networks, for spaces that have such a shape. What the proxies cost is then
            told of these.
        workers: processes; by default one per core, and on CUDA one per GPU.
        device: auto, cpu, cuda or cuda:i.
        store: a file of scores: what is there is not computed again, what is computed is added.
        out: folder for advice.csv, advice.html, scores.csv and its record; the same call goes on
            where it was interrupted. Nothing is written without.
        progress: called with the numbers of networks done and in all.

    Returns:
        The table, what it says in words, the scores and their record, and where the page is.

    Raises:
        ZeroshotError: for anything that is not there, malformed or not to be written, and for
            fewer than 3 architectures.
    """
    from zeroshot.eval.advise import LEAST
    from zeroshot.eval.advise import advise as examine
    from zeroshot.eval.compare import BASELINES
    from zeroshot.eval.report import write_advice
    from zeroshot.eval.verdict import advice as advised

    if whole("sample", sample) < LEAST:
        raise ZeroshotError(f"a sample of {sample}; expected at least {LEAST} architectures")
    wanted = find_proxies(proxies)
    names = {proxy.name for proxy in wanted}
    added = (proxy for proxy in PROXIES if proxy.name in BASELINES and proxy.name not in names)
    folder = None if out is None else Path(out)
    if folder is not None:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
    found = rank(
        space,
        sample=sample,
        proxies=(*wanted, *added),
        data=data,
        batch_size=batch_size,
        seed=seed,
        repeats=repeats,
        init=init,
        small=small,
        workers=workers,
        device=device,
        store=store,
        out=None if folder is None else folder / "scores.csv",
        progress=progress,
    )
    better = _better(found.record)
    table = examine(found.scores, better=better, record=found.record)
    report = None
    if folder is not None:
        report = write_advice(folder, table, found.scores, found.record, better=better)
    return Advice(table, advised(table), found.scores, found.record, report)


def prune(
    space: str | Space,
    *,
    criterion: str = "te_nas",
    method: str = "prune",
    fidelity: str = "fast",
    finalists: int = 1,
    by: str | None = None,
    data: str = "noise",
    seed: int = 0,
    workers: int | None = None,
    scheduler: Any = None,
    device: Device = "auto",
    store: str | Path | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    truth: str | Path | Sequence[str | Path] | None = None,
    column: str | None = None,
    arch: str = "{arch}",
    lower_is_better: bool = False,
    benchmark_path: str | Path | None = None,
    trust: bool = False,
    progress: Progress | None = None,
) -> Pruned:
    """Prune a supernet to a single-path network without training.

    Args:
        space: its name, or a space of your own whose axes can be mixed.
        criterion: what tells the importance of an option: 'te_nas' (κ and linear regions), or a
            proxy, an ensemble or an expression of proxies.
        method: 'prune' as in TE-NAS, or 'perturb' as in ZC-PT; see `zeroshot.pruning.METHODS`.
        fidelity: 'fast', 'paper' or 'official'; see `zeroshot.pruning.FIDELITIES`.
        finalists: pruning stops when at most so many networks are left, which are then ranked as
            networks of their own, in the space's small shape: all once, the best once more.
        by: what ranks them, as for `rank`; by default the ensemble `az_nas`, or `log_rank` for
            spaces whose networks name no blocks.
        data: what the supernets are shown; see `load_batch`.
        seed: of weights, batches and crops.
        workers: processes; by default one per core, and on CUDA one per GPU.
        scheduler: of a dask cluster that is to do the work instead of processes here: its address,
            as 'tcp://host:8786', or a `distributed.Client`.
        device: auto, cpu, cuda or cuda:i.
        store: a file of scores, for those of the finalists, as for `rank`.
        out: folder for architecture.json, history.csv, pruning.png and record.json, and for a
            checkpoint after every round.
        resume: go on with the unfinished run in `out`.
        truth: accuracies, as for `validate`; the record then says that of the network and its rank.
        column: of the file, if it has several of numbers.
        arch: how the file spells an architecture, as for `validate`.
        lower_is_better: the file is of losses or latencies.
        benchmark_path: where the benchmark's own files lie, for those that need them.
        trust: whether code that these files ask for may run. Most need none.
        progress: called with the numbers of options measured and in all.

    Returns:
        The network, the history and the record.

    Raises:
        ZeroshotError: for a space that cannot be pruned, or a folder of another run.
    """
    space = find_space(space) if isinstance(space, str) else space
    _check_space(space)
    whole("finalists", finalists)
    check_seed(seed, 1 if finalists == 1 else 1 + DRAWS)
    source = accuracies = None
    if truth is not None:
        source = _truth(truth, column, arch, lower_is_better, benchmark_path, trust)
        # What is wrong with it is said before the work. A surrogate has to be asked something.
        accuracies = source.read([space.spell(space.at(0))], _respelling(space))
    where = find_device(device)
    by = by or refining_ensemble(space)
    pruning = Pruning(space, criterion, method, fidelity, finalists, by, data, seed, where)
    path = None if out is None else Path(out)
    workers = _workers(workers, where)
    kept = None if store is None else Path(store)
    found = pruning.run(
        path,
        resume=resume,
        store=kept,
        workers=workers,
        scheduler=scheduler,
        progress=progress or _silent,
    )
    if source is not None and accuracies is not None:
        if found.name not in accuracies.index:
            accuracies = source.read([found.name], _respelling(space))
        own = float(accuracies.get(found.name, float("nan")))
        better = int(accuracies.gt(own).sum())
        found.record["accuracy"] = own
        found.record["rank"] = None if own != own else better + 1
        found.record["of"] = int(accuracies.notna().sum())
    if path is not None:
        found.write(path, space, seed)
    return found


def export_store(
    store: str | Path,
    number: int,
    out: str | Path,
    *,
    proxies: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (),
) -> Outcome:
    """Write scores of a store as a table, with the record that `validate` reads.

    Args:
        store: the file.
        number: of the setting; see `Store.settings`.
        out: a .csv or .parquet file, which must not be there.
        proxies: names, or numbers as `Store.formulas` tells them; by default all.
        seeds: by default all. Architectures that lack a score of one are left out.

    Raises:
        ZeroshotError: for what is not there, or a file that is.
    """
    out = Path(out)
    check_out(out)
    for path in (out, record_path(out)):
        if path.exists():
            raise ZeroshotError(f"{path} is there already; choose another --out")
    with Store(Path(store), create=False) as kept:
        outcome = Outcome(*kept.export(number, proxies, seeds))
    write(outcome, out)
    return outcome


def selected(
    *, space: str | None = None, before: str | None = None, outdated: bool = False
) -> Selection:
    """A selection of scores to delete; see `zeroshot.store.Selection`.

    Args:
        space: its name, or with its shape.
        before: a date.
        outdated: only those of other editions or settings than the package's proxies have now.
    """
    current = tuple(map(formula_of, PROXIES)) if outdated else None
    return Selection(space, before, current)


def check_store(store: str | Path, *, sample: int = 3, seed: int = 0) -> Check:
    """Check a store: the file, and a sample of its networks, which are scored again.

    These are networks of the package's spaces, shown noise or digits, scored by the package's
    proxies with this version of torch.

    Args:
        store: the file.
        sample: how many networks at most.
        seed: of the sample.

    Raises:
        ZeroshotError: if the file is no store or cannot be read at all.
    """
    check_seed(seed)
    rows: list[dict[str, Any]] = []
    skipped: dict[int, str] = {}
    known = {formula_of(proxy): proxy for proxy in PROXIES}
    with Store(Path(store), create=False) as kept:
        damage = kept.damage()
        runs: dict[int, Run] = {}
        for number in [] if damage else kept.settings()["number"].tolist():
            try:
                runs[number] = _repeated(kept.setting(number))
            except ZeroshotError as error:
                skipped[number] = str(error)
        there = [(number, *key) for number in runs for key in kept.networks(number)]
        order = np.random.default_rng(seed).permutation(len(there))[: max(sample, 0)]
        for number, arch, seed_ in (there[position] for position in order):
            run, key = runs[number], (arch, seed_)
            found = kept.load(run.setting, tuple(known), [key])
            if not found:  # of other editions, all of them
                continue
            stored = found[key].scores
            proxies = tuple(proxy for proxy in PROXIES if proxy.name in stored)
            archs = (run.space.parse(arch),)
            again = replace(run, archs=archs, seeds=(seed_,), proxies=proxies)
            now = execute(again).scores.iloc[0]
            for name, value in stored.items():
                row = {"setting": number, "arch": arch, "seed": seed_, "proxy": name}
                same = value == now[name] or (value != value and now[name] != now[name])
                rows.append({**row, "stored": value, "now": now[name], "same": bool(same)})
    columns = ["setting", "arch", "seed", "proxy", "stored", "now", "same"]
    return Check(damage, pd.DataFrame(rows, columns=columns), skipped)


def _repeated(setting: Setting) -> Run:
    """A run of the same setting, without architectures; ZeroshotError if it cannot be had here."""
    if setting.name not in {space.name for space in SPACES}:
        raise ZeroshotError(f"{setting.name} is no space of this package")
    if setting.data not in ("noise", "digits") or setting.data_seed is None:
        raise ZeroshotError(f"the batch is of {setting.data}, which is not drawn again")
    try:
        space = replace(find_space(setting.name), **json.loads(setting.shape))
    except (ValueError, TypeError) as error:
        raise ZeroshotError(f"{setting.space} cannot be made again: {error}") from error
    size, seed = setting.samples, setting.data_seed
    batch, task = load_batch(setting.data, batch_size=size, task=space.task, seed=seed)
    device = find_device(setting.device)
    given = {"data": setting.data, "init": setting.init, "device": device, "data_seed": seed}
    run = Run(space, (), batch, (), (), task, **given)
    for field, there, here in zip(fields(Setting), setting.key, run.setting.key, strict=False):
        if there != here:
            raise ZeroshotError(f"{field.name} is {there} in the store, and {here} here")
    return run


@dataclass(frozen=True)
class _Timing:
    """What a latency depends on, besides the architecture."""

    space: Space
    task: Task
    device: str

    @property
    def identity(self) -> dict[str, Any]:
        """What must agree for latencies of a file to be of use here."""
        device = device_name(self.device)
        return {"space": repr(self.space), "task": repr(self.task), "device": device}

    def of(self, order: pd.Index, limit: float, enough: int, path: Path | None) -> pd.Series:
        """Milliseconds of architectures, from the best down until `enough` are within the limit.

        What is in the file already is not timed again, for it would come out otherwise: the same
        call has to find the same best.
        """
        known: dict[str, float] = {}
        if path is not None and path.exists():
            check_identity(read_identity(path), self, path)
            table = read_table(path)
            if not {"arch", "latency"} <= set(table.columns):
                raise ZeroshotError(f"{path} has no columns arch and latency; move it away")
            known = dict(zip(table["arch"].astype(str), table["latency"], strict=True))
        found: dict[str, float] = {}
        for arch in map(str, order):
            found[arch] = known[arch] if arch in known else self.latency(arch)
            enough -= found[arch] <= limit
            if not enough:
                break
        times = pd.Series(found, name="latency").rename_axis("arch")
        if path is not None and not known.keys() >= found.keys():
            rest = {arch: took for arch, took in known.items() if arch not in found}
            kept = pd.concat([times, pd.Series(rest, dtype=float)])
            table = kept.rename_axis("arch").rename("latency").reset_index()
            write(Outcome(table, {"run": self.identity}), path)
        if min(found.values()) > limit:
            raise ZeroshotError(
                f"a latency of {limit:g} ms: of {len(found):,} architectures the fastest takes "
                f"{min(found.values()):.3g} ms here; raise the limit"
            )
        return times

    def latency(self, arch: str) -> float:
        """Milliseconds of one, here and now."""
        sample = self.task.inputs(1, torch.Generator().manual_seed(0))
        net = self.space.network(self.space.parse(arch), self.task, device=self.device)
        return 1000 * measure.latency(net, sample)


def _silent(done: int, total: int) -> None:
    """Nobody is told of the progress."""


def _check_space(space: object) -> None:
    if not isinstance(space, Space):
        raise ZeroshotError(f"space {space!r}: expected a name or a zeroshot.Space")


def _check_data(data: object) -> None:
    if not isinstance(data, (str, Batch)):
        raise ZeroshotError(
            f"data of type {type(data).__name__}: expected a name, see `load_batch`, or a "
            "zeroshot.Batch"
        )


def _limit(what: str, given: object) -> float | None:
    return None if given is None else real(what, given)


def _told(chosen: Chosen) -> tuple[str, ...]:
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
    scores = outcome.scores.set_index("arch")[list(ensemble.members)]
    for member, values in scores.items():
        infinite = values.index[np.isinf(values)].nunique()
        if infinite:
            notes.append(
                f"{member} is infinite for {infinite:,} of {len(order):,} architectures, and "
                "ranked as such."
            )
        if len(order) > 1 and values.nunique(dropna=False) == 1:
            notes.append(f"{member} is the same for all {len(order):,} architectures: no say.")
    return tuple(notes)


def _workers(asked: int | None, device: str) -> int:
    """As many as asked for; one per core on the CPU, one per GPU on CUDA."""
    if asked is None:
        gpus = max(1, torch.cuda.device_count()) if device == "cuda" else 1
        return gpus if device.startswith("cuda") else cpu_count()
    if whole("workers", asked) < 1:
        raise ZeroshotError(f"{asked} workers; expected at least 1")
    return asked


def _truth(
    truth: object,
    column: str | None,
    arch: str,
    lower_is_better: bool,
    path: str | Path | None,
    trust: bool,
) -> "Truth":
    from zeroshot.eval.truth import Truth

    specs = tuple(truth) if isinstance(truth, (list, tuple)) else (truth,)
    if not all(isinstance(spec, (str, Path)) for spec in specs):
        found = f"a {type(truth).__name__}" if isinstance(truth, pd.DataFrame) else repr(truth)
        raise ZeroshotError(
            f"truth {found}: expected a benchmark, a file, or accuracies indexed by architecture"
        )
    files = None if path is None else Path(path)
    better = "lower" if lower_is_better else "higher"
    return Truth(tuple(map(str, specs)), column, files, trust, arch, better)


def _with_own(
    by: str | Ensemble | Sequence[str | Ensemble] | None, columns: tuple[str, ...]
) -> tuple[Ensemble, ...]:
    """The ensembles there are, and the user's own; ZeroshotError where one takes another's name."""
    asked = [by] if isinstance(by, (str, Ensemble)) else list(by or ())
    listed = {each.name: each for each in (*ENSEMBLES, *map(ranking.single, columns))}
    for number, each in enumerate(asked):
        if each in asked[:number]:
            continue
        own = ranking.find(each, columns)
        if listed.setdefault(own.name, own) != own:
            raise ZeroshotError(
                f"by {str(each)!r}: there is a proxy or an ensemble {own.name!r} already; rename "
                "the file, or what it is that you name so"
            )
    return tuple(each for name, each in listed.items() if name not in columns)


def _respelling(space: Space | None) -> Callable[[str], str] | None:
    """Any notation that a space reads, as it spells it."""
    return None if space is None else lambda text: space.spell(space.parse(text))


def _better(record: dict[str, Any]) -> dict[str, str]:
    """The direction of every proxy, the user's own as the record tells."""
    told = record.get("run")
    better = told.get("better") if isinstance(told, dict) else None
    return BETTER | (better if isinstance(better, dict) else {})


def _with_baselines(scores: pd.DataFrame) -> pd.DataFrame:
    """Add params, flops and depth, for the space's own networks, if the architectures tell it."""
    from zeroshot.eval.compare import BASELINES

    missing = [name for name in BASELINES if name not in scores.columns]
    space = _space_of(scores) if missing else None
    if space is None:
        return scores
    costs = {text: space.cost(space.parse(text)) for text in scores["arch"].unique()}
    formulas = {proxy.name: proxy.formula for proxy in PROXIES}
    added = {
        name: [float(formulas[name](costs[arch])) for arch in scores["arch"]] for name in missing
    }
    return scores.assign(**added)


def _space_of(scores: pd.DataFrame) -> Space | None:
    """The space that reads every architecture of a table; a bare number belongs to any."""
    for space in SPACES:
        try:
            parsed = [space.parse(text) for text in scores["arch"].unique() if not text.isdigit()]
        except ZeroshotError:
            continue
        if len(parsed) == scores["arch"].nunique():
            return space
    return None
