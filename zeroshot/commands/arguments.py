"""What several commands are given: checked, or looked up."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from joblib import cpu_count

from zeroshot.core import Batch
from zeroshot.errors import ZeroshotError, brief, whole
from zeroshot.spaces import Space
from zeroshot.spaces.space import check_fields

if TYPE_CHECKING:
    from zeroshot.eval.truth import Truth


def check_space(space: object) -> None:
    """Refuse what is no space."""
    if isinstance(space, type) and issubclass(space, Space):
        name = space.__name__
        raise ZeroshotError(f"space {name} is a class; expected an instance, as by {name}()")
    if not isinstance(space, Space):
        raise ZeroshotError(f"space {brief(space)}: expected a name or a zeroshot.Space")
    check_fields("space", space)
    check_fields("task", space.task)


def check_data(data: object) -> None:
    """Refuse what is neither the name of data nor a batch."""
    if not isinstance(data, (str, Batch)):
        raise ZeroshotError(
            f"data of type {type(data).__name__}: expected a name, see `load_batch`, or a "
            "zeroshot.Batch"
        )


def workers_of(asked: int | None, device: str) -> int:
    """As many as asked for; one per core on the CPU, one per GPU on CUDA."""
    if asked is None:
        gpus = max(1, torch.cuda.device_count()) if device == "cuda" else 1
        return gpus if device.startswith("cuda") else cpu_count()
    if whole("workers", asked) < 1:
        raise ZeroshotError(f"{asked} workers; expected at least 1")
    return asked


def truth_of(
    truth: object,
    column: str | None,
    arch: str,
    lower_is_better: bool,
    path: str | Path | None,
    trust: bool,
) -> "Truth":
    """Where accuracies are to be read, not read yet."""
    from zeroshot.eval.truth import Truth

    specs = tuple(truth) if isinstance(truth, (list, tuple)) else (truth,)
    if not all(isinstance(spec, (str, Path)) for spec in specs):
        raise ZeroshotError(
            f"truth {brief(truth)}: expected a benchmark, a file, or accuracies indexed by "
            "architecture"
        )
    files = None if path is None else Path(path)
    better = "lower" if lower_is_better else "higher"
    return Truth(tuple(map(str, specs)), column, files, trust, arch, better)


def respelling(space: Space | None) -> Callable[[str], str] | None:
    """Any notation that a space reads, as it spells it."""
    return None if space is None else lambda text: space.spell(space.parse(text))
