"""The search spaces. To add one: a file with its name, and a line here."""

from zeroshot.spaces.autoformer import AutoFormer
from zeroshot.spaces.chain import Chain
from zeroshot.spaces.darts import Darts
from zeroshot.spaces.mixed import Mixed
from zeroshot.spaces.mobilenet import MobileNet
from zeroshot.spaces.nasbench101 import NasBench101
from zeroshot.spaces.nasbench201 import NasBench201
from zeroshot.spaces.natsbench_size import NatsBenchSize
from zeroshot.spaces.space import Arch, Axis, Space, Task
from zeroshot.spaces.torchvision import TorchvisionZoo
from zeroshot.spaces.transnasbench101 import TransNasBench101Macro, TransNasBench101Micro

AUTOFORMER = AutoFormer()
CHAIN = Chain()
DARTS = Darts()
MOBILENET = MobileNet()
NASBENCH101 = NasBench101()
NASBENCH201 = NasBench201()
NATSBENCH_SIZE = NatsBenchSize()
TORCHVISION = TorchvisionZoo()
TRANSNASBENCH101_MACRO = TransNasBench101Macro()
TRANSNASBENCH101_MICRO = TransNasBench101Micro()

SPACES: tuple[Space, ...] = (
    NASBENCH201,
    NASBENCH101,
    NATSBENCH_SIZE,
    TRANSNASBENCH101_MICRO,
    TRANSNASBENCH101_MACRO,
    DARTS,
    MOBILENET,
    AUTOFORMER,
    CHAIN,
    TORCHVISION,
)

__all__ = [
    "AUTOFORMER",
    "CHAIN",
    "DARTS",
    "MOBILENET",
    "NASBENCH101",
    "NASBENCH201",
    "NATSBENCH_SIZE",
    "SPACES",
    "TORCHVISION",
    "TRANSNASBENCH101_MACRO",
    "TRANSNASBENCH101_MICRO",
    "Arch",
    "AutoFormer",
    "Axis",
    "Chain",
    "Darts",
    "Mixed",
    "MobileNet",
    "NasBench101",
    "NasBench201",
    "NatsBenchSize",
    "Space",
    "Task",
    "TorchvisionZoo",
    "TransNasBench101Macro",
    "TransNasBench101Micro",
]
