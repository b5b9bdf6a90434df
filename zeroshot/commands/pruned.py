"""Prune a supernet."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zeroshot.commands.arguments import check_space, respelling, truth_of, workers_of
from zeroshot.errors import ZeroshotError, check_seed, whole
from zeroshot.files import locked, writing
from zeroshot.models import Device, find_device, find_space, refining_ensemble
from zeroshot.progress import Progress, telling
from zeroshot.pruning import DRAWS, Pruned, Pruning
from zeroshot.ranking import Ensemble
from zeroshot.spaces import Space


def prune(
    space: str | Space,
    *,
    criterion: str | Ensemble = "te_nas",
    method: str = "prune",
    fidelity: str = "fast",
    finalists: int = 1,
    by: str | Ensemble | None = None,
    data: str = "noise",
    seed: int = 0,
    workers: int | None = None,
    chunk: int = 512,
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
    progress: Progress | bool | None = None,
) -> Pruned:
    """Prune a supernet to a single-path network without training.

    Args:
        space: its name, or a space of your own whose axes can be mixed.
        criterion: what tells the importance of an option: 'te_nas' (κ and linear regions), or a
            proxy, an ensemble or an expression of proxies.
        method: 'prune' as in TE-NAS, or 'perturb' as in ZC-PT; see `zeroshot.pruning.METHODS`.
        fidelity: 'fast', 'paper' or 'official'; see `zeroshot.supernets.FIDELITIES`.
        finalists: pruning stops when at most so many networks are left, which are then ranked as
            networks of their own, in the space's small shape: all once, the best once more.
        by: what ranks them, as for `rank`; by default the ensemble `az_nas`, or `log_rank` for
            spaces whose networks name no blocks.
        data: what the supernets are shown; see `load_batch`.
        seed: of weights, batches and crops.
        workers: processes; by default one per core, and on CUDA one per GPU.
        chunk: MiB of a tangent kernel's Jacobian that each holds at a time, at least a layer's.
            Less takes less memory and more time, and changes no digit.
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
        progress: True shows a bar; a function is called with the numbers of options measured and
            in all.

    Returns:
        The network, the history and the record.

    Raises:
        ZeroshotError: for a space that cannot be pruned, or a folder of another run.
    """
    space = find_space(space) if isinstance(space, str) else space
    check_space(space)
    if not isinstance(data, str):
        raise ZeroshotError(
            f"data of type {type(data).__name__}: expected a name, see `load_batch`; batches are "
            "drawn from it anew for every repeat"
        )
    whole("finalists", finalists)
    check_seed(seed, 1 if finalists == 1 else 1 + DRAWS)
    source = accuracies = None
    if truth is not None:
        source = truth_of(truth, column, arch, lower_is_better, benchmark_path, trust)
        # What is wrong with it is said before the work. A surrogate has to be asked something.
        accuracies = source.read([space.spell(space.at(0))], respelling(space))
    where = find_device(device)
    by = by or refining_ensemble(space)
    whole("chunk", chunk)
    pruning = Pruning(space, criterion, method, fidelity, finalists, by, data, seed, where, chunk)
    path = None if out is None else Path(out)
    workers = workers_of(workers, where)
    kept = None if store is None else Path(store)
    if resume and path is not None and not path.is_dir():
        raise ZeroshotError(f"--resume: there is no run in {path}; leave it out to start one")
    with _alone(path):
        with telling(progress, "options") as told:
            found = pruning.run(
                path,
                resume=resume,
                store=kept,
                workers=workers,
                scheduler=scheduler,
                progress=told,
            )
        try:
            if source is not None and accuracies is not None:
                if found.name not in accuracies.index:
                    accuracies = source.read([found.name], respelling(space))
                own = float(accuracies.get(found.name, float("nan")))
                better = int(accuracies.gt(own).sum())
                found.record["accuracy"] = own
                found.record["rank"] = None if own != own else better + 1
                found.record["of"] = int(accuracies.notna().sum())
        finally:  # what was found is kept, whatever became of looking it up
            if path is not None:
                found.write(path, space, seed)
    return found


@contextmanager
def _alone(out: Path | None) -> Iterator[None]:
    """No other process writes the folder meanwhile."""
    if out is None:
        yield
        return
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with locked(out):
        yield
