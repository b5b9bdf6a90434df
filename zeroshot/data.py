"""The one batch of a run: seeded, class-balanced, from noise, a data set or a file of images."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zeroshot.core import Batch, out_of_memory
from zeroshot.errors import OutOfMemoryError, ZeroshotError, brief, check_seed, first_line, whole
from zeroshot.files import cache
from zeroshot.restore import in_float32
from zeroshot.spaces.space import Task

CLASSES = 1_000_000  # what is above is no class index
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DATA = {
    "noise": "standard normal images, balanced labels; no download",
    "digits": "scikit-learn's handwritten digits, resized, as RGB; no download",
    "cifar10": "torchvision's CIFAR-10, training images; downloaded once to the cache",
    "cifar100": "torchvision's CIFAR-100, training images; downloaded likewise",
    "folder:PATH": "your images, one folder per class",
    "npz:PATH": "your arrays: x_train (n, h, w[, c]) as uint8 or 0 … 1, y_train (n,)",
}


@dataclass(frozen=True, eq=False)
class _Images:
    """A data set as this module needs it: labels at once, images on demand."""

    labels: np.ndarray  # (n,) class indices
    classes: int
    take: Callable[[Sequence[int]], Tensor]  # -> (n, c, h, w) in 0 … 1
    normal: tuple[Sequence[float], Sequence[float]]  # mean and deviation of each channel


def load_batch(
    data: str | Batch = "noise",
    *,
    batch_size: int = 64,
    size: int | None = None,
    task: Task | None = None,
    seed: int = 0,
) -> tuple[Batch, Task]:
    """Draw the batch that every network of a run is shown.

    Args:
        data: a batch, which is taken as it is; 'noise' (the task's own: standard normal images,
            balanced labels), 'digits' (scikit-learn's, no download), 'cifar10' or 'cifar100'
            (downloaded once to the cache), 'folder:PATH' (one folder per class, as
            torchvision's ImageFolder), or 'npz:PATH' (x_train: (n, h, w[, c]) uint8 or 0 … 1,
            y_train: (n,) class indices).
        batch_size: number of samples, spread over the classes as evenly as it goes.
        size: of the images in pixels; the task's by default.
        task: what the networks accept; images are resized to it. 32 × 32 RGB by default.
        seed: of the draw.

    Returns:
        The batch, images normalised per channel, and the task with the data's number of classes;
        with channels and size, too, of a batch of images that was given.

    Raises:
        ZeroshotError: for unknown data, files that cannot be read, or fewer images than
            `batch_size`.
    """
    task = task or Task()
    if size is not None:
        task = replace(task, size=whole("size", size))
    if isinstance(data, Batch):
        return data, _shown(data, task)
    if not isinstance(data, str):
        raise ZeroshotError(
            f"data of type {type(data).__name__}; expected a zeroshot.Batch or one of "
            f"{', '.join(DATA)}"
        )
    if whole("a batch of", batch_size) < 2:
        raise ZeroshotError(f"a batch of {batch_size}: batch statistics need at least 2 samples")
    check_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    if data == "noise":
        try:
            with in_float32():
                inputs = task.inputs(batch_size, generator)
        except (RuntimeError, MemoryError) as error:
            too_many = "overflow" in str(error)  # of the bytes to allocate
            if not out_of_memory(error) and not too_many:
                raise
            raise OutOfMemoryError(
                f"no memory for a batch of {batch_size:,} images; lower the batch size, or their "
                "size"
            ) from error
        return Batch(inputs, task.targets(batch_size, generator), task.loss), task
    kind, path = _named(data)
    _check_images(data, task)
    images = _opened(kind, path)
    chosen = _balanced(images.labels, batch_size, generator)
    labels = torch.from_numpy(images.labels[chosen].astype(np.int64))
    inputs = _fitted(images.take(chosen), task, data, images.normal)
    return Batch(inputs, labels), replace(task, classes=images.classes)


def _named(data: object) -> tuple[str, str]:
    """Of 'KIND:PATH' the two; ZeroshotError for what is not in `DATA`."""
    kind, _, path = data.partition(":") if isinstance(data, str) else ("", "", "")
    if data not in DATA and not (path and f"{kind}:PATH" in DATA):
        raise ZeroshotError(f"unknown data {brief(data)}; expected one of {', '.join(DATA)}")
    return kind, path


def _shown(batch: Batch, task: Task) -> Task:
    """The task of networks that are shown a batch: of images, where the task is of images."""
    if type(task) is not Task or batch.inputs.ndim != 4:
        return task
    channels, height, width = batch.inputs.shape[1:]
    if height == width:
        task = replace(task, size=height)
    if batch.has_classes:  # another loss may have targets of another kind
        task = replace(task, classes=max(task.classes, int(batch.targets.max()) + 1))
    return replace(task, channels=channels)


@dataclass(frozen=True, eq=False)
class Part:
    """The training or the test images of a data set.

    Attributes:
        labels: (n,) class indices.
        take: the images of some indices, of the task's shape and normalised.
    """

    labels: Tensor
    take: Callable[[Sequence[int]], Tensor]


def load_split(
    data: str = "digits", *, task: Task | None = None, seed: int = 0
) -> tuple[Part, Part, Task]:
    """All images of a data set, to train on and to test on.

    The test images are the data's own where it has some (CIFAR; x_test and y_test of an npz file),
    or else a fifth of each class. Both are normalised by the mean of the training images.

    Args:
        data: as for `load_batch`, except 'noise', which has nothing to learn.
        task: what the networks accept; images are resized to it. 32 × 32 RGB by default.
        seed: of the choice of test images, where they are a fifth.

    Returns:
        Training images, test images, and the task with the data's number of classes.

    Raises:
        ZeroshotError: for unknown data, files that cannot be read, or no images to test on.
    """
    task = task or Task()
    check_seed(seed)
    if data == "noise":
        raise ZeroshotError("noise has nothing to learn; use --data digits or another")
    kind, path = _named(data)
    _check_images(data, task)
    images = _opened(kind, path)
    own = _OPEN_TEST[kind](path) if kind in _OPEN_TEST else None
    task = replace(task, classes=images.classes)
    if own is None:
        chosen, held_out = _hold_out(images.labels, torch.Generator().manual_seed(seed))
        parts = (images, chosen), (images, held_out)
    else:
        if own.classes > images.classes:
            raise ZeroshotError(
                f"{data} has {images.classes} classes to train on and {own.classes} to test on; "
                "expected the same"
            )
        parts = (images, np.arange(len(images.labels))), (own, np.arange(len(own.labels)))
    train, test = (_part(source, rows, task, data, images.normal) for source, rows in parts)
    return train, test, task


def _opened(kind: str, path: str) -> _Images:
    """A data set; files that have not changed are not read again for every draw."""
    if kind == "folder":
        return _folder(path)  # reads images as they are asked for
    stamp = None
    if kind == "npz":
        with suppress(OSError):  # reading tells what is wrong
            found = Path(path).expanduser().stat()
            stamp = found.st_mtime_ns, found.st_size, found.st_ino
    return _read(kind, path, stamp)


@lru_cache(maxsize=1)
def _read(kind: str, path: str, stamp: object) -> _Images:
    """Those of a file as of some time."""
    return _OPEN[kind](path)


def _check_images(data: str, task: Task) -> None:
    if type(task) is not Task:
        raise ZeroshotError(
            f"data {data!r} has images with classes, the task is {type(task).__name__}; take "
            "noise, which the task draws itself, or give a Batch of your own"
        )


def _hold_out(labels: np.ndarray, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices to train on and to test on: of each class a fifth, at least one of several."""
    order = torch.randperm(len(labels), generator=generator).numpy()
    by_class = [order[labels[order] == label] for label in np.unique(labels)]
    counts = [min(max(len(rows) // 5, 1), len(rows) - 1) for rows in by_class]
    if not any(counts):
        raise ZeroshotError(f"{len(labels)} images, one a class: none is left to test on; add some")
    held_out = np.concatenate([rows[:n] for rows, n in zip(by_class, counts, strict=True)])
    rest = np.concatenate([rows[n:] for rows, n in zip(by_class, counts, strict=True)])
    return np.sort(rest), np.sort(held_out)


def _part(
    images: _Images,
    rows: np.ndarray,
    task: Task,
    data: str,
    normal: tuple[Sequence[float], Sequence[float]],
) -> Part:
    def take(chosen: Sequence[int]) -> Tensor:
        return _fitted(images.take(rows[list(chosen)].tolist()), task, data, normal)

    return Part(torch.from_numpy(images.labels[rows].astype(np.int64)), take)


def _fitted(
    pixels: Tensor, task: Task, data: str, normal: tuple[Sequence[float], Sequence[float]]
) -> Tensor:
    """Images as the networks expect them: channels, normalisation, size."""
    if pixels.shape[1] != task.channels:
        if pixels.shape[1] != 1:
            raise ZeroshotError(
                f"{data} has {pixels.shape[1]} channels, the networks expect {task.channels}; "
                "channels come last in a file of images"
            )
        pixels = pixels.expand(-1, task.channels, -1, -1)
    if pixels.shape[-2:] != (task.size, task.size):
        wanted = (task.size, task.size)
        pixels = F.interpolate(pixels, wanted, mode="bilinear", antialias=True)
    mean, deviation = (torch.tensor(list(part)).view(1, -1, 1, 1) for part in normal)
    return ((pixels - mean) / deviation).contiguous()


def _balanced(labels: np.ndarray, size: int, generator: torch.Generator) -> list[int]:
    """Indices of `size` samples, taken from the classes in turn; order and choice are random."""
    if size > len(labels):
        raise ZeroshotError(f"a batch of {size} from {len(labels)} images; lower the batch size")
    order = torch.randperm(len(labels), generator=generator).numpy()
    by_class = [list(order[labels[order] == label]) for label in np.unique(labels)]
    turn = torch.randperm(len(by_class), generator=generator).tolist()
    chosen: list[int] = []
    while len(chosen) < size:
        for label in turn:
            if by_class[label] and len(chosen) < size:
                chosen.append(int(by_class[label].pop()))
    return [chosen[i] for i in torch.randperm(size, generator=generator).tolist()]


def _in_memory(pixels: np.ndarray, labels: Any, classes: int) -> _Images:
    """Images (n, h, w[, c]), uint8 or 0 … 1, normalised by their own mean and deviation."""
    scale = 255.0 if pixels.dtype == np.uint8 else 1.0
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    # From all over, for files may be sorted by class; enough for two digits, and for memory.
    sample = pixels[:: max(1, len(pixels) // 10_000)].astype(np.float64) / scale
    mean, deviation = sample.mean((0, 1, 2)), sample.std((0, 1, 2))

    def take(chosen: Sequence[int]) -> Tensor:
        return torch.from_numpy(pixels[chosen].astype(np.float32) / scale).permute(0, 3, 1, 2)

    normal = mean.tolist(), np.maximum(deviation, 1e-6).tolist()
    return _Images(np.asarray(labels), classes, take, normal)


def _digits(_: str) -> _Images:
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    return _in_memory((found.images / 16).astype(np.float32), found.target, 10)


def _cifar(name: str, train: bool = True) -> Callable[[str], _Images]:
    def load(_: str) -> _Images:
        from torchvision import datasets

        kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
        root = cache()
        try:
            found = kind(str(root), train=train, download=True)
        except (OSError, RuntimeError) as error:
            raise ZeroshotError(
                f"{name} could not be downloaded to {root} ({first_line(error)}); put the archive "
                f"{kind.filename} there, or use --data digits or npz:PATH, which need no network"
            ) from error
        return _in_memory(found.data, found.targets, len(found.classes))

    return load


def _folder(path: str) -> _Images:
    from torchvision import datasets, transforms

    try:
        found = datasets.ImageFolder(str(Path(path).expanduser()))
    except (OSError, RuntimeError) as error:
        raise ZeroshotError(
            f"folder:{path} cannot be read ({first_line(error)}); expected one folder per class "
            "with images in it"
        ) from error
    steps = transforms.Compose(
        [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    )

    def take(chosen: Sequence[int]) -> Tensor:
        pixels = []
        for index in chosen:
            try:
                pixels.append(steps(found.loader(found.samples[index][0])))
            except Exception as error:  # a damaged image can fail in any way
                raise ZeroshotError(
                    f"{found.samples[index][0]} is no readable image ({first_line(error)})"
                ) from error
        return torch.stack(pixels)

    return _Images(np.asarray(found.targets), len(found.classes), take, IMAGENET)


def _npz(path: str, part: str = "train") -> _Images:
    x, y = f"x_{part}", f"y_{part}"
    try:
        with Path(path).expanduser().open("rb") as file:
            held = np.load(file, allow_pickle=False)
            if not isinstance(held, np.lib.npyio.NpzFile):
                raise ZeroshotError(f"npz:{path} is a single array; expected {x} and {y}")
            missing = [name for name in (x, y) if name not in held.files]
            if missing:
                raise ZeroshotError(
                    f"npz:{path} has {', '.join(held.files) or 'nothing'}; "
                    f"expected also {' and '.join(missing)}"
                )
            pixels, labels = held[x], held[y]
    except ZeroshotError:
        raise
    except Exception as error:  # a damaged archive can fail in any way
        if isinstance(error, ValueError) and "pickle" in str(error):
            raise ZeroshotError(
                f"npz:{path} cannot be read (it is no archive of numbers); expected one that "
                f"numpy.savez wrote, with {x} and {y}"
            ) from error
        raise ZeroshotError(f"npz:{path} cannot be read ({first_line(error)})") from error
    if pixels.ndim not in (3, 4) or labels.shape != (len(pixels),):
        raise ZeroshotError(
            f"npz:{path} has {x} {pixels.shape} and {y} {labels.shape}; "
            "expected (n, h, w[, c]) images and (n,) labels"
        )
    if not pixels.size:
        raise ZeroshotError(f"npz:{path} has {x} {pixels.shape}; expected at least one image")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ZeroshotError(f"npz:{path}: {y} is {labels.dtype}; expected class indices from 0")
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise ZeroshotError(
            f"npz:{path}: {y} has {labels.min()} to {labels.max()}; expected class indices "
            f"from 0, below {CLASSES:,}"
        )
    if pixels.dtype != np.uint8:
        if not np.issubdtype(pixels.dtype, np.floating):
            raise ZeroshotError(f"npz:{path}: {x} is {pixels.dtype}; expected uint8 or 0 … 1")
        if not np.isfinite(pixels).all():
            raise ZeroshotError(f"npz:{path}: {x} holds NaN or infinite values; remove them")
    return _in_memory(pixels, labels, int(labels.max()) + 1)


def _npz_test(path: str) -> _Images | None:
    with np.load(Path(path).expanduser(), allow_pickle=False) as held:  # `_npz` has read it before
        return _npz(path, "test") if {"x_test", "y_test"} & set(held.files) else None


_OPEN: dict[str, Callable[[str], _Images]] = {
    "digits": _digits,
    "cifar10": _cifar("cifar10"),
    "cifar100": _cifar("cifar100"),
    "folder": _folder,
    "npz": _npz,
}

# The test images of data that have their own; it is a fifth of the images for the others.
_OPEN_TEST: dict[str, Callable[[str], _Images | None]] = {
    "cifar10": _cifar("cifar10", train=False),
    "cifar100": _cifar("cifar100", train=False),
    "npz": _npz_test,
}
