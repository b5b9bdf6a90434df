"""The models of timm as a space: one axis, the model's name."""

import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import nn

from zeroshot.errors import ZeroshotError
from zeroshot.spaces.space import Arch, Task
from zeroshot.spaces.zoo import Zoo


def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        raise ZeroshotError(
            "the space timm needs the package of that name: pip install 'zeroshot-nas[timm]'"
        ) from error


@cache
def _names() -> tuple[str, ...]:
    return tuple(_timm().list_models())


@dataclass(frozen=True)
class TimmZoo(Zoo):
    """All models that timm, an optional dependency, can build: without weights, nothing is loaded.

    By default at 224 × 224 with 1,000 classes, whatever size the published weights are for.
    Transformers that are made for one size are made for the task's, where timm lets one choose.
    Which models there are depends on the version of timm, so spell them by name, not by index.
    """

    name = "timm"
    built_by = ("timm",)
    source = "https://huggingface.co/docs/timm"

    def models(self) -> tuple[str, ...]:
        """The names of all models; ZeroshotError if timm is not installed."""
        return _names()

    def build(self, arch: Arch, task: Task) -> nn.Module:
        """The model, with timm's own initialisation; ZeroshotError for sizes it does not take."""
        name, timm = self.spell(arch), _timm()
        options: dict[str, Any] = {"num_classes": task.classes, "in_chans": task.channels}
        published = timm.get_pretrained_cfg(name)
        if published is not None and published.fixed_input_size:
            options["img_size"] = task.size
        try:
            return timm.create_model(name, pretrained=False, **options)
        except (TypeError, ValueError, AssertionError) as error:
            raise ZeroshotError(
                f"timm's {name} cannot be built for {task.channels} channels of {task.size} × "
                f"{task.size} pixels: {str(error)[:200] or type(error).__name__}"
            ) from error
