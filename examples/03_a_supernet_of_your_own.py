"""A supernet of your own: what may stand where, pruned to one network without training any."""

from dataclasses import dataclass

from torch import nn

import zeroshot
from zeroshot.spaces import Arch, Axis, Mixed, Space, Task


def operation(name: str, width: int) -> nn.Module:
    """What an option stands for."""
    if name == "skip":
        return nn.Identity()
    if name == "pool":
        return nn.AvgPool2d(3, stride=1, padding=1)
    size = int(name.removeprefix("conv"))
    conv = nn.Conv2d(width, width, size, padding=size // 2, bias=False)
    return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(width))


@dataclass(frozen=True)
class Tower(Space):
    """Three stages, one after the other, of one operation each."""

    name, source, mixable = "tower", "this file", True
    axes = tuple(Axis(f"stage {n}", ("skip", "pool", "conv1", "conv3")) for n in (1, 2, 3))
    task = Task(size=16)

    def build(self, arch: Arch, task: Task) -> nn.Module:
        """A stage is the mean of the operations that are open on its axis."""
        stem = nn.Conv2d(task.channels, 8, 3, bias=False), nn.BatchNorm2d(8)
        stages = [Mixed({name: operation(name, 8) for name in open_}) for open_ in self.names(arch)]
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, task.classes)
        return nn.Sequential(*stem, *stages, *head)


if __name__ == "__main__":
    found = zeroshot.prune(Tower(), workers=1)
    print(found.name, Tower().names(found.arch))
