"""A search space of your own: axes, and what to build. All the rest is inherited."""

from dataclasses import dataclass

from torch import nn

import zeroshot
from zeroshot.spaces import Arch, Axis, Space, Task


@dataclass(frozen=True)
class Tower(Space):
    """Three convolutions, each of a width and kernel size of its own."""

    name, source, task = "tower", "this file", Task(size=16)
    axes = tuple(Axis(f"layer {n}", ("8x3", "8x5", "16x3", "16x5", "32x3")) for n in (1, 2, 3))

    def build(self, arch: Arch, task: Task) -> nn.Module:
        """The network of an architecture."""
        layers, before = [], task.channels
        for (option,) in self.names(arch):
            width, kernel = map(int, option.split("x"))
            layers += [nn.Conv2d(before, width, kernel, padding=kernel // 2), nn.ReLU()]
            before = width
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, task.classes)
        return nn.Sequential(*layers, *head)


if __name__ == "__main__":
    found = zeroshot.rank(Tower(), sample=20, max_params=2e4, batch_size=16, workers=1)
    print(found.order.head(3))
