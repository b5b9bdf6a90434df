"""Search a space."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zeroshot.commands.ranked import Ranking, rank
from zeroshot.core import Batch, Proxy
from zeroshot.errors import whole
from zeroshot.models import Device
from zeroshot.progress import Progress
from zeroshot.ranking import Ensemble
from zeroshot.searches import BUDGET, METHOD, POPULATION, REFINED
from zeroshot.searches.search import Plan
from zeroshot.spaces import Space


def search(
    space: str | Space,
    *,
    method: str = METHOD,
    budget: int = BUDGET,
    population: int = POPULATION,
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
    small: bool = False,
    channels: int | None = None,
    cells: int | None = None,
    refine: int = REFINED,
    workers: int | None = None,
    scheduler: Any = None,
    device: Device = "auto",
    store: str | Path | None = None,
    out: str | Path | None = None,
    progress: Progress | bool | None = None,
) -> Ranking:
    """Search a space for what ranks best, without training any network.

    A sample of the space is scored and ranked, from the best of these others are proposed, and so
    on, until `budget` architectures are scored. Which are best is told by their ranks among all so
    far. Architectures that compute the same count once, and those whose input does not reach the
    output are passed over.

    The order that is returned is no sample of the space: what is near the best is most of it. To
    judge proxies take `rank`.

    Args:
        space: its name, or a space of your own.
        method: 'climb', 'evolve' or 'random'; see `zeroshot.searches.search.SEARCHES`.
        budget: how many architectures are scored.
        population: how many at a time, and at random to begin with. It changes what is found; the
            number of workers does not.
        proxies: what to compute, as for `rank`.
        by: what tells which are best, as for `rank`.
        data: what the networks are shown, or a batch of your own; see `load_batch`.
        batch_size: number of samples.
        seed: of sample, batch, weights and all draws.
        repeats: how many initialisations; their seeds follow `seed`. Ranks are averaged.
        init: initialisation, a name of `zeroshot.initial.INITS`.
        max_params: only architectures with at most so many parameters, counted of networks that are
            not `small`.
        max_flops: only architectures with at most so many multiply-adds, counted likewise.
        max_latency: milliseconds that an inference of one sample may take on `device`, timed of
            networks that are not `small`: others have no children, and are not the best. Timed are
            the best so far until there are parents enough, or all. As times vary, so does what is
            found; beside `out` they are kept, as by `rank`.
        small: smaller networks, which rank almost as well; for spaces that have such a shape.
        channels: width of the networks, for spaces that have it.
        cells: cells per stage, for spaces that have it.
        refine: so many of the best are ranked once more, as by `rank`, which takes five networks
            each; 0 for none. On NAS-Bench-201 what is picked is better by it.
        workers: processes; by default one per core, and on CUDA one per GPU.
        scheduler: of a dask cluster that is to do the work instead, as for `rank`.
        device: auto, cpu, cuda or cuda:i.
        store: a file of scores: what is there is not computed again, what is computed is added.
        out: a .csv or .parquet file, with others beside it, as of `rank`; rows are in the order in
            which the search came to them. The same call goes on where it was interrupted.
        progress: True shows a bar; a function is called with the numbers of networks done and in
            all.

    Returns:
        The order, the table and the record.

    Raises:
        ZeroshotError: as `rank`; for an unknown method, for a budget or a population of less than 2
            or more than a million, or if none of those drawn is connected.
    """
    plan = Plan(method, whole("budget", budget), whole("population", population))
    return rank(
        space,
        sample=plan.population,
        plan=plan,
        proxies=proxies,
        by=by,
        data=data,
        batch_size=batch_size,
        seed=seed,
        repeats=repeats,
        init=init,
        max_params=max_params,
        max_flops=max_flops,
        max_latency=max_latency,
        small=small,
        channels=channels,
        cells=cells,
        refine=refine,
        workers=workers,
        scheduler=scheduler,
        device=device,
        store=store,
        out=out,
        progress=progress,
    )
