"""Train a found network for a few epochs; a run that was killed resumes to the same numbers.

Every draw depends on the seed and the epoch alone, so a checkpoint needs no random state.
"""

import copy
import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

import zeroshot
from zeroshot.core import Net, logits_of, out_of_memory
from zeroshot.data import Part, load_split
from zeroshot.errors import OutOfMemoryError, ZeroshotError, in_a_line, real, whole
from zeroshot.eval.plots import ACCENT, SPOT, STYLE, tidy
from zeroshot.files import TEMPORARY, locked, write_bytes, write_json, writing
from zeroshot.models import code_of, find_device, find_model, find_space, space_of
from zeroshot.progress import Progress, telling
from zeroshot.record import check_identity, circumstances
from zeroshot.restore import REPEATABLE, keeping_modes, seeded, switched
from zeroshot.spaces import Task
from zeroshot.spaces.space import with_shape

WEIGHTS = ("last", "best")
SCHEDULES = ("one-cycle", "cosine")
LIMITS: dict[str, tuple[float, float]] = {
    "epochs": (1, 100_000),
    "batch_size": (2, 1_000_000),
    "learning_rate": (1e-9, 1e3),
    "momentum": (0, 0.9999),
    "weight_decay": (0, 1),
    "label_smoothing": (0, 0.9999),
    "crop": (0, 1_000),
    "cutout": (0, 1_000),
    "clip": (0, 1e9),
}
WHOLE = ("epochs", "batch_size", "crop", "cutout")
AUXILIARY = 0.4  # weight of the loss of a second classifier, as in DARTS' code


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD with Nesterov momentum on augmented images.

    What a network answers in training as `auxiliary`, beside its logits (`darts` with an auxiliary
    classifier), adds 0.4 times its own cross-entropy to the loss.

    Attributes:
        epochs: how often it sees every training image.
        batch_size: images per step; what is left over in an epoch is left out.
        learning_rate: the highest of the schedule.
        momentum: Nesterov's; 0 for plain SGD.
        weight_decay: on all parameters.
        schedule: 'one-cycle' (up for 30 % of the steps, then down to 0) or 'cosine' (down to 0).
            A training of at most three steps, too few to go up and down, is always 'cosine'.
        label_smoothing: the part of a label that is spread over all classes.
        crop: pixels of zeros around an image, from which one of the old size is cut; by default an
            eighth of its side.
        flip: whether half of the images are mirrored; by default unless they are digits.
        cutout: side of a square of zeros around a random pixel; 0 for none.
        clip: the largest norm of the gradient; 0 for no limit.
        amp: bfloat16 where that is safe; on CUDA only.
    """

    epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "one-cycle"
    label_smoothing: float = 0.0
    crop: int | None = None
    flip: bool | None = None
    cutout: int = 0
    clip: float = 5.0
    amp: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            value, option = getattr(self, name), f"--{name.replace('_', '-')}"
            if value is None and name == "crop":
                continue
            number = whole if name in WHOLE else real
            if not low <= number(option, value) <= high:
                raise ZeroshotError(f"{option} {value}: expected {low:g} to {high:,g}")
        if self.schedule not in SCHEDULES:
            names = ", ".join(SCHEDULES)
            raise ZeroshotError(f"unknown schedule {self.schedule!r}; there are {names}")


def short_recipe(epochs: int, data: str, task: Task, seed: int) -> Recipe:
    """So many epochs on a data set, in batches of 64 images or of all if there are fewer.

    Raises:
        ZeroshotError: for a number of epochs, or data, that nothing can be trained with.
    """
    recipe = Recipe(epochs)  # a mistake in it is cheaper to tell than one in the data
    images = len(load_split(data, task=task, seed=seed)[0].labels)
    return replace(recipe, batch_size=min(recipe.batch_size, images))


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
    net = _build(network, where)
    identity = {"zeroshot": zeroshot.__version__, "torch": torch.__version__, **network}
    identity |= {"code": code_of(spec, net.module), "data": data}
    identity |= {"images": f"{len(train.labels)} + {len(test.labels)} ({_digest(train, test)})"}
    identity |= {"recipe": asdict(recipe), "device": where.split(":")[0]}
    training = _Training(net, recipe, (train, test), task, folder)
    training.check()  # before there is a folder that another network could not use
    started = time.time()
    with locked(folder), writing(folder):
        state = _open(folder, identity, resume)
        if state is not None:
            with telling(progress, "batches") as told:
                history = training.run(state, told)
            _draw(history, folder / "curve.png")
            record = _record(identity, history, len(test.labels), where, time.time() - started)
            write_json(folder / "record.json", record)
    return load_trained(folder, device=where)


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
        net = _build(record["run"], device)
        held = safetensors.torch.load_file(folder / f"{weights}.safetensors")
        net.module.load_state_dict(held)
        net.module.eval()
        history = pd.DataFrame(record["history"])
        low, high = record["95 % interval"]
        return Trained(net, history, record["test accuracy"], (low, high), record, folder)
    except Exception as error:  # damaged files can fail in any way
        raise ZeroshotError(f"{folder} holds no finished training ({in_a_line(error)})") from error


class _Training:
    """A network on its way. Files appear whole, the state last: what it says is on the disk."""

    def __init__(
        self, net: Net, recipe: Recipe, parts: tuple[Part, Part], task: Task, folder: Path
    ) -> None:
        self.net, self.recipe, self.task, self.folder = net, recipe, task, folder
        self.train, self.test = parts
        self.cuda = net.device.type == "cuda"
        self.module = net.module
        if self.cuda:
            self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        rate, momentum = recipe.learning_rate, recipe.momentum
        self.optimizer = torch.optim.SGD(
            self.module.parameters(),
            rate,
            momentum,
            weight_decay=recipe.weight_decay,
            nesterov=momentum > 0,
        )
        self.steps = len(self.train.labels) // recipe.batch_size
        total = self.steps * recipe.epochs
        if recipe.schedule == "cosine" or total <= 3:  # one cycle would begin where it ends, at 0
            self.schedule = CosineAnnealingLR(self.optimizer, total)
        else:  # the momentum stays as it is
            self.schedule = OneCycleLR(self.optimizer, rate, total, cycle_momentum=False)
        # A buffer may hold infinity from the start, as masks of attention do.
        self.finite = [name for name, t in self.module.state_dict().items() if _is_finite(t)]
        held = ("model", "optimizer", "schedule")
        self.parts = tuple(zip(held, (self.module, self.optimizer, self.schedule), strict=True))

    def check(self) -> None:
        """ZeroshotError if the network does not answer images with classes."""
        modules = list(self.module.modules())
        some = self.train.take(range(min(2, len(self.train.labels))))
        with self._failing(), seeded(0, self.net.device), keeping_modes(modules), torch.no_grad():
            self.module.eval()
            self._answers(some)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Turn what a network may raise into a line."""
        try:
            yield
        except (ZeroshotError, OSError):
            raise
        except Exception as error:  # a network may raise anything
            if out_of_memory(error):
                raise OutOfMemoryError(
                    f"out of memory: lower --batch-size ({self.recipe.batch_size})"
                ) from error
            raise ZeroshotError(f"the network fails in training: {in_a_line(error)}") from error

    def run(self, state: dict[str, Any], progress: Progress) -> pd.DataFrame:
        """Train the epochs that `state` lacks; leaves weights, history and state in the folder."""
        rows: list[dict[str, Any]] = list(state["history"])
        if not rows:
            self._save(state)
        try:
            for name, part in self.parts if rows else ():
                part.load_state_dict(state[name])
            for name, buffer in self._passing().items() if rows else ():
                buffer.copy_(state["buffers"][name])
        except Exception as error:  # damaged files can fail in any way
            words = f"{self.folder / 'state.pt'} is damaged ({in_a_line(error)})"
            raise ZeroshotError(f"{words}; move {self.folder} away to start again") from error
        writer = _tensorboard(self.folder, len(rows))
        try:
            self._epochs(state, rows, progress, writer)
        finally:
            if writer:
                writer.close()
        return pd.DataFrame(rows)

    def _epochs(
        self, state: dict[str, Any], rows: list[dict[str, Any]], progress: Progress, writer: Any
    ) -> None:
        """Add the epochs that are lacking to `rows`; files are whole after each."""
        for epoch in range(len(rows), self.recipe.epochs):
            seed = self.net._seed(f"epoch {epoch}")
            with self._failing(), seeded(seed, self.net.device), _repeatable():
                rows.append(self._epoch(epoch, progress))
            own = self.module.state_dict().items()
            weights = safetensors.torch.save({n: t.cpu().contiguous().clone() for n, t in own})
            write_bytes(self.folder / "last.safetensors", weights)
            if rows[-1]["test_accuracy"] > max((r["test_accuracy"] for r in rows[:-1]), default=-1):
                write_bytes(self.folder / "best.safetensors", weights)
            table = pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")
            write_bytes(self.folder / "history.csv", table.encode())
            self._save({**state, "history": rows})
            for name, value in rows[-1].items() if writer else ():
                writer.add_scalar(name, value, epoch + 1)

    def _save(self, state: dict[str, Any]) -> None:
        buffer = io.BytesIO()
        held = {name: part.state_dict() for name, part in self.parts}
        torch.save(state | held | {"buffers": self._passing()}, buffer)
        write_bytes(self.folder / "state.pt", buffer.getvalue())

    def _passing(self) -> dict[str, Tensor]:
        """Buffers that a state lacks, as they are told not to be saved."""
        saved = self.module.state_dict().keys()
        return {name: t for name, t in self.module.named_buffers() if name not in saved}

    def _epoch(self, epoch: int, progress: Progress) -> dict[str, Any]:
        started = shown = time.perf_counter()
        batch, total = self.recipe.batch_size, self.steps * self.recipe.epochs
        order = torch.randperm(len(self.train.labels), generator=self._generator("order", epoch))
        draws = self._generator("augmentation", epoch)
        sums = torch.zeros(2, device=self.net.device)  # loss, correct
        rate = mean = accuracy = 0.0
        self.module.train()
        for step in range(self.steps):
            chosen = order[step * batch : (step + 1) * batch]
            images = _augment(self.train.take(chosen.tolist()), self.recipe, draws)
            targets = self.train.labels[chosen].to(self.net.device)
            logits, auxiliary = self._answers(images)
            smoothing = self.recipe.label_smoothing
            loss = F.cross_entropy(logits, targets, label_smoothing=smoothing)
            if auxiliary is not None:
                aside = F.cross_entropy(auxiliary, targets, label_smoothing=smoothing)
                loss = loss + AUXILIARY * aside
            self.optimizer.zero_grad()
            loss.backward()
            if self.recipe.clip:
                nn.utils.clip_grad_norm_(self.module.parameters(), self.recipe.clip)
            self.optimizer.step()
            rate = float(self.schedule.get_last_lr()[0])
            self.schedule.step()
            right = (logits.argmax(1) == targets).sum() / batch
            sums += torch.stack([loss.detach(), right])
            if time.perf_counter() - shown > 0.2 or step + 1 == self.steps:  # each look waits
                shown = time.perf_counter()
                mean, accuracy = (sums.double() / (step + 1)).tolist()
                words = f"epoch {epoch + 1}, loss {mean:.3f}, accuracy {accuracy:.1%}"
                progress(epoch * self.steps + step + 1, total, words)
        now = self.module.state_dict()
        if not all(map(_is_finite, (sums, *(now[name] for name in self.finite)))):
            raise ZeroshotError(
                f"training diverged in epoch {epoch + 1} (loss {mean:.3g}): lower --learning-rate "
                f"({self.recipe.learning_rate:g})"
            )
        tested = self._accuracy()
        return {
            "epoch": epoch + 1,
            "learning_rate": rate,
            "train_loss": mean,
            "train_accuracy": 100 * accuracy,
            "test_accuracy": tested,
            "seconds": time.perf_counter() - started,
        }

    @torch.no_grad()
    def _accuracy(self) -> float:
        self.module.eval()
        n, batch = len(self.test.labels), max(self.recipe.batch_size, 256)
        parts = [list(range(i, min(i + batch, n))) for i in range(0, n, batch)]
        answers = (self._answers(self.test.take(part))[0] for part in parts)
        found = torch.cat([logits.argmax(1).cpu() for logits in answers])
        return 100 * int((found == self.test.labels).sum()) / n

    def _answers(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """The logits, and those of an auxiliary classifier if the network answers with such."""
        form = torch.channels_last if self.cuda else torch.contiguous_format
        images = images.to(self.net.device, self.net.dtype, memory_format=form)
        with torch.autocast(self.net.device.type, torch.bfloat16, enabled=self.recipe.amp):
            output = self.module(images)
        logits, auxiliary = logits_of(output), getattr(output, "auxiliary", None)
        if logits.ndim != 2 or logits.shape[1] < self.task.classes:
            shape, classes = tuple(logits.shape), self.task.classes
            raise ZeroshotError(f"the network answers with {shape}; expected {classes} classes")
        return logits.float(), None if auxiliary is None else auxiliary.float()

    def _generator(self, purpose: str, epoch: int) -> torch.Generator:
        return self.net.generator(f"{purpose} of epoch {epoch}")


def _is_finite(numbers: Tensor) -> bool:
    return bool(numbers.isfinite().all())


def _augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Crop, flip and cutout, drawn for each image."""
    from torchvision.transforms.v2 import functional as transform  # takes seconds to import

    n, _, height, width = images.shape
    pad, side = recipe.crop or 0, recipe.cutout
    shifts = torch.randint(2 * pad + 1, (n, 2), generator=generator).tolist()
    flips = torch.rand(n, generator=generator).tolist()
    centres = torch.rand((n, 2), generator=generator).tolist()
    made = []
    for image, (top, left), flip, (y, x) in zip(
        transform.pad(images, [pad]), shifts, flips, centres, strict=True
    ):
        image = transform.crop(image, top, left, height, width)
        if recipe.flip and flip < 0.5:
            image = transform.horizontal_flip(image)
        if side:
            i, j = int(y * height) - side // 2, int(x * width) - side // 2
            h, w = i + side - max(i, 0), j + side - max(j, 0)
            image = transform.erase(image, max(i, 0), max(j, 0), h, w, torch.zeros(1, 1, 1))
        made.append(image)
    return torch.stack(made)


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
    elif ":" not in str(model):
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


def _build(network: dict[str, Any], device: str) -> Net:
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


def _draw(history: pd.DataFrame, path: Path) -> None:
    """Accuracies per epoch, on training and test images."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.7), dpi=160, layout="constrained")
        axes = figure.add_subplot()
        tidy(axes)
        for name, colour in (("train", SPOT), ("test", ACCENT)):
            values = history[f"{name}_accuracy"]
            axes.plot(history["epoch"], values, "o-", ms=3, color=colour, label=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel="accuracy, %")
        axes.legend(frameon=False)
        figure.savefig(path)


def _tensorboard(folder: Path, epochs: int) -> Any:
    """Where to write curves, if TensorBoard is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=epochs + 1)


@contextmanager
def _repeatable() -> Iterator[None]:
    """The same algorithms every time; cuDNN's choice among them is as before afterwards."""
    with torch.inference_mode(False), torch.enable_grad(), switched(REPEATABLE):
        yield
