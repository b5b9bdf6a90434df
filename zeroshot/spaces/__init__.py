"""The search spaces. To add one: a file with its name, and a line here."""

from zeroshot.spaces.darts import Darts
from zeroshot.spaces.mixed import Mixed
from zeroshot.spaces.nasbench201 import NasBench201
from zeroshot.spaces.space import Arch, Axis, Space, Task
from zeroshot.spaces.torchvision import TorchvisionZoo

DARTS = Darts()
NASBENCH201 = NasBench201()
TORCHVISION = TorchvisionZoo()

SPACES: tuple[Space, ...] = (NASBENCH201, DARTS, TORCHVISION)

__all__ = [
    "DARTS",
    "NASBENCH201",
    "SPACES",
    "TORCHVISION",
    "Arch",
    "Axis",
    "Darts",
    "Mixed",
    "NasBench201",
    "Space",
    "Task",
    "TorchvisionZoo",
]
