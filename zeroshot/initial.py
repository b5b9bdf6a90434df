"""Initialisations: name -> function(module, generator). Weights only; the rest stays as built.

A reparametrised weight (weight_norm, spectral_norm) is given what is drawn through its
parametrisation, which may change it; where that cannot be, a ZeroshotError says so.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from zeroshot.core import LAYERS
from zeroshot.errors import ZeroshotError


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


def _fill(module: nn.Module, draw: Callable[[Tensor], object]) -> None:
    with torch.no_grad():
        for name, layer in module.named_modules():
            if isinstance(layer, LAYERS):
                _set(layer, "weight", name, draw)
                if layer.bias is not None:
                    _set(layer, "bias", name, Tensor.zero_)


def _set(layer: nn.Module, part: str, name: str, draw: Callable[[Tensor], object]) -> None:
    """Draw a layer's weight or bias in place, or hand what is drawn to its parametrisation.

    Raises:
        ZeroshotError: if it is computed from other tensors, to which no value can be handed.
    """
    if part in layer._parameters or part in layer._buffers:
        draw(getattr(layer, part))
        return
    error = None
    if parametrize.is_parametrized(layer, part):
        drawn = torch.empty_like(getattr(layer, part))
        draw(drawn)
        try:
            setattr(layer, part, drawn)
            return
        except (RuntimeError, ValueError) as caught:
            error = caught
    raise ZeroshotError(
        f"{name}.{part} is computed from other tensors and takes no initial values: remove its "
        "parametrisation first, or use the initialisation 'default'".lstrip(".")
    ) from error


INITS: dict[str, Callable[[nn.Module, torch.Generator], None]] = {
    "default": default,
    "kaiming_normal": kaiming_normal,
    "kaiming_normal_fan_out": kaiming_normal_fan_out,
    "xavier_normal": xavier_normal,
    "gaussian": gaussian,
}
