"""Initialisations: name -> function(module, generator). Weights only; the rest stays as built."""

from collections.abc import Callable

import torch
from torch import nn

from zeroshot.core import LAYERS


def default(module: nn.Module, generator: torch.Generator) -> None:
    """Leave the network as its authors initialise it (for most: PyTorch's uniform fan-in)."""


def kaiming_normal(module: nn.Module, generator: torch.Generator) -> None:
    """N(0, 2 / fan-in) for convolution and linear weights, zero for their biases."""
    _fill(module, lambda w: nn.init.kaiming_normal_(w, generator=generator))


def kaiming_normal_fan_out(module: nn.Module, generator: torch.Generator) -> None:
    """N(0, 2 / fan-out) for convolution and linear weights, zero for their biases."""
    _fill(module, lambda w: nn.init.kaiming_normal_(w, mode="fan_out", generator=generator))


def xavier_normal(module: nn.Module, generator: torch.Generator) -> None:
    """N(0, 2 / (fan-in + fan-out)) for convolution and linear weights, zero for their biases."""
    _fill(module, lambda w: nn.init.xavier_normal_(w, generator=generator))


def gaussian(module: nn.Module, generator: torch.Generator) -> None:
    """N(0, 1) for convolution and linear weights, zero for their biases."""
    _fill(module, lambda w: nn.init.normal_(w, generator=generator))


def _fill(module: nn.Module, draw: Callable[[torch.Tensor], object]) -> None:
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, LAYERS):
                draw(layer.weight)
                if layer.bias is not None:
                    layer.bias.zero_()


INITS: dict[str, Callable[[nn.Module, torch.Generator], None]] = {
    "default": default,
    "kaiming_normal": kaiming_normal,
    "kaiming_normal_fan_out": kaiming_normal_fan_out,
    "xavier_normal": xavier_normal,
    "gaussian": gaussian,
}
