"""Initialisations: name -> function(module, generator). Weights only; the rest stays as built.

A reparametrised weight (weight_norm, spectral_norm) is given what is drawn through its
parametrisation, which may change it; where that cannot be, a ZeroshotError says so.
"""

import math
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
    _fill(module, generator, lambda fan_in, _: math.sqrt(2.0) / math.sqrt(fan_in))


def kaiming_normal_fan_out(module: nn.Module, generator: torch.Generator) -> None:
    """N(0, 2 / fan-out) for convolution and linear weights, zero for their biases."""
    _fill(module, generator, lambda _, fan_out: math.sqrt(2.0) / math.sqrt(fan_out))


def xavier_normal(module: nn.Module, generator: torch.Generator) -> None:
    """N(0, 2 / (fan-in + fan-out)) for convolution and linear weights, zero for their biases."""
    _fill(module, generator, lambda fan_in, fan_out: math.sqrt(2.0 / float(fan_in + fan_out)))


def gaussian(module: nn.Module, generator: torch.Generator) -> None:
    """N(0, 1) for convolution and linear weights, zero for their biases."""
    _fill(module, generator, lambda *_: 1.0)


def _fill(
    module: nn.Module, generator: torch.Generator, deviation: Callable[[int, int], float]
) -> None:
    """Draw all weights from normal distributions, whose deviations depend on fan-in and fan-out."""
    with torch.no_grad():
        for name, layer in module.named_modules():
            if isinstance(layer, LAYERS):
                spread = deviation(*_fans(layer))

                def draw(weight: Tensor, spread: float = spread) -> object:
                    return weight.normal_(0, spread, generator=generator)

                _set(layer, "weight", name, draw)
                if layer.bias is not None:
                    _set(layer, "bias", name, Tensor.zero_)


def _fans(layer: nn.Module) -> tuple[int, int]:
    """How many numbers an output is summed from, and how many sums an input is in.

    As PyTorch counts them, but for transposed convolutions, which it takes for plain ones.
    """
    weight = layer.weight
    assert isinstance(weight, Tensor)
    first, second, area = *weight.shape[:2], weight[0, 0].numel()
    if getattr(layer, "transposed", False):
        groups = int(layer.groups)  # type: ignore[arg-type]
        return first // groups * area, second * groups * area
    return second * area, first * area


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
