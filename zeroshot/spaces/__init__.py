"""The search spaces. To add one: a file with its name, and a line here."""

from zeroshot.spaces.autoformer import AutoFormer
from zeroshot.spaces.chain import Chain
from zeroshot.spaces.darts import Darts
from zeroshot.spaces.mixed import Mixed
from zeroshot.spaces.mobilenet import MobileNet
from zeroshot.spaces.nasbench101 import NasBench101
from zeroshot.spaces.nasbench201 import NasBench201
from zeroshot.spaces.nasnet import NasNet
from zeroshot.spaces.natsbench_size import NatsBenchSize
from zeroshot.spaces.randwire import RandWire
from zeroshot.spaces.recurrent import EnasRnn, NasBenchNlp, NextToken
from zeroshot.spaces.space import Arch, Axis, Space, Task
from zeroshot.spaces.timm import TimmZoo
from zeroshot.spaces.torchvision import TorchvisionZoo
from zeroshot.spaces.transnasbench101 import TransNasBench101Macro, TransNasBench101Micro

AUTOFORMER = AutoFormer()
CHAIN = Chain()
DARTS = Darts()
ENAS_RNN = EnasRnn()
MOBILENET = MobileNet()
NASBENCH101 = NasBench101()
NASBENCH201 = NasBench201()
NASBENCH_NLP = NasBenchNlp()
NASNET = NasNet()
NATSBENCH_SIZE = NatsBenchSize()
RANDWIRE = RandWire()
TIMM = TimmZoo()
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
    NASNET,
    MOBILENET,
    AUTOFORMER,
    CHAIN,
    RANDWIRE,
    ENAS_RNN,
    NASBENCH_NLP,
    TORCHVISION,
    TIMM,
)

__all__ = [
    "AUTOFORMER",
    "CHAIN",
    "DARTS",
    "ENAS_RNN",
    "MOBILENET",
    "NASBENCH101",
    "NASBENCH201",
    "NASBENCH_NLP",
    "NASNET",
    "NATSBENCH_SIZE",
    "RANDWIRE",
    "SPACES",
    "TIMM",
    "TORCHVISION",
    "TRANSNASBENCH101_MACRO",
    "TRANSNASBENCH101_MICRO",
    "Arch",
    "AutoFormer",
    "Axis",
    "Chain",
    "Darts",
    "EnasRnn",
    "Mixed",
    "MobileNet",
    "NasBench101",
    "NasBench201",
    "NasBenchNlp",
    "NasNet",
    "NatsBenchSize",
    "NextToken",
    "RandWire",
    "Space",
    "Task",
    "TimmZoo",
    "TorchvisionZoo",
    "TransNasBench101Macro",
    "TransNasBench101Micro",
]
