"""The epochs of a training; after each, all that a run needs to go on is on the disk."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from zeroshot.core import Net, logits_of, out_of_memory
from zeroshot.data import Part
from zeroshot.errors import OutOfMemoryError, ZeroshotError, in_a_line
from zeroshot.files import write_bytes
from zeroshot.progress import Progress
from zeroshot.restore import REPEATABLE, keeping_modes, seeded, switched
from zeroshot.spaces import Task
from zeroshot.train.augment import augment
from zeroshot.train.recipe import Recipe

AUXILIARY = 0.4  # weight of the loss of a second classifier, as in DARTS' code


class Training:
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
            images = augment(self.train.take(chosen.tolist()), self.recipe, draws)
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
