"""Score networks, one after the other."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd
import torch
from torch import nn

import zeroshot
from zeroshot.commands.arguments import check_data
from zeroshot.core import Batch, Net, Proxy
from zeroshot.data import load_batch
from zeroshot.errors import OutOfMemoryError, ZeroshotError, brief, check_seed, whole
from zeroshot.files import (
    check_out,
    record_path,
    replace_file,
    write_json,
    write_table,
    writing,
)
from zeroshot.models import Device, find_device, find_model, find_proxies, find_space, space_of
from zeroshot.progress import Progress, telling
from zeroshot.record import circumstances
from zeroshot.scoring import Scores, evaluate
from zeroshot.spaces import Task


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
    out: str | Path | None = None,
    progress: Progress | bool | None = None,
) -> dict[str, Scores]:
    """Score networks, one after the other.

    Args:
        models: 'nasbench201:13714' (or its string), 'torchvision:resnet18',
            'package.module:factory', a module or a `zeroshot.Net`; one or several.
        proxies: names, comma-separated or as a tuple; 'all'; 'package.module:MY_PROXY'.
        data: what they are shown, or a batch of your own; see `load_batch`.
        batch_size: number of samples.
        size: of the images; by default the space's own, or 32.
        init: initialisation, a name of `zeroshot.initial.INITS`. A module given is left as it is.
        seed: of weights, batch and all draws; a `Net` keeps its own for its draws.
        device: auto, cpu, cuda or cuda:i. A module given stays where it is.
        out: a .csv or .parquet file that is not there yet, for a table: column `model`, then one
            per proxy. A record is written beside it: what was scored how, why a score is NaN, and
            what each pass took.
        progress: True shows a bar; a function is called with the numbers of networks done and in
            all.

    Returns:
        Scores by model, in the order given: by its name, or by number and class, as '0: ResNet'.

    Raises:
        ZeroshotError: for a model, proxy, data or device that is not there or not usable, and for
            `out` that is there already or cannot be written.
    """
    path = None if out is None else Path(out)
    if path is not None:
        check_out(path)
        if path.exists():
            raise ZeroshotError(f"--out {path}: the file exists; choose another, or move it away")
    wanted = find_proxies(proxies)
    where = find_device(device)
    several = [models] if isinstance(models, (str, nn.Module, Net)) else models
    if not isinstance(several, Collection) or not len(several):
        raise ZeroshotError(f"models {models!r}: expected a name, a module, or a list of these")
    for what, number in (("batch_size", batch_size), ("size", size)):
        if number is not None:
            whole(what, number)
    check_seed(seed)
    check_data(data)
    for model in several:
        if not isinstance(model, (str, nn.Module, Net)):
            raise ZeroshotError(f"model {brief(model)}: expected a name or a torch.nn.Module")

    batches: dict[Task, Batch] = {}

    @cache  # networks of one task are shown one batch
    def shown(task: Task) -> tuple[Batch, Task]:
        batch, task = load_batch(data, batch_size=batch_size, task=task, seed=seed)
        batches[task] = batch
        return batch, task

    found: dict[str, Scores] = {}
    with telling(progress, "networks") as told:
        for number, model in enumerate(several):
            told(number, len(several))
            name = model if isinstance(model, str) else f"{number}: {_kind(model)}"
            with _of(name, alone=len(several) == 1):
                home = space_of(model) if isinstance(model, str) else None
                task = find_space(home[0]).task if home else Task()
                batch, task = shown(task if size is None else replace(task, size=size))
                if isinstance(model, str):
                    net = find_model(model, task, init=init, seed=seed, device=where)
                else:
                    net = model if isinstance(model, Net) else Net(model, seed=seed)
                found[name] = evaluate(net, batch, wanted)
        told(len(several), len(several))
    if path is not None:
        table = pd.DataFrame.from_dict(found, orient="index").rename_axis("model").reset_index()
        run = {
            "zeroshot": zeroshot.__version__,
            "torch": torch.__version__,
            "models": list(found),
            "formulas": {proxy.name: proxy.edition for proxy in wanted},
            "better": {proxy.name: proxy.better for proxy in wanted},
            "data": data if isinstance(data, str) else "given",
            "batches": {repr(task): f"{len(one)} ({one.hash})" for task, one in batches.items()},
            "init": init,
            "seed": seed,
        }
        record = {
            "run": run,
            "not a number": {name: scores.reasons for name, scores in found.items()},
            "seconds per pass": {name: scores.seconds for name, scores in found.items()},
            **circumstances(where),
        }
        with writing(path):
            write_json(record_path(path), record)
            replace_file(path, lambda part: write_table(table, part))
    return found


def _kind(model: nn.Module | Net) -> str:
    return type(model.module if isinstance(model, Net) else model).__name__


@contextmanager
def _of(name: str, *, alone: bool) -> Iterator[None]:
    """Of several models, an error's line names the one that it is of."""
    try:
        yield
    except ZeroshotError as error:
        if alone or name in str(error):
            raise
        kind = OutOfMemoryError if isinstance(error, OutOfMemoryError) else ZeroshotError
        raise kind(f"{name}: {error}") from error
