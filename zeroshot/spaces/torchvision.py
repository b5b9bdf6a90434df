"""torchvision's classification models as a space: one axis, the model's name."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import nn

from zeroshot.core import Cost
from zeroshot.errors import ZeroshotError
from zeroshot.spaces.space import Arch, Axis, Space, Task

AUXILIARY = ("googlenet", "inception_v3")  # heads that exist only in training are left out


@cache
def _names() -> tuple[str, ...]:
    import torchvision

    return tuple(torchvision.models.list_models(module=torchvision.models))


@cache
def _cost(space: "TorchvisionZoo", arch: Arch, task: Task) -> Cost:
    return Space.cost(space, arch, task)


@dataclass(frozen=True)
class TorchvisionZoo(Space):
    """All image classifiers that torchvision can build, at 224 × 224 with 1,000 classes.

    Parameters equal those published with the weights, but for inception_v3: its auxiliary training
    head is left out, as is googlenet's.
    """

    name = "torchvision"
    task = Task(channels=3, size=224, classes=1000)
    source = "https://pytorch.org/vision/stable/models.html"

    @property
    def axes(self) -> tuple[Axis, ...]:  # type: ignore[override]
        """One axis: the model's name."""
        return (Axis("model", _names()),)

    def spell(self, arch: Arch) -> str:
        """The model's name."""
        return self.axes[0].options[arch.genes[0]]

    def parse_native(self, text: str) -> Arch:
        """Read a model's name."""
        from difflib import get_close_matches

        names = self.axes[0].options
        if text not in names:
            close = get_close_matches(text, names) or names[:3]
            raise ZeroshotError(
                f"torchvision has no classifier {text!r}; did you mean {', '.join(close)}?"
            )
        return self.arch(names.index(text))

    def cost(self, arch: Arch, task: Task | None = None) -> Cost:
        """Counted once per model, as building one takes a while."""
        return _cost(self, arch, task or self.task)

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
