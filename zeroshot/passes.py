"""Every way a network is run. READ THIRD, after core.py and scoring.py."""

import math
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64, Int, UInt8
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from zeroshot.core import LAYERS, Batch, Cost, Net, Pass
from zeroshot.errors import Undefined, ZeroshotError
from zeroshot.observe import (
    by_sample,
    bypassing_batch_norm,
    freezing_batch_norm,
    hooked,
    watching_activations,
    watching_pools,
)

# -- nothing is run ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights(Pass[tuple[Tensor, ...]]):
    """The convolution and linear weights, as they are."""

    def run(self, net: Net, batch: Batch) -> tuple[Tensor, ...]:
        """Take them; Undefined if there are none."""
        return tuple(_some(net.weights()).values())


@dataclass(frozen=True)
class Census(Pass[Cost]):
    """Parameters, multiply-adds for one sample, and number of weight tensors."""

    def run(self, net: Net, batch: Batch) -> Cost:
        """Ask the space if it knows, else count while one sample runs."""
        return net.cost() if net.cost else census(net, batch.inputs[:1])


def census(net: Net, sample: Tensor) -> Cost:
    """Count while one sample runs, on any device; on `meta` no arithmetic is done.

    Counted are convolutions and matrix products, those of attention included, as PyTorch's
    FlopCounterMode sees them; normalisation, pooling, activations and sums are not.
    """
    counter = FlopCounterMode(display=False)
    # Normalisation is not counted, and one sample may be too few for its statistics. Leaves keep
    # attention off its fused inference path, whose products the counter cannot see.
    with counter, bypassing_batch_norm(), sdpa_kernel(SDPBackend.MATH):
        net(sample, _leaves(net), statistics="stored")
    params = sum(p.numel() for p in net.module.parameters())
    return Cost(params, counter.get_total_flops() // 2, len(net.weights()))


# -- one forward run, and what hangs off its graph --------------------------------------------


class Layer(NamedTuple):
    """What one run of a convolution or linear layer gave."""

    output: Tensor
    fan_in: int  # weights that one channel has
    channels: int  # the output's axis of channels


class Trace(NamedTuple):
    """A forward run whose graph is still alive."""

    inputs: Tensor  # a fresh leaf, if it is real
    targets: Int[Tensor, " n"]
    leaves: dict[str, Tensor]  # every parameter, as a fresh leaf
    weights: dict[str, Tensor]  # those of them that are convolution or linear weights
    logits: Float[Tensor, "n ..."]
    codes: tuple[Bool[Tensor, "..."], ...]  # per activation: which inputs are positive
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Forward(Pass[Trace]):
    """One forward run of the batch, with the batch's own normalisation statistics."""

    def run(self, net: Net, batch: Batch) -> Trace:
        """Run it; a second time, on copies, if the network overwrote a layer's output in place."""
        trace, versions = self._run(net, batch, copy=False)
        if versions != [layer.output._version for layer in trace.layers]:
            trace, _ = self._run(net, batch, copy=True)
        return trace

    def _run(self, net: Net, batch: Batch, *, copy: bool) -> tuple[Trace, list[int]]:
        inputs = batch.inputs.detach().clone()
        inputs.requires_grad_(inputs.is_floating_point())
        leaves = _leaves(net)
        codes: list[Tensor] = []
        layers: list[Layer] = []
        versions: list[int] = []

        def keep(module: nn.Module, _: object, output: Tensor) -> Tensor | None:
            layers.append(_layer(module, output))
            versions.append(output._version)
            return output.clone() if copy else None

        observers = hooked(net.module, LAYERS, keep), watching_activations(codes)
        # Of the attention kernels, the plain one can be differentiated twice.
        with observers[0], observers[1], sdpa_kernel(SDPBackend.MATH):
            logits = net(inputs, leaves)
        if logits.shape[:1] != (len(batch),):
            raise Undefined(f"logits of shape {tuple(logits.shape)} for {len(batch)} samples")
        weights = {name: leaves[name] for name in net.weights()}
        return Trace(
            inputs, batch.targets, leaves, weights, logits, tuple(codes), tuple(layers)
        ), versions


class Grads(NamedTuple):
    """Weights and the gradients of some scalar for them; zero where a weight reaches nothing."""

    weights: tuple[Tensor, ...]
    grads: tuple[Tensor, ...]  # same shapes


class Saliency(NamedTuple):
    """What the channels of one layer's output contribute to the loss, sample by sample."""

    products: Float[Tensor, "n channels"]  # Σ activation · gradient over positions
    fan_in: int  # weights that one channel has


class LossTrace(NamedTuple):
    """What one backward run of the mean cross-entropy yields."""

    grads: Grads
    layers: tuple[Saliency, ...]  # one per layer run
    lost: str = ""  # why there are no layers, if there are none
    alive: tuple[Tensor, ...] = ()  # the weights' gradients once more, if differentiable in turn


@dataclass(frozen=True)
class LossBackward(Pass[LossTrace]):
    """One backward run of the mean cross-entropy, down to weights and layer outputs at once.

    Attributes:
        twice: whether the gradients stay differentiable; dearer in memory.
    """

    twice: bool = False
    needs = (Forward(),)

    @property
    def instead(self) -> "LossBackward | None":
        """The same run, kept differentiable."""
        return None if self.twice else LossBackward(twice=True)

    def run(self, net: Net, batch: Batch, trace: Trace) -> LossTrace:
        """Differentiate the loss; layer outputs are reduced to a number per sample and channel."""
        leaves, outputs = _some(trace.weights), tuple(layer.output for layer in trace.layers)
        # Differentiable in any case: some operations (SiLU) round differently where they are not,
        # and a score may not depend on what else is scored.
        found = _grad(_loss(trace), (*leaves.values(), *outputs), create_graph=True)
        alive = found[: len(leaves)] if self.twice else ()
        found = tuple(gradient.detach() for gradient in found)
        grads = Grads(tuple(leaf.detach() for leaf in leaves.values()), found[: len(leaves)])
        if not trace.layers:
            return LossTrace(grads, (), "no convolution or linear layer ran as a module", alive)
        try:
            pairs = zip(trace.layers, found[len(leaves) :], strict=True)
            layers = tuple(_saliency(layer, gradient, len(batch)) for layer, gradient in pairs)
        except Undefined as reason:
            return LossTrace(grads, (), str(reason), alive)
        return LossTrace(grads, layers, alive=alive)


@dataclass(frozen=True)
class LossGrads(Pass[Grads]):
    """Gradient of the mean cross-entropy for every convolution and linear weight."""

    needs = (LossBackward(),)

    def run(self, net: Net, batch: Batch, found: LossTrace) -> Grads:
        """The weights' part of the one backward run."""
        return found.grads


@dataclass(frozen=True)
class LayerSaliency(Pass[tuple[Saliency, ...]]):
    """Σ activation · gradient of the mean cross-entropy, per layer run, sample and channel."""

    needs = (LossBackward(),)

    def run(self, net: Net, batch: Batch, found: LossTrace) -> tuple[Saliency, ...]:
        """The layers' part of the one backward run; Undefined if there is none."""
        if found.lost:
            raise Undefined(found.lost)
        return found.layers


# How PyTorch says that something cannot be differentiated twice.
ONCE_ONLY = ("not implemented", "once_differentiable", "ouble backwards is not supported")


@dataclass(frozen=True)
class CurvatureGrads(Pass[Grads]):
    """H·g for every convolution and linear weight: g is the loss gradient, H its Hessian."""

    needs = (Forward(), LossBackward(twice=True))

    def run(self, net: Net, batch: Batch, trace: Trace, first: LossTrace) -> Grads:
        """Differentiate ½‖g‖²; Undefined if an operation cannot be differentiated twice."""
        leaves = tuple(trace.weights.values())
        try:
            half = torch.stack([(g.detach() * g).sum() for g in first.alive]).sum()
            products = _grad(half, leaves)
        except RuntimeError as error:
            if not any(words in str(error) for words in ONCE_ONLY):
                raise
            raise Undefined(f"no second derivative: {error}".splitlines()[0]) from error
        return Grads(tuple(leaf.detach() for leaf in leaves), tuple(p.detach() for p in products))


@dataclass(frozen=True)
class InputGrads(Pass[Float[Tensor, "n _"]]):
    """∂Σlogits/∂x: one row per sample."""

    needs = (Forward(),)

    def run(self, net: Net, batch: Batch, trace: Trace) -> Float[Tensor, "n _"]:
        """Differentiate the sum of all logits; Undefined for inputs that are not real numbers."""
        if not trace.inputs.requires_grad:
            raise Undefined(f"inputs of type {trace.inputs.dtype} have no gradient")
        return _grad(trace.logits.sum(), (trace.inputs,))[0].flatten(1)


@dataclass(frozen=True)
class Codes(Pass[tuple[Bool[Tensor, "n _"], ...]]):
    """Per activation: which of its inputs are positive."""

    needs = (Forward(),)

    def run(self, net: Net, batch: Batch, trace: Trace) -> tuple[Bool[Tensor, "n _"], ...]:
        """Take them from the forward run; Undefined without any ReLU-like activation."""
        return _seen(trace.codes, len(batch))


@dataclass(frozen=True)
class Targets(Pass[Int[Tensor, " n"]]):
    """The class of every sample."""

    def run(self, net: Net, batch: Batch) -> Int[Tensor, " n"]:
        """Take them from the batch."""
        return batch.targets


@dataclass(frozen=True)
class TangentKernel(Pass[Float64[Tensor, "n n"]]):
    """The empirical neural tangent kernel J·Jᵀ of the summed logits, in float64.

    Row i of J is the gradient of sample i's summed logits for every parameter that is called a
    weight (normalisation scales included, biases not). Batch statistics couple the samples, so
    these are rows of the Jacobian of the *batch function*, exactly what a backward pass per sample
    on one graph gives; gradients of samples run one by one would differ.

    Attributes:
        chunk: rows per backward run: speed and memory, never the result.
        budget: bytes of J held at a time: layers are taken in groups of at most this size.
    """

    chunk: int = 8
    budget: int = 2**28
    needs = (Forward(),)

    def run(self, net: Net, batch: Batch, trace: Trace) -> Float64[Tensor, "n n"]:
        """Accumulate the kernel layer by layer; Undefined if no weight reaches the logits."""
        summed = trace.logits.flatten(1).sum(1)
        if not summed.requires_grad:
            raise Undefined("no weight reaches the logits")
        n = len(summed)
        picks = torch.eye(n, dtype=summed.dtype, device=summed.device).split(self.chunk)
        kernel = torch.zeros(n, n, dtype=torch.float64, device=summed.device)
        reached = False
        for group in _groups(trace.leaves, self.budget // (n * summed.element_size())):
            parts = [_rows(summed, group, pick) for pick in picks]
            for layer in zip(*parts, strict=True):
                rows = [part for part in layer if part is not None]
                if rows:  # None throughout where the layer reaches nothing
                    jacobian = torch.cat(rows).flatten(1).double()
                    kernel += jacobian @ jacobian.T
                    reached = True
        if not reached:
            raise Undefined("no weight reaches the logits")
        if not bool(kernel.isfinite().all()):
            raise Undefined("the gradients of the logits overflow")
        return kernel


@dataclass(frozen=True)
class FixedTangentKernel(Pass[Float64[Tensor, "n n"]]):
    """The tangent kernel with batch statistics held fixed in the backward run, in float64.

    Samples are then independent, so that one backward run yields every sample's gradient: for a
    layer, the product of its inputs and of the gradients of its outputs. An approximation of
    `TangentKernel` at about the cost of one of its rows, and the same parameters.
    """

    def run(self, net: Net, batch: Batch) -> Float64[Tensor, "n n"]:
        """One forward and backward run; Undefined for weights of other than the usual layers.

        These are two-dimensional convolutions, linear layers and batch normalisation.
        """
        leaves = _leaves(net)
        names = {module: f"{name}.weight".lstrip(".") for name, module in net.named_layers()}
        layers: list[tuple[str, nn.Module, Tensor, Tensor]] = []
        norms: list[tuple[Tensor | None, Tensor, Tensor]] = []

        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            layers.append((names[module], module, inputs[0].detach(), output))
            return output.clone()  # which the network may overwrite

        with hooked(net.module, LAYERS, keep), freezing_batch_norm(norms):
            summed = net(batch.inputs, leaves).flatten(1).sum()
        outputs = [output for *_, output in layers] + [output for *_, output in norms]
        if not summed.requires_grad or not outputs:
            raise Undefined("no weight reaches the logits")
        found = _grad(summed, tuple(outputs))
        jacobians: dict[str, list[Tensor]] = {}
        for (name, layer, inputs, _), gradient in zip(layers, found, strict=False):
            jacobians.setdefault(name, []).append(_sample_grads(layer, inputs, gradient))
        scales = {id(leaf): name for name, leaf in leaves.items()}
        for (scale, normal, _), gradient in zip(norms, found[len(layers) :], strict=True):
            if scale is not None:
                product = (normal * gradient).reshape(*normal.shape[:2], -1).sum(2)
                jacobians.setdefault(scales[id(scale)], []).append(product)
        kernel = summed.new_zeros(len(batch), len(batch), dtype=torch.float64)
        for name in leaves:
            if "weight" in name:
                if name not in jacobians:
                    raise Undefined(f"gradients of {name} are not told apart by sample")
                jacobian = torch.stack(jacobians[name]).sum(0).flatten(1).double()
                kernel += jacobian @ jacobian.T
        return kernel


# -- runs with other weights or inputs -----------------------------------------------------------


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
        leaves = {name: p.detach().double().abs() for name, p in net.module.named_parameters()}
        weights = {name: leaves[name].requires_grad_() for name in _some(net.weights())}
        bypass = nullcontext() if self.keep_bn else bypassing_batch_norm()
        try:
            with bypass, sdpa_kernel(SDPBackend.MATH):
                found = _grad(net(ones, leaves).sum(), tuple(weights.values()))
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise Undefined("batch statistics of one sample with one value per channel") from error
        except RuntimeError as error:
            if batch.inputs.dtype == ones.dtype or "dtype" not in str(error):
                raise
            reason = f"the network does not run in float64: {error}"
            raise Undefined(reason.splitlines()[0]) from error
        return Grads(tuple(w.detach() for w in weights.values()), found)


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
        generator = net.generator("perturbed")

        def noise(like: Tensor) -> Tensor:  # the same on every device and in every precision
            drawn = torch.empty(like.shape, dtype=torch.float32).normal_(generator=generator)
            return drawn.to(like.device, like.dtype)

        shared_once = dict(net.module.named_parameters())
        weights: dict[str, Tensor] = {}
        for name, module in net.module.named_modules():
            own = {f"{name}.{part}".lstrip("."): p for part, p in module._parameters.items()}
            for part, p in own.items():
                if p is None or part not in shared_once:
                    continue
                scale = part.endswith("weight")
                if isinstance(module, LAYERS):
                    weights[part] = noise(p) if scale else torch.zeros_like(p)
                elif isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.GroupNorm)):
                    weights[part] = torch.ones_like(p) if scale else torch.zeros_like(p)

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
            net.module,
            (nn.modules.batchnorm._BatchNorm,),
            lambda module, inward, _: normalised.append((module, inward[0].clone())),
        )
        with torch.no_grad(), norms, watching_pools(pooled):
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
        """Run without gradients; Undefined without any ReLU-like activation."""
        thin = net.thin() if net.thin else None
        if thin is None:
            return _packed(self._codes(net, batch.inputs))
        crops = self._crops(net, batch.inputs)
        reduced = Net(thin, seed=net.seed)
        return torch.cat([_packed(self._codes(reduced, c)) for c in crops.split(self.together)])

    @staticmethod
    def _codes(net: Net, inputs: Tensor) -> tuple[Tensor, ...]:
        codes: list[Tensor] = []
        with torch.no_grad(), watching_activations(codes):
            net(inputs)
        return _seen(tuple(codes), len(inputs))

    def _crops(self, net: Net, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "m 1 3 3"]:
        n, channels, height, width = images.shape
        generator = net.generator("crops")
        image, channel, top, left = (
            torch.randint(limit, (self.samples, 1, 1), generator=generator).to(images.device)
            for limit in (n, channels, height - 2, width - 2)
        )
        step = torch.arange(3, device=images.device)
        crops = images[image, channel, top + step[:, None], left + step]
        return crops.unsqueeze(1)


# -- small steps shared above --------------------------------------------------------------------


def _leaves(net: Net) -> dict[str, Tensor]:
    return {
        name: p.detach().requires_grad_(p.is_floating_point())
        for name, p in net.module.named_parameters()
    }


def _some(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    if not weights:
        raise Undefined("the network has no convolution or linear weight")
    return weights


def _layer(module: nn.Module, output: Tensor) -> Layer:
    if isinstance(module, nn.Linear):
        return Layer(output, module.in_features, output.ndim - 1)
    assert isinstance(module, nn.modules.conv._ConvNd)
    area = math.prod(module.kernel_size)
    return Layer(output, module.in_channels // module.groups * area, 1)


def _saliency(layer: Layer, gradient: Tensor, samples: int) -> Saliency:
    products = (layer.output.detach() * gradient).movedim(layer.channels, -1)
    placed = by_sample(products, samples)
    return Saliency(placed.reshape(samples, -1, placed.shape[-1]).sum(1), layer.fan_in)


def _seen(
    codes: tuple[Bool[Tensor, "..."], ...], samples: int
) -> tuple[Bool[Tensor, "samples _"], ...]:
    """Codes as rows, but for activations that all samples share (a table of positions, say)."""
    own = tuple(code for code in codes if samples in code.shape[:2] or code.shape[:1] != (1,))
    if not own:
        raise Undefined("no ReLU-like activation was seen")
    return tuple(by_sample(code, samples).reshape(samples, -1) for code in own)


def _loss(trace: Trace) -> Float[Tensor, ""]:
    logits = trace.logits
    if logits.ndim != 2:
        raise Undefined(f"logits of shape {tuple(logits.shape)} have no cross-entropy with classes")
    top = int(trace.targets.max())
    if top >= logits.shape[1]:
        raise ZeroshotError(
            f"targets up to {top}, but the network answers {logits.shape[1]} classes: "
            "give it as many outputs as the data has classes"
        )
    return F.cross_entropy(logits, trace.targets)


def _grad(
    value: Float[Tensor, ""], leaves: tuple[Tensor, ...], *, create_graph: bool = False
) -> tuple[Tensor, ...]:
    """Gradients of a scalar, zeros where a leaf reaches nothing; the graph stays for others."""
    if not value.requires_grad:
        return tuple(torch.zeros_like(leaf) for leaf in leaves)
    return grad(
        value,
        leaves,
        retain_graph=True,
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )


def _rows(
    summed: Float[Tensor, " n"], leaves: tuple[Tensor, ...], picks: Float[Tensor, "chunk n"]
) -> tuple[Tensor | None, ...]:
    """Rows of the Jacobian, `chunk *weight` each."""
    if len(picks) == 1:
        found = grad(summed, leaves, picks[0], retain_graph=True, allow_unused=True)
        return tuple(None if g is None else g.unsqueeze(0) for g in found)
    return grad(summed, leaves, picks, is_grads_batched=True, retain_graph=True, allow_unused=True)


def _sample_grads(layer: nn.Module, inputs: Tensor, gradient: Tensor) -> Tensor:
    """Each sample's gradient of a layer's weight, (n, numbers); samples are independent."""
    if isinstance(layer, nn.Linear) and inputs.ndim == 2:
        return (gradient.unsqueeze(2) * inputs.unsqueeze(1)).flatten(1)
    if (
        not isinstance(layer, nn.Conv2d)
        or isinstance(layer.padding, str)
        or layer.padding_mode != "zeros"
    ):
        raise Undefined(f"gradients of {layer} are not told apart by sample")
    kernel = cast("tuple[int, int]", layer.kernel_size)
    padding = cast("tuple[int, int]", layer.padding)
    steps = {"dilation": layer.dilation, "stride": layer.stride}
    patches = F.unfold(inputs, kernel, padding=padding, **steps)  # pyright: ignore
    patches = patches.unflatten(1, (layer.groups, -1))
    outward = gradient.flatten(2).unflatten(1, (layer.groups, -1))
    return torch.einsum("ngol,ngkl->ngok", outward, patches).flatten(1)


def _groups(leaves: dict[str, Tensor], limit: int) -> Iterator[tuple[Tensor, ...]]:
    """Weights from the output down, in groups of at most `limit` numbers (or a single layer)."""
    group: list[Tensor] = []
    size = 0
    for name, leaf in reversed(leaves.items()):
        if "weight" not in name or not leaf.requires_grad:
            continue
        if group and size + leaf.numel() > limit:
            yield tuple(group)
            group, size = [], 0
        group.append(leaf)
        size += leaf.numel()
    if group:
        yield tuple(group)


def _packed(codes: tuple[Bool[Tensor, "n _"], ...]) -> UInt8[Tensor, "n _"]:
    bits = torch.cat(codes, dim=1)
    bits = F.pad(bits, (0, -bits.shape[1] % 8)).unflatten(1, (-1, 8))
    places = 2 ** torch.arange(8, dtype=torch.uint8, device=bits.device)
    return (bits * places).sum(2, dtype=torch.uint8)


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
