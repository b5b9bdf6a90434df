"""torchvision's classification models as a space: one axis, the model's name."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import nn

from zeroshot.errors import ZeroshotError
from zeroshot.spaces.space import Arch, Task
from zeroshot.spaces.zoo import Zoo

AUXILIARY = ("googlenet", "inception_v3")  # heads that exist only in training are left out


@cache
def _names() -> tuple[str, ...]:
    import torchvision

    return tuple(torchvision.models.list_models(module=torchvision.models))


@dataclass(frozen=True)
class TorchvisionZoo(Zoo):
    """All image classifiers that torchvision can build, at 224 × 224 with 1,000 classes.

    Parameters equal those published with the weights, but for inception_v3: its auxiliary training
    head is left out, as is googlenet's.
    """

    name = "torchvision"
    built_by = ("torchvision",)
    source = "https://pytorch.org/vision/stable/models.html"

    def models(self) -> tuple[str, ...]:
        """The names of all models."""
        return _names()

    def build(self, arch: Arch, task: Task) -> nn.Module:
        """The model, with torchvision's own initialisation."""
        import torchvision

        if task.channels != 3:
            raise ZeroshotError(f"torchvision's models take 3 channels, not {task.channels}")
        name = self.spell(arch)
        options: dict[str, Any] = {}
        if name in AUXILIARY:
            options = {"aux_logits": False, "init_weights": True}
        return torchvision.models.get_model(name, weights=None, num_classes=task.classes, **options)
