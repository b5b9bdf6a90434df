"""Toy networks and a toy batch that anyone can rebuild: every number comes from a formula.

Each class takes 3×16×16 images and answers 10 classes; all hold fewer than 50,000 parameters.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def wave(count: int, index: int) -> np.ndarray:
    """`count` scattered numbers of about zero mean and unit variance, different for every `index`.

    A sine whose phase grows with the square of the position: unlike a plain sine, whose reshaping
    is a matrix of rank 2, it fills weight matrices of full rank.
    """
    position = np.arange(1, count + 1, dtype=np.float64)
    return np.sqrt(2) * np.sin(1.7 * index + 0.9 * position + np.sqrt(3) * position**2)


def fill(module: M) -> M:
    """Set every tensor of a module by formula and return the module.

    Tensor k (parameters in order, then buffers) receives
    weights of two or more axes: sqrt(2 / fan-in) · wave, as Kaiming would scale them;
    weights of one axis (the gammas of normalisations): 1 + 0.1 · wave;
    all other parameters (biases): 0.1 · wave;
    running means: 0.1 · wave; running variances: 1 + 0.1 · |wave|; counters: 0.
    """
    tensors = [*module.named_parameters(), *module.named_buffers()]
    for k, (name, tensor) in enumerate(tensors):
        values = wave(tensor.numel(), k).reshape(tuple(tensor.shape))
        if not tensor.is_floating_point():
            values = np.zeros(tuple(tensor.shape))
        elif name.endswith("running_var"):
            values = 1 + 0.1 * np.abs(values)
        elif name.endswith("weight") and tensor.ndim >= 2:
            values = np.sqrt(2 / (tensor.numel() / tensor.shape[0])) * values
        elif name.endswith("weight"):
            values = 1 + 0.1 * values
        else:
            values = 0.1 * values
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(np.asarray(values)))
    return module


def batch(
    n: int = 16,
    c: int = 3,
    h: int = 16,
    w: int = 16,
    classes: int = 10,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    """Images of two plane waves per sample and channel; targets 0, 1, …, classes - 1, 0, …"""
    i, j, y, x = np.meshgrid(np.arange(n), np.arange(c), np.arange(h), np.arange(w), indexing="ij")
    turn = np.pi * ((i + 1) * np.sqrt(2) % 1)
    speed = 0.4 + 1.2 * ((i + 1) * np.sqrt(3) % 1)
    shift = 2.4 * i + (1 + np.sqrt(5)) * j
    first = np.sin(speed * (np.cos(turn) * x + np.sin(turn) * y) + shift)
    second = np.sin(
        1.3 * speed * (np.cos(3 * turn) * y - np.sin(3 * turn) * x) + shift * np.sqrt(7)
    )
    return torch.from_numpy(first + second).to(dtype), torch.arange(n) % classes


class Plain(nn.Module):
    """Three times convolution, batch normalisation and ReLU; the middle one halves the image."""

    def __init__(self, classes: int = 10, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(2 * width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.bn3 = nn.BatchNorm2d(2 * width)
        self.relu3 = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(2 * width, classes)

    def features(self, x: Tensor) -> Tensor:
        """What is pooled: the last feature map."""
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        return self.relu3(self.bn3(self.conv3(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.features(x)).flatten(1))


class Block(nn.Module):
    """A residual block of two convolutions; the shortcut of a strided one is a 1×1 convolution."""

    def __init__(self, wide_in: int, wide_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(wide_in, wide_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide_out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(wide_out, wide_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(wide_out)
        self.relu2 = nn.ReLU()
        self.shortcut = nn.Sequential()
        if stride != 1 or wide_in != wide_out:
            conv = nn.Conv2d(wide_in, wide_out, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(wide_out))

    def forward(self, x: Tensor) -> Tensor:
        inside = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(inside + self.shortcut(x))


class Residual(nn.Module):
    """A stem, a residual block and a strided residual block."""

    def __init__(self, classes: int = 10, width: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.block1 = Block(width, width, stride=1)
        self.block2 = Block(width, 2 * width, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(2 * width, classes)

    def features(self, x: Tensor) -> Tensor:
        """What is pooled: the last feature map."""
        return self.block2(self.block1(self.relu(self.bn(self.conv(x)))))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.features(x)).flatten(1))


class NoNorm(nn.Module):
    """No normalisation, biases everywhere, and ReLUs that are function calls, not modules."""

    def __init__(self, classes: int = 10, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.hidden = nn.Linear(2 * width, 2 * width)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.head(F.relu(self.hidden(x)))


class Disconnected(nn.Module):
    """After the stem, one branch leads to the logits, one is dropped, and one layer never runs."""

    def __init__(self, classes: int = 10, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.used = nn.Conv2d(width, width, 3, padding=1)
        self.dropped = nn.Conv2d(width, width, 3, padding=1)
        self.dropped_relu = nn.ReLU()
        self.used_relu = nn.ReLU()
        self.idle = nn.Linear(width, width)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn(self.stem(x)))
        self.dropped_relu(self.dropped(x))
        x = self.used_relu(self.used(x))
        return self.head(self.pool(x).flatten(1))


class Transformer(nn.Module):
    """A vision transformer of one layer: 4×4 patches, learnt positions, mean of tokens."""

    def __init__(self, classes: int = 10, width: int = 16, size: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, stride=4)
        self.positions = nn.Parameter(torch.zeros(1, (size // 4) ** 2, width))
        self.layer = nn.TransformerEncoderLayer(
            width,
            nhead=2,
            dim_feedforward=2 * width,
            dropout=0.1,
            activation="gelu",
            batch_first=True,
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.layer(tokens)).mean(dim=1))


class ReluFree(nn.Module):
    """Smooth and saturating units only: no rectifier, hence no activation code."""

    def __init__(self, classes: int = 10, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.squash = nn.Tanh()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.sigmoid(self.conv2(self.squash(self.conv1(x))))
        return self.head(self.pool(x).flatten(1))


class InplaceRelu(nn.Module):
    """One ReLU, used twice, overwrites its input: a convolution's output, then a BN's."""

    def __init__(self, classes: int = 10, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(2 * width)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv1(x))
        x = self.relu(self.bn(self.conv2(x)))
        return self.head(self.pool(x).flatten(1))


class MethodRelu(nn.Module):
    """ReLUs as methods and functions of tensors."""

    def __init__(self, classes: int = 10, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(2 * width)
        self.hidden = nn.Linear(2 * width, 2 * width)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu_()
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.head(torch.relu(self.hidden(x)))


class TupleOutput(nn.Module):
    """Answers (logits, features)."""

    def __init__(self, classes: int = 10, width: int = 8) -> None:
        super().__init__()
        self.body = Plain(classes, width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body.pool(self.body.features(x)).flatten(1)
        return self.body.head(features), features


class DictOutput(nn.Module):
    """Answers {"logits": …, "features": …}."""

    def __init__(self, classes: int = 10, width: int = 8) -> None:
        super().__init__()
        self.body = Plain(classes, width)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.body.pool(self.body.features(x)).flatten(1)
        return {"logits": self.body.head(features), "features": features}


class Activations(nn.Module):
    """One convolution after each of ReLU6, GELU, SiLU and Hardswish."""

    def __init__(self, classes: int = 10, width: int = 8) -> None:
        super().__init__()
        units: list[Callable[[], nn.Module]] = [nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish]
        layers: list[nn.Module] = []
        for depth, unit in enumerate(units):
            wide_in = 3 if depth == 0 else width
            layers += [
                nn.Conv2d(wide_in, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                unit(),
            ]
        self.body = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.body(x)).flatten(1))


NETWORKS: tuple[tuple[str, Callable[[], nn.Module]], ...] = (
    ("Plain", Plain),
    ("Residual", Residual),
    ("NoNorm", NoNorm),
    ("Disconnected", Disconnected),
    ("Transformer", Transformer),
    ("ReluFree", ReluFree),
    ("InplaceRelu", InplaceRelu),
    ("MethodRelu", MethodRelu),
    ("TupleOutput", TupleOutput),
    ("DictOutput", DictOutput),
    ("Activations", Activations),
)

# Where a toy network has blocks worth the name; some are overwritten in place, some lead nowhere.
BLOCKS: dict[str, tuple[str, ...]] = {
    "Plain": ("relu1", "relu2", "relu3"),
    "Residual": ("relu", "block1", "block2"),
    "NoNorm": ("conv1", "conv2"),
    "Disconnected": ("relu", "dropped_relu", "used_relu"),
    "Transformer": ("patches", "layer", "norm"),
    "ReluFree": ("conv1", "conv2"),
    "InplaceRelu": ("conv1", "bn"),
    "Activations": ("body.2", "body.5", "body.8", "body.11"),
}


def network(name: str, dtype: torch.dtype = torch.float64, **options: Any) -> nn.Module:
    """The named toy network, filled by formula, in train mode."""
    return fill(dict(NETWORKS)[name](**options).to(dtype)).train()
