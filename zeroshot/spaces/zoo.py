"""Spaces of one axis: the names of models that another package builds."""

from abc import abstractmethod
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

from zeroshot.core import Cost
from zeroshot.errors import ZeroshotError
from zeroshot.spaces.space import Arch, Axis, Space, Task


@cache
def _cost(space: "Zoo", arch: Arch, task: Task) -> Cost:
    return Space.cost(space, arch, task)


@dataclass(frozen=True)
class Zoo(Space):
    """Image classifiers, at 224 × 224 with 1,000 classes."""

    task = Task(channels=3, size=224, classes=1000)

    @abstractmethod
    def models(self) -> tuple[str, ...]:
        """The names of all models."""

    @property
    def axes(self) -> tuple[Axis, ...]:  # type: ignore[override]
        """One axis: the model's name."""
        return (Axis("model", self.models()),)

    def spell(self, arch: Arch) -> str:
        """The model's name."""
        return self.models()[arch.genes[0]]

    def parse_native(self, text: str) -> Arch:
        """Read a model's name."""
        names = self.models()
        if text not in names:
            close = get_close_matches(text, names) or names[:3]
            raise ZeroshotError(
                f"{self.name} has no classifier {text!r}; did you mean {', '.join(close)}?"
            )
        return self.arch(names.index(text))

    def cost(self, arch: Arch, task: Task | None = None) -> Cost:
        """Counted once per model, as building one takes a while."""
        return _cost(self, arch, task or self.task)
