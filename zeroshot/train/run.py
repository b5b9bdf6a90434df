"""A training from end to end; one that was killed resumes to the same numbers.

Every draw depends on the seed and the epoch alone, so a checkpoint needs no random state.
"""

import json
import time
from dataclasses import asdict, astuple, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest

import zeroshot
from zeroshot.data import Part, load_split
from zeroshot.errors import ZeroshotError, in_a_line
from zeroshot.files import TEMPORARY, locked, write_json, writing
from zeroshot.models import code_of, find_device, find_space, space_of
from zeroshot.progress import Progress, telling
from zeroshot.record import check_identity, circumstances
from zeroshot.spaces import Task
from zeroshot.train.curve import draw
from zeroshot.train.loop import Training
from zeroshot.train.recipe import Recipe
from zeroshot.train.trained import Trained, build, load_trained


def finetune(
    model: str | Path,
    *,
    recipe: Recipe | None = None,
    data: str = "digits",
    size: int | None = None,
    channels: int | None = None,
    cells: int | None = None,
    init: str = "default",
    seed: int = 0,
    device: str = "auto",
    out: str | Path | None = None,
    resume: bool = False,
    progress: Progress | bool | None = None,
) -> Trained:
    """Train a network for a few epochs and test it.

    The folder `out` gets last.safetensors, best.safetensors (of the epoch with the highest test
    accuracy, which is therefore optimistic), history.csv, state.pt (from which a run resumes),
    TensorBoard's files if that is installed and, at the end, curve.png and record.json.

    Args:
        model: a folder with an architecture.json (keys `space`, `arch` and perhaps `shape`), an
            architecture such as 'nasbench201:13714', or 'package.module:factory'.
        recipe: how to train it.
        data: what to train and test on; see `load_split`.
        size: of the images; by default the space's own, or 32.
        channels: width of the network, for spaces that have it; by default the folder's or space's.
        cells: cells per stage, for spaces that have it.
        init: initialisation, a name of `zeroshot.initial.INITS`.
        seed: of weights, order of the images, augmentation and choice of test images.
        device: auto, cpu, cuda or cuda:i.
        out: folder to write; by default `finetune` in the folder of the architecture.
        resume: go on with the unfinished run in `out`.
        progress: True shows a bar; a function is called with the numbers of batches done and in
            all, and with loss and accuracy in words.

    Returns:
        The network, its history and its test accuracy; a finished run is read, not repeated.

    Raises:
        ZeroshotError: for anything that is not there, malformed or not to be written, a folder
            that holds something else, or a training that diverges.
    """
    recipe = recipe or Recipe()
    where = find_device(device)
    if recipe.amp and not where.startswith("cuda"):
        raise ZeroshotError(f"--amp on {where}: expected a CUDA device; leave it out")
    spec, shape, folder = _find(model, None if out is None else Path(out))
    home = space_of(spec)
    spec = ":".join(home) if home else spec
    given = {"channels": channels, "cells": cells}
    task = Task()
    if home:
        task = find_space(home[0], channels=channels, cells=cells).task
    task = task if size is None else replace(task, size=size)
    flip = data != "digits" if recipe.flip is None else recipe.flip
    crop = task.size // 8 if recipe.crop is None else recipe.crop
    recipe = replace(recipe, flip=flip, crop=crop)
    train, test, task = load_split(data, task=task, seed=seed)
    if recipe.batch_size > len(train.labels):
        words = f"--batch-size {recipe.batch_size} of {len(train.labels)} training images"
        raise ZeroshotError(f"{words}; lower it")
    shape = shape | {name: value for name, value in given.items() if value is not None}
    network: dict[str, Any] = {"model": spec, "shape": shape}
    network |= {"task": list(astuple(task)), "init": init, "seed": seed}
    net = build(network, where)
    identity = {"zeroshot": zeroshot.__version__, "torch": torch.__version__, **network}
    identity |= {"code": code_of(spec, net.module), "data": data}
    identity |= {"images": f"{len(train.labels)} + {len(test.labels)} ({_digest(train, test)})"}
    identity |= {"recipe": asdict(recipe), "device": where.split(":")[0]}
    training = Training(net, recipe, (train, test), task, folder)
    training.check()  # before there is a folder that another network could not use
    started = time.time()
    with locked(folder), writing(folder):
        state = _open(folder, identity, resume)
        if state is not None:
            with telling(progress, "batches") as told:
                history = training.run(state, told)
            draw(history, folder / "curve.png")
            record = _record(identity, history, len(test.labels), where, time.time() - started)
            write_json(folder / "record.json", record)
    return load_trained(folder, device=where)


def _digest(*parts: Part) -> str:
    """What tells images from others: all labels, and 256 images from all over each part."""
    digest = sha256()
    for part in parts:
        last = len(part.labels) - 1
        some = np.unique(np.linspace(0, last, 256).astype(np.int64)).tolist()
        for tensor in (part.labels, part.take(some)):
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def _find(model: str | Path, out: Path | None) -> tuple[str, dict[str, Any], Path]:
    """What to build, the shape of its space, and the folder to write."""
    if not isinstance(model, (str, Path)):
        raise ZeroshotError(
            f"model of type {type(model).__name__}: expected a folder or a name; a network of "
            "yours is 'package.module:factory'"
        )
    folder, shape = Path(model), {}
    if folder.is_dir():
        try:
            held = json.loads((folder / "architecture.json").read_text(encoding="utf-8"))
            model, shape = f"{held['space']}:{held['arch']}", dict(held.get("shape", {}))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ZeroshotError(
                f"{folder} has no architecture.json with a space and an arch ({in_a_line(error)}); "
                "expected a folder that `zeroshot prune` wrote"
            ) from error
        out = out or folder / "finetune"
    elif ":" not in str(model) and space_of(str(model)) is None:
        raise ZeroshotError(
            f"{model} is neither a folder nor a model; expected a folder that `zeroshot prune` "
            "wrote, nasbench201:13714 or package.module:factory"
        )
    if out is None:
        raise ZeroshotError(f"no folder to write for {model}; name one with --out")
    if not out.parent.is_dir():
        raise ZeroshotError(f"--out {out}: the folder {out.parent} does not exist; create it first")
    if out.exists() and not out.is_dir():
        raise ZeroshotError(f"--out {out} is a file; expected a folder")
    return str(model), shape, out


def _open(folder: Path, identity: dict[str, Any], resume: bool) -> dict[str, Any] | None:
    """The state to start from; None for a run that is finished."""
    held = {p.name for p in folder.iterdir() if p.suffix != TEMPORARY} if folder.exists() else set()
    name = next((name for name in ("record.json", "state.pt") if name in held), None)
    if name is None:
        if resume and not folder.exists():
            raise ZeroshotError(f"--resume: there is no run in {folder}; leave it out to start one")
        if held:
            raise ZeroshotError(f"{folder} has {min(held)} but no training; choose another --out")
        folder.mkdir(exist_ok=True)
        return {"run": json.dumps(identity), "history": []}
    try:
        if name == "record.json":
            state, found = None, json.loads((folder / name).read_text(encoding="utf-8"))["run"]
        else:
            state = torch.load(folder / name, "cpu", weights_only=True)
            found = json.loads(state["run"])
        differing = [key for key, value in identity.items() if found.get(key) != value]
    except Exception as error:  # damaged files can fail in any way
        words = (
            f"{folder / name} is damaged ({in_a_line(error)}); move {folder} away to start again"
        )
        raise ZeroshotError(words) from error
    if differing == ["recipe"]:
        there, here = found["recipe"], identity["recipe"]
        if here == {**there, "epochs": here["epochs"]}:
            raise ZeroshotError(
                f"{folder} holds a training with --epochs {there['epochs']}, whose learning rates "
                f"are made for that number; with --epochs {here['epochs']} choose another --out, "
                "or move that folder away"
            )
    check_identity(found, identity, folder)
    if state is not None and not resume:
        raise ZeroshotError(f"{folder} holds an unfinished run of this training; add --resume")
    return state


def _record(
    identity: dict[str, Any], history: pd.DataFrame, tested: int, device: str, elapsed: float
) -> dict[str, Any]:
    accuracy = history["test_accuracy"]
    correct = round(float(accuracy.iloc[-1]) * tested / 100)
    interval = binomtest(correct, tested).proportion_ci(0.95, method="wilson")
    return {
        "run": identity,
        "test accuracy": float(accuracy.iloc[-1]),
        "95 % interval": [100 * float(interval.low), 100 * float(interval.high)],
        "test images": tested,
        "best test accuracy": float(accuracy.max()),
        "best epoch": 1 + int(accuracy.argmax()),
        "history": history.to_dict("records"),
        "seconds in training": round(float(history["seconds"].sum()), 3),
        "seconds in this session": round(elapsed, 3),
        **circumstances(device),
    }
