"""Runs with other weights or inputs than the network and the batch have."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from zeroshot.core import LAYERS, NORMS, Batch, Net, Pass
from zeroshot.errors import Undefined
from zeroshot.observe import (
    bypassing_batch_norm,
    convolving_by_matrix,
    hooked,
    watching_activations,
    watching_pools,
)
from zeroshot.passes.backward import Grads, gradients
from zeroshot.passes.forward import packed, seen_codes
from zeroshot.passes.structure import needing_statistics, weights_of


@dataclass(frozen=True)
class Synflow(Pass[Grads]):
    """∂Σlogits/∂|w| for an input of ones and every parameter made positive, in float64.

    Attributes:
        keep_bn: whether batch normalisation stays; otherwise it returns its input.
    """

    keep_bn: bool = False

    def run(self, net: Net, batch: Batch) -> Grads:
        """One forward and backward run of one sample; Undefined for inputs that are not real."""
        if not batch.inputs.is_floating_point():
            raise Undefined(f"no input of ones for inputs of type {batch.inputs.dtype}")
        ones = torch.ones_like(batch.inputs[:1], dtype=torch.float64)
        own, names = weights_of(net, dict(net.parameters)), net.names()
        leaves = {name: p.detach().abs().double() for name, p in net.parameters.items()}
        weights = tuple(leaves[names[id(weight)]].requires_grad_() for weight in own)
        bypass = nullcontext() if self.keep_bn else bypassing_batch_norm()
        with needing_statistics(), bypass, sdpa_kernel(SDPBackend.MATH):
            found = gradients(net(ones, leaves).sum(), weights)
        return Grads(tuple(w.detach() for w in weights), found)


class Perturbation(NamedTuple):
    """Features before global pooling, for inputs and slightly different inputs."""

    clean: Float[Tensor, "n ..."]
    perturbed: Float[Tensor, "n ..."]
    variances: tuple[Float[Tensor, " _"], ...]  # per batch normalisation: its channels'


@dataclass(frozen=True)
class Perturbed(Pass[Perturbation]):
    """Two runs with Gaussian weights: on noise x, and on x + gamma · noise.

    Attributes:
        gamma: size of the perturbation.
        fidelity: 'paper': variances are those of the clean run's batch. 'official': they are the
            running variances as the authors' code reads them: the stored ones (1 at first), moved
            with each layer's momentum by the clean run and then by the perturbed run.
    """

    gamma: float = 0.01
    fidelity: Literal["paper", "official"] = "paper"

    def run(self, net: Net, batch: Batch) -> Perturbation:
        """Run both; Undefined without a global pooling or for inputs that are not real numbers."""
        if not batch.inputs.is_floating_point():
            raise Undefined(f"inputs of type {batch.inputs.dtype} cannot be perturbed")
        net.check_weights()
        generator = net.generator("perturbed")

        def noise(like: Tensor) -> Tensor:  # the same on every device and in every precision
            drawn = torch.empty(like.shape, dtype=torch.float32).normal_(generator=generator)
            return drawn.to(like.device, like.dtype)

        names = net.names()
        weights: dict[str, Tensor] = {}
        for _, module in net.parts:
            for part, p in module._parameters.items():
                if p is None or names[id(p)] in weights:  # the latter if shared
                    continue
                scale = part.endswith("weight")
                if isinstance(module, LAYERS):
                    weights[names[id(p)]] = noise(p) if scale else torch.zeros_like(p)
                elif isinstance(module, (*NORMS, nn.GroupNorm)):
                    weights[names[id(p)]] = torch.ones_like(p) if scale else torch.zeros_like(p)

        inputs = noise(batch.inputs)
        runs = []
        for x in (inputs, inputs + self.gamma * noise(batch.inputs)):
            runs.append(self._features(net, x, weights))
        (clean, once), (perturbed, twice) = runs
        if self.fidelity == "paper":
            variances = tuple(found.var(_but_channels(found), correction=0) for _, found in once)
        else:
            variances = tuple(
                _moved(layer, (before, after))
                for (layer, before), (_, after) in zip(once, twice, strict=True)
            )
        return Perturbation(clean, perturbed, variances)

    @staticmethod
    def _features(
        net: Net, inputs: Tensor, weights: Mapping[str, Tensor]
    ) -> tuple[Tensor, list[tuple[nn.Module, Tensor]]]:
        pooled: list[Tensor] = []
        normalised: list[tuple[nn.Module, Tensor]] = []
        norms = hooked(
            (part for _, part in net.parts if isinstance(part, NORMS)),
            lambda module, inward, _: normalised.append((module, inward[0].clone())),
        )

        def forget(layer: nn.Module, _: object, output: object) -> None:
            """A pooling before a convolution of maps was no pooling of the features."""
            maps = isinstance(output, Tensor) and output.ndim > 3 and output.shape[2:].numel() > 1
            if maps and not isinstance(layer, nn.Linear):
                pooled.clear()

        layers = hooked((layer for _, layer in net.named_layers()), forget)
        with torch.no_grad(), norms, layers, watching_pools(pooled):
            net(inputs, weights)
        if not pooled:
            raise Undefined("no global pooling was seen, before which features could be compared")
        return pooled[-1], normalised


@dataclass(frozen=True)
class Patterns(Pass[UInt8[Tensor, "n _"]]):
    """Activation patterns, bit-packed: one row per input, one bit per unit.

    Where the space has a thin network: TE-NAS' protocol, its patterns on random 3×3 crops of one
    channel each, drawn from the batch's images, the same for all networks of a seed. Elsewhere:
    the network's own patterns on the batch.

    Attributes:
        samples: number of crops.
        together: crops per run; they share normalisation statistics.
    """

    samples: int = 3000
    together: int = 1000

    def run(self, net: Net, batch: Batch) -> UInt8[Tensor, "n _"]:
        """Run without gradients; Undefined without a ReLU-like activation, or for tiny images."""
        thin = net.thin() if net.thin else None
        if thin is None:
            return packed(self._codes(net, batch.inputs))
        crops = self._crops(net, batch.inputs)
        reduced = Net(thin, seed=net.seed)
        with convolving_by_matrix():
            return torch.cat([packed(self._codes(reduced, c)) for c in crops.split(self.together)])

    @staticmethod
    def _codes(net: Net, inputs: Tensor) -> tuple[Tensor, ...]:
        codes: list[Tensor] = []
        with torch.no_grad(), watching_activations(codes):
            net(inputs)
        return seen_codes(net, tuple(codes), len(inputs))

    def _crops(self, net: Net, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "m 1 3 3"]:
        n, channels, height, width = images.shape
        if min(height, width) < 3:
            raise Undefined(f"images of {height} × {width} pixels have no crops of 3 × 3")
        generator = net.generator("crops")
        image, channel, top, left = (
            torch.randint(limit, (self.samples, 1, 1), generator=generator).to(images.device)
            for limit in (n, channels, height - 2, width - 2)
        )
        step = torch.arange(3, device=images.device)
        crops = images[image, channel, top + step[:, None], left + step]
        return crops.unsqueeze(1)


def _but_channels(tensor: Tensor) -> tuple[int, ...]:
    return tuple(d for d in range(tensor.ndim) if d != 1)


def _moved(layer: nn.Module, seen: tuple[Tensor, ...]) -> Tensor:
    """A normalisation layer's running variance after it has seen these inputs."""
    running = getattr(layer, "running_var", None)
    if running is None:
        raise Undefined("the official Zen score reads running variances, and none are tracked")
    momentum = getattr(layer, "momentum", None)
    for count, inputs in enumerate(seen, start=1):
        share = momentum if momentum is not None else 1 / count
        running = (1 - share) * running + share * inputs.var(_but_channels(inputs))
    return running
