"""The search spaces. To add one: a file with its name, and a line here."""

from zeroshot.spaces.nasbench201 import NasBench201
from zeroshot.spaces.space import Arch, Axis, Space, Task
from zeroshot.spaces.torchvision import TorchvisionZoo

NASBENCH201 = NasBench201()
TORCHVISION = TorchvisionZoo()

SPACES: tuple[Space, ...] = (NASBENCH201, TORCHVISION)

__all__ = [
    "NASBENCH201",
    "SPACES",
    "TORCHVISION",
    "Arch",
    "Axis",
    "NasBench201",
    "Space",
    "Task",
    "TorchvisionZoo",
]
