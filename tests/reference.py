"""The oracles: every proxy once more, slow and obvious, from its formula.

`name(module, inputs, targets) -> float`. The network runs in the precision of `inputs`; what
follows (sums, correlations, kernels, eigenvalues) is numpy's, in float64. The module is copied; its
batch normalisations are set to train mode (batch statistics), all else to eval mode (no dropout).
The loss is the mean cross-entropy. "Layers" are the `nn.Conv2d` and `nn.Linear` modules, whatever
else holds a weight; a layer that the logits do not depend on counts as one of zero gradient.
"""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

RECTIFIERS = (
    *(
        "relu",
        "relu_",
        "relu6",
        "leaky_relu",
        "leaky_relu_",
        "prelu",
        "rrelu",
        "rrelu_",
        "elu",
        "elu_",
    ),
    *("selu", "selu_", "celu", "celu_", "gelu", "silu", "mish", "hardswish"),
)
"""Names of the functions whose input signs make up an activation code. Not tanh, not sigmoid."""


# How a network is prepared and run


def prepared(module: nn.Module, inputs: Tensor) -> nn.Module:
    """A copy in the precision of `inputs`, with batch-statistics BN and without dropout."""
    module = copy.deepcopy(module).to(inputs.dtype).eval().requires_grad_()
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.train()
    module.zero_grad()
    return module


def logits_of(output: Any) -> Tensor:
    """The logits: the output, or its first part, or its part of that name."""
    if isinstance(output, dict):
        return output["logits"]
    return output[0] if isinstance(output, tuple) else output


def layers(module: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """Convolutions and linear maps, in module order."""
    return [part for part in module.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]


def numbers(tensor: Tensor) -> np.ndarray:
    """The values of a tensor, float64."""
    return tensor.detach().double().cpu().numpy()


def loss_gradients(
    module: nn.Module, inputs: Tensor, targets: Tensor
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(weight, gradient of the mean cross-entropy) of every layer."""
    module = prepared(module, inputs)
    F.cross_entropy(logits_of(module(inputs)), targets).backward()
    return [(numbers(layer.weight), gradient_or_zero(layer.weight)) for layer in layers(module)]


def gradient_or_zero(weight: Tensor) -> np.ndarray:
    """The gradient that a backward run left, or zeros."""
    return numbers(torch.zeros_like(weight) if weight.grad is None else weight.grad)


# Size


def params(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Number of scalar parameters; a shared one counts once."""
    return float(sum(math.prod(p.shape) for p in module.parameters()))


def depth(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Number of weight tensors of convolutions and linear maps, used or not."""
    return float(len(layers(module)))


def flops(module: nn.Module, inputs: Tensor, targets: Tensor, *, attention: bool = True) -> float:
    """Multiply-adds of one sample in convolutions and linear maps that run. Biases are free.

    convolution: (channels in / groups) · kernel area · channels out · pixels out;
    linear map: features in · features out · rows per sample.
    With `attention`, the four projections of `nn.MultiheadAttention` count as the linear maps that
    they are, though not called as modules; products of queries, keys and values never count.
    """
    module, total = prepared(module, inputs), []

    def conv(layer: nn.Conv2d, args: tuple[Tensor, ...], output: Tensor) -> None:
        tall, wide = layer.kernel_size
        per_pixel = layer.in_channels // layer.groups * tall * wide
        total.append(per_pixel * layer.out_channels * output.shape[2] * output.shape[3])

    def linear(layer: nn.Linear, args: tuple[Tensor, ...], output: Tensor) -> None:
        rows = math.prod(output.shape[1:-1])
        total.append(layer.in_features * layer.out_features * rows)

    def heads(layer: nn.MultiheadAttention, args: Any, kwargs: Any, output: Any) -> None:
        tokens = (args[0] if args else kwargs["query"]).shape[1 if layer.batch_first else 0]
        total.append(4 * layer.embed_dim * layer.embed_dim * tokens)

    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(conv)
        elif isinstance(part, nn.Linear):
            part.register_forward_hook(linear)
        elif isinstance(part, nn.MultiheadAttention) and attention:
            part.register_forward_hook(heads, with_kwargs=True)
    # Two samples, for batch normalisation; gradients on, or a transformer skips its modules.
    module(inputs[:2])
    return float(sum(total))


def l2_norm(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Sum over layers of the Euclidean norm of the weights."""
    weights = [numbers(layer.weight) for layer in layers(prepared(module, inputs))]
    return float(sum(np.sqrt((weight**2).sum()) for weight in weights))


# Gradients of the loss


def grad_norm(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Sum over layers of the norm of the gradient (not the norm of the whole gradient)."""
    gradients = [gradient for _, gradient in loss_gradients(module, inputs, targets)]
    return float(sum(np.sqrt((gradient**2).sum()) for gradient in gradients))


def plain(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Sum of w · ∂L/∂w with its sign."""
    pairs = loss_gradients(module, inputs, targets)
    return float(sum((weight * gradient).sum() for weight, gradient in pairs))


def snip(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Sum of |∂L/∂m| at m = 1, where every weight w is replaced by w · m."""
    module, masks = prepared(module, inputs), []
    for layer in layers(module):
        weight = layer.weight.detach()
        mask = torch.ones_like(weight, requires_grad=True)
        del layer.weight
        layer.weight = weight * mask
        masks.append(mask)
    F.cross_entropy(logits_of(module(inputs)), targets).backward()
    return float(sum(np.abs(gradient_or_zero(mask)).sum() for mask in masks))


def grasp(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Sum of -w · (H g): the zero-cost literature's sign, the opposite of the GraSP paper's."""
    module = prepared(module, inputs)
    weights = [layer.weight for layer in layers(module)]
    with sdpa_kernel(SDPBackend.MATH):  # the one attention that can be differentiated twice
        loss = F.cross_entropy(logits_of(module(inputs)), targets)
    gradient = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
    along = [(g, g.detach()) for g in gradient if g is not None]
    slope = torch.stack([(g * fixed).sum() for g, fixed in along]).sum()
    slope.backward()
    return float(sum((-numbers(w) * gradient_or_zero(w)).sum() for w in weights))


def fisher(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Sum over channels: weights per channel · ½ · mean over samples of (sum of a · ∂L/∂a)².

    a is the output of a layer with its bias, before normalisation and activation; the inner sum
    runs over the pixels (or tokens) of one sample in one channel. The loss is the mean over the
    batch, so ∂L/∂a holds a factor 1 / n. A layer that is never called as a module counts zero.
    """
    module, seen = prepared(module, inputs), []

    def keep(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        output = output.clone()
        output.retain_grad()
        seen.append((layer, output))
        return output.clone()  # so that an in-place activation leaves what was kept alone

    for layer in layers(module):
        layer.register_forward_hook(keep)
    F.cross_entropy(logits_of(module(inputs)), targets).backward()

    total = 0.0
    for layer, output in seen:
        act, grad = numbers(output), gradient_or_zero(output)
        if isinstance(layer, nn.Linear):  # channels last: bring them to axis 1
            act, grad = np.moveaxis(act, -1, 1), np.moveaxis(grad, -1, 1)
        samples, channels = act.shape[:2]
        for channel in range(channels):
            squares = [(act[n, channel] * grad[n, channel]).sum() ** 2 for n in range(samples)]
            total += 0.5 * float(np.mean(squares)) * layer.weight[channel].numel()
    return total


# Gradients of the logits


def synflow(module: nn.Module, inputs: Tensor, targets: Tensor, *, keep_bn: bool = False) -> float:
    """Sum over layers of |w · ∂R/∂w|, R the summed logits of one image of ones.

    Float64. All parameters and buffers, biases too, are replaced by their absolute values; batch
    normalisations are skipped, or with `keep_bn` normalise the one image by its own statistics.
    """
    ones = torch.ones(1, *inputs.shape[1:], dtype=torch.float64)
    module = prepared(module, ones)
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            tensor.abs_()
    for part in module.modules():
        if isinstance(part, _BatchNorm) and not keep_bn:
            part.forward = lambda x: x
    logits_of(module(ones)).sum().backward()
    weights = [layer.weight for layer in layers(module)]
    return float(sum(np.abs(numbers(w) * gradient_or_zero(w)).sum() for w in weights))


def synflow_bn(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """`synflow` with batch normalisation kept."""
    return synflow(module, inputs, targets, keep_bn=True)


def input_gradients(module: nn.Module, inputs: Tensor) -> np.ndarray:
    """Row n: the gradient of all summed logits of the batch with respect to image n."""
    module, inputs = prepared(module, inputs), inputs.clone().requires_grad_()
    logits_of(module(inputs)).sum().backward()
    return numbers(inputs.grad).reshape(len(inputs), -1)


def correlations(rows: np.ndarray) -> np.ndarray:
    """Pearson's correlation of every two rows."""
    table = np.empty((len(rows), len(rows)))
    for i, first in enumerate(rows):
        for j, second in enumerate(rows):
            a, b = first - first.mean(), second - second.mean()
            table[i, j] = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    return table


def jacob_cov(module: nn.Module, inputs: Tensor, targets: Tensor, *, k: float = 1e-5) -> float:
    """-Σ log(v + k) + 1 / (v + k) over the eigenvalues v of the correlations of input gradients."""
    values = np.linalg.eigvalsh(correlations(input_gradients(module, inputs)))
    return float(-sum(math.log(v + k) + 1 / (v + k) for v in values))


def epe_nas(module: nn.Module, inputs: Tensor, targets: Tensor, *, k: float = 1e-5) -> float:
    """Σ over classes of |Σ over all pairs (i, j) of its samples of log(|r_ij| + k)|.

    r correlates input gradients. Ordered pairs, (i, i) too: a class of one sample adds log(1 + k).
    This is the official score whatever the number of classes; see `epe_nas_many`.
    """
    return float(sum(abs(value) for value in class_scores(module, inputs, targets, k)))


def epe_nas_many(module: nn.Module, inputs: Tensor, targets: Tensor, *, k: float = 1e-5) -> float:
    """The paper's score for more than 100 classes: the mean over classes of Σ_c' |s_c - s_c'|.

    s_c is the sum of `epe_nas` divided by the number of samples of the class. Official code never
    reaches it, for it leaves the number of classes at 10.
    """
    sizes = [int((targets == c).sum()) for c in targets.unique()]
    raw = class_scores(module, inputs, targets, k)
    scores = [value / size for value, size in zip(raw, sizes, strict=True)]
    return float(sum(abs(a - b) for a in scores for b in scores) / len(scores))


def class_scores(
    module: nn.Module, inputs: Tensor, targets: Tensor, k: float = 1e-5
) -> list[float]:
    """Σ log(|r_ij| + k) of every class that has samples."""
    rows, scores = input_gradients(module, inputs), []
    for label in targets.unique():
        table = correlations(rows[(targets == label).numpy()])
        scores.append(float(np.log(np.abs(table) + k).sum()))
    return scores


def tangent_kernel(module: nn.Module, inputs: Tensor) -> np.ndarray:
    """Inner products of the samples' gradients of summed logits, float64.

    Sample i's gradient is that of the sum of row i of the logits of the whole batch, which batch
    normalisation couples. It covers every parameter whose name contains "weight": convolutions,
    linear maps and the gammas of normalisations, no biases.
    """
    module = prepared(module, inputs)
    logits, rows = logits_of(module(inputs)), []
    for i in range(len(inputs)):
        module.zero_grad()
        logits[i].sum().backward(retain_graph=True)
        named = [p for name, p in module.named_parameters() if "weight" in name]
        rows.append(np.concatenate([gradient_or_zero(p).reshape(-1) for p in named]))
    return np.array([[float((a * b).sum()) for b in rows] for a in rows])


def ntk_cond(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Largest over smallest eigenvalue of the tangent kernel; ∞ if the smallest is not above 0."""
    values = np.linalg.eigvalsh(tangent_kernel(module, inputs))
    return float(values[-1] / values[0]) if values[0] > 0 else math.inf


# Activation codes


class _Rectified(TorchFunctionMode):
    """Notes the sign of what every rectifier is given, called as module, function or method."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[np.ndarray, Tensor]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        # nn.ReLU6 calls hardtanh, with bounds 0 and 6.
        clipped = name == "hardtanh" and 0 in (args[1:2] or [(kwargs or {}).get("min_val")])
        if name not in RECTIFIERS and not clipped:
            return func(*args, **(kwargs or {}))
        given = args[0] if args else kwargs["input"]
        code = (given.detach() > 0).flatten(1).numpy()  # before the call: it may be in-place
        output = func(*args, **(kwargs or {}))
        self.calls.append((code, output))
        return output


def codes(module: nn.Module, inputs: Tensor, *, reached: bool = True) -> np.ndarray:
    """One row per sample: which units of which rectifier call have a positive input.

    With `reached`, only calls on whose result the logits depend. No rectifier: rows of length zero.
    """
    module = prepared(module, inputs)
    with _Rectified() as seen:
        logits = logits_of(module(inputs))
    outputs = [output for _, output in seen.calls]
    grads = torch.autograd.grad(logits.sum(), outputs, allow_unused=True) if outputs else []
    kept = [
        code
        for (code, _), grad in zip(seen.calls, grads, strict=True)
        if grad is not None or not reached
    ]
    return np.concatenate([np.zeros((len(inputs), 0), dtype=bool), *kept], axis=1)


def naswot(module: nn.Module, inputs: Tensor, targets: Tensor, *, reached: bool = True) -> float:
    """log|det K|, K_ij the number of units on which the codes of samples i and j agree."""
    table = codes(module, inputs, reached=reached)
    agreement = [[float((a == b).sum()) for b in table] for a in table]
    return float(np.linalg.slogdet(np.array(agreement)).logabsdet)


def linear_regions(
    module: nn.Module, inputs: Tensor, targets: Tensor, *, reached: bool = False
) -> float:
    """Number of distinct codes among the samples."""
    return float(len({row.tobytes() for row in codes(module, inputs, reached=reached)}))


# Zen-score


def gaussian_draws(
    module: nn.Module, shape: Sequence[int], generator: torch.Generator | None = None
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Weights of all layers in module order, then images, then noise: standard normal, float32.

    The order of the official code; without a generator, torch's global one, as there.
    """
    weights = [torch.randn(layer.weight.shape, generator=generator) for layer in layers(module)]
    images = torch.randn(*shape, generator=generator)
    return weights, images, torch.randn(*shape, generator=generator)


def zen(
    module: nn.Module,
    draws: Sequence[tuple[Sequence[Tensor], Tensor, Tensor]],
    features: Callable[[nn.Module, Tensor], Tensor] = lambda module, x: module.features(x),
    *,
    gamma: float = 1e-2,
    scale: Literal["running", "batch"] = "running",
) -> float:
    """Mean over draws of log(mean_n Σ_chw |f(x) - f(x + γ x')|) + Σ_BN log sqrt(mean variance).

    A draw is (weights of all layers, x, x'). Biases are 0, gammas 1, betas 0; f is the feature map
    before the pooling, with batch statistics for each of the two runs.
    scale="running" (official): the variance is BN's running one. It starts at 1, is moved by
    momentum 0.1 towards the unbiased variance of x's and then of x + γ x''s run, and is not reset
    between draws. scale="batch" (paper): the variance that x's run was normalised by.
    """
    module = prepared(module, draws[0][1])
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
    batch_variance: dict[nn.Module, float] = {}

    def note(norm: nn.Module, args: tuple[Tensor, ...]) -> None:
        batch_variance[norm] = float(numbers(args[0]).var(axis=(0, 2, 3)).mean())

    scores = []
    for weights, images, noise in draws:
        with torch.no_grad():
            for layer, weight in zip(layers(module), weights, strict=True):
                layer.weight.copy_(weight)
                if layer.bias is not None:
                    layer.bias.zero_()
            for norm in norms:
                norm.weight.fill_(1)
                norm.bias.zero_()
            handles = [norm.register_forward_pre_hook(note) for norm in norms]
            clean = numbers(features(module, images))
            for handle in handles:
                handle.remove()
            moved = numbers(features(module, images + gamma * noise))
        if scale == "running":
            variances = [float(numbers(norm.running_var).mean()) for norm in norms]
        else:
            variances = [batch_variance[norm] for norm in norms]
        change = np.mean([np.abs(a - b).sum() for a, b in zip(clean, moved, strict=True)])
        scores.append(math.log(change) + sum(math.log(math.sqrt(v)) for v in variances))
    return float(np.mean(scores))
