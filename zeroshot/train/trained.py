"""A network after its training, and how it is read again."""

import copy
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors.torch

from zeroshot.core import Net
from zeroshot.errors import ZeroshotError, in_a_line
from zeroshot.models import find_device, find_model, find_space, space_of
from zeroshot.spaces import Task
from zeroshot.spaces.space import with_shape

WEIGHTS = ("last", "best")


@dataclass(frozen=True, eq=False)
class Trained:
    """A network after its training.

    Attributes:
        net: with the weights of the last epoch.
        history: one row per epoch; accuracies in per cent.
        accuracy: of the last epoch's network on the test images, in per cent.
        interval: of its 95 % confidence, for the choice of test images (Wilson's).
        record: how it came about.
        folder: where weights, history, curve and record are.
    """

    net: Net
    history: pd.DataFrame
    accuracy: float
    interval: tuple[float, float]
    record: dict[str, Any]
    folder: Path


def load_trained(folder: str | Path, *, weights: str = "last", device: str = "cpu") -> Trained:
    """Read what `finetune` wrote: the network with the weights 'last' or 'best', and its history.

    Args:
        folder: that of the training, or of the search whose outcome was trained.
        weights: of the last epoch, or of the one with the highest test accuracy.
        device: auto, cpu, cuda or cuda:i.

    Raises:
        ZeroshotError: for a folder without a finished run, or with damaged files.
    """
    if weights not in WEIGHTS:
        raise ZeroshotError(f"weights {weights!r}: expected {' or '.join(WEIGHTS)}")
    device, folder = find_device(device), Path(folder)
    if not (folder / "record.json").is_file() or (folder / "architecture.json").is_file():
        inside = folder / "finetune"
        folder = inside if inside.is_dir() else folder
    if (folder / "architecture.json").is_file():  # the outcome of a search
        raise ZeroshotError(f"{folder} is not trained yet: `zeroshot finetune {folder}` does that")
    if (folder / "state.pt").is_file() and not (folder / "record.json").exists():
        raise ZeroshotError(
            f"{folder} holds no finished training; `zeroshot finetune` with --resume goes on"
        )
    try:
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        net = build(record["run"], device)
        held = safetensors.torch.load_file(folder / f"{weights}.safetensors")
        net.module.load_state_dict(held)
        net.module.eval()
        history = pd.DataFrame(record["history"])
        low, high = record["95 % interval"]
        return Trained(net, history, record["test accuracy"], (low, high), record, folder)
    except Exception as error:  # damaged files can fail in any way
        raise ZeroshotError(f"{folder} holds no finished training ({in_a_line(error)})") from error


def build(network: dict[str, Any], device: str) -> Net:
    """The network that a run's record tells: its model, shape, task, initialisation and seed."""
    home = space_of(network["model"])
    task, init, seed = Task(*network["task"]), network["init"], network["seed"]
    if home:
        try:
            space = with_shape(find_space(home[0]), network["shape"])
        except TypeError as error:
            raise ZeroshotError(
                f"shape {network['shape']}: {home[0]} has another ({error})"
            ) from error
        return space.network(space.parse(home[1]), task, init=init, seed=seed, device=device)
    net = find_model(network["model"], task, init=init, seed=seed, device=device)
    for name, value in network["shape"].items():
        raise ZeroshotError(f"--{name} {value}: {network['model']} is of no space that has it")
    # The caller's own module, if it is one, is not trained.
    return replace(net, module=copy.deepcopy(net.module).to(device))
