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
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
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


def zico(module: nn.Module, inputs: Tensor, targets: Tensor, *, parts: int = 2) -> float:
    """Sum over layers of log Σ mean|g| / deviation of g, over the gradients g of consecutive parts.

    Weights without deviation add nothing, nor do layers without any other.
    """
    cuts = np.array_split(np.arange(len(inputs)), parts)
    runs = [loss_gradients(module, inputs[cut], targets[cut]) for cut in cuts]
    total = 0.0
    for layer in zip(*runs, strict=True):
        ratios = []
        for values in zip(*(gradient.ravel() for _, gradient in layer), strict=True):
            if np.std(values):
                ratios.append(np.mean(np.abs(values)) / np.std(values))
        total += math.log(sum(ratios)) if ratios else 0.0
    return total


def gradsign(module: nn.Module, inputs: Tensor, targets: Tensor, *, alone: bool = False) -> float:
    """Sum over weights of |Σ sign of the gradient of one sample's loss|, the sum over samples.

    All samples are run as one batch; with `alone` (official) each is a batch of its own.
    """
    total = 0
    for i in range(len(inputs)):
        net = prepared(module, inputs)
        shown = slice(i, i + 1) if alone else slice(None)
        losses = F.cross_entropy(logits_of(net(inputs[shown])), targets[shown], reduction="none")
        losses[0 if alone else i].backward()
        total += np.concatenate([np.sign(gradient_or_zero(p.weight)).ravel() for p in layers(net)])
    return float(np.abs(total).sum())


# Gradients of the logits


def flows(
    module: nn.Module, inputs: Tensor, *, keep_bn: bool = False
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(|w|, ∂R/∂|w|) of every layer, R the summed logits of one image of ones.

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
    return [(numbers(w), gradient_or_zero(w)) for w in weights]


def synflow(module: nn.Module, inputs: Tensor, targets: Tensor, *, keep_bn: bool = False) -> float:
    """Sum over layers of |w · ∂R/∂w|."""
    return float(sum(np.abs(w * g).sum() for w, g in flows(module, inputs, keep_bn=keep_bn)))


def logsynflow(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Sum over layers of |w| · log(1 + |∂R/∂w|)."""
    return float(sum((w * np.log(1 + np.abs(g))).sum() for w, g in flows(module, inputs)))


def dss(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """|w · ∂R/∂w| of linear layers, products of nuclear norms of what an attention holds.

    R and the positive weights are those of `flows`.
    """
    ones = torch.ones(1, *inputs.shape[1:], dtype=torch.float64)
    module = prepared(module, ones)
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            tensor.abs_()
    with sdpa_kernel(SDPBackend.MATH):
        logits_of(module(ones)).sum().backward()
    total = 0.0
    for part in module.modules():
        if isinstance(part, nn.MultiheadAttention):
            for w in (part.in_proj_weight, part.out_proj.weight):
                total += np.linalg.norm(numbers(w), "nuc") * np.linalg.norm(numbers(w.grad), "nuc")
        elif isinstance(part, nn.Linear) and not isinstance(part, NonDynamicallyQuantizableLinear):
            total += np.abs(numbers(part.weight) * gradient_or_zero(part.weight)).sum()
    return float(total)


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


def ntk_trace(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Root of the mean squared length of the samples' gradients."""
    return math.sqrt(np.diag(tangent_kernel(module, inputs)).mean())


def ntk_krr(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Squared error of kernel regression, fitted to the first half of the batch, on the second."""
    kernel, fit = tangent_kernel(module, inputs), math.ceil(len(targets) / 2)
    classes = np.eye(int(targets.max()) + 1)[targets.numpy()]
    mean = classes[:fit].mean(0)
    errors = []
    for i in range(fit, len(targets)):
        share = np.linalg.solve(kernel[:fit, :fit], kernel[i, :fit])
        guess = mean + sum(share[j] * (classes[j] - mean) for j in range(fit))
        errors.append(((guess - classes[i]) ** 2).sum())
    return float(np.mean(errors))


def label_alignment(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Pearson's correlation of the tangent kernel's entries with "same class" as 1 and −1."""
    same = [[1.0 if a == b else -1.0 for b in targets] for a in targets]
    entries = np.stack([tangent_kernel(module, inputs).ravel(), np.ravel(same)])
    return float(correlations(entries)[0, 1])


def vkdnw_entropy(
    module: nn.Module, inputs: Tensor, targets: Tensor, *, official: bool = False
) -> float:
    """Entropy of the deciles of the eigenvalues of the Fisher information of a few weights.

    It is the mean over samples of J (diag p - p pᵀ) Jᵀ, p the class probabilities, J the gradients
    of the logits for the first number of every parameter. With `official`, normalisation uses its
    stored statistics and p is 19/20 of what it was plus 1/20 of the same for all classes.
    """
    module = prepared(module, inputs)
    module = module.eval() if official else module
    logits, information = logits_of(module(inputs)), 0
    for row in logits:
        columns = []
        for logit in row:
            module.zero_grad()
            logit.backward(retain_graph=True)
            columns.append([gradient_or_zero(p).ravel()[0] for p in module.parameters()])
        chances = np.exp(numbers(row)) / np.exp(numbers(row)).sum()
        chances = 0.95 * chances + 0.05 / len(row) if official else chances
        spread = np.diag(chances) - np.outer(chances, chances)
        information = information + np.array(columns).T @ spread @ np.array(columns) / len(logits)
    deciles = np.quantile(np.linalg.eigvalsh(information), np.arange(1, 10) / 10)
    return float(-sum(p * math.log(p) for p in deciles / deciles.sum() if p > 1e-15))


def vkdnw(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Number of parameter tensors plus `vkdnw_entropy`."""
    return len(list(module.parameters())) + vkdnw_entropy(module, inputs, targets)


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


def swap(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Number of different columns of the table of codes."""
    return float(len({column.tobytes() for column in codes(module, inputs, reached=False).T}))


class _Copied(TorchFunctionMode):
    """Lets every rectifier take a copy of its input and keeps that; none may be in place."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[tuple[int, Tensor]] = []
        self.depth = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in (*RECTIFIERS, "hardtanh"):
            args = (args[0].clone(), *args[1:])
            self.inputs.append((self.depth, args[0]))
        return func(*args, **(kwargs or {}))


def wrcor(module: nn.Module, inputs: Tensor, targets: Tensor, blocks: Sequence[str]) -> float:
    """log|det K|, K = Σ 2ᵈ |correlations| of the rectifiers' inputs and of the gradients for them.

    d counts the blocks that have run.
    """
    module = prepared(module, inputs)

    def deeper(*_: object) -> None:
        seen.depth += 1

    for name in blocks:
        module.get_submodule(name).register_forward_hook(deeper)
    with _Copied() as seen, sdpa_kernel(SDPBackend.MATH):
        loss = F.cross_entropy(logits_of(module(inputs)), targets)
    responses = [values for _, values in seen.inputs]
    grads = torch.autograd.grad(loss, responses, allow_unused=True)
    kernel = np.zeros((len(inputs), len(inputs)))
    for (depth, values), grad in zip(seen.inputs, grads, strict=True):
        for table in (values, grad):
            if table is not None:
                kernel += 2**depth * np.abs(correlations(numbers(table).reshape(len(inputs), -1)))
    return float(np.linalg.slogdet(kernel).logabsdet)


# Feature maps of the first image


def first_maps(module: nn.Module, inputs: Tensor) -> list[np.ndarray]:
    """(channels, positions) of what each layer run answers to the first image, if it is a map."""
    module = prepared(module, inputs)
    maps: list[np.ndarray] = []

    def keep(layer: nn.Module, _: object, output: Tensor) -> None:
        first = numbers(output)[0].copy()  # the network may overwrite it
        if first.ndim > 1:
            maps.append(first.reshape(len(first), -1) if first.ndim == 3 else first.T)

    for layer in layers(module):
        layer.register_forward_hook(keep)
    module(inputs)
    return maps


def meco(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Sum over maps of the least eigenvalue of the correlations between channels."""
    return sum(float(np.linalg.eigvalsh(np.corrcoef(m))[0]) for m in first_maps(module, inputs))


def meco_opt(module: nn.Module, inputs: Tensor, targets: Tensor, order: torch.Generator) -> float:
    """The same with 8 channels in random order of each, times the share that these are."""
    total = 0.0
    for rows in first_maps(module, inputs):
        picked = rows[torch.randperm(len(rows), generator=order).numpy()[:8]]
        total += len(rows) / len(picked) * float(np.linalg.eigvalsh(np.corrcoef(picked))[0])
    return total


# Constant weights


def epsilon(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Mean |p − q| / mean of p and q, the scaled logits of two runs with equal weights.

    All weights 1e-7, then all 1; biases zero. A run's least logits are left out.
    """
    module = prepared(module, inputs.double())
    runs = []
    for constant in (1e-7, 1.0):
        for name, p in module.named_parameters():
            nn.init.constant_(p, constant if name.endswith("weight") else 0.0)
        logits = numbers(logits_of(module(inputs.double()))).ravel()
        runs.append((logits - logits.min()) / (logits.max() - logits.min()))
    kept = [[value for value in run if value > 1e-9] for run in runs]
    gaps = [abs(p - q) for p, q in zip(*runs, strict=True) if p > 1e-9 and q > 1e-9]
    return float(np.mean(gaps) / np.mean(kept[0] + kept[1]))


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


# Blocks


def block_outputs(module: nn.Module, inputs: Tensor, blocks: Sequence[str]) -> list[Tensor]:
    """What each block answers in one run, differentiable."""
    module = prepared(module, inputs)
    seen: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> Tensor:
        seen.append(output)
        return output.clone()  # which the network may overwrite

    for name in blocks:
        module.get_submodule(name).register_forward_hook(keep)
    module(inputs)
    return seen


def channels_last(values: Tensor) -> np.ndarray:
    """(n, height, width, channels) of a map; tokens are so already."""
    return numbers(values.movedim(1, -1) if values.ndim == 4 else values)


def entropies(module: nn.Module, inputs: Tensor, blocks: Sequence[str]) -> list[float]:
    """Per block: −Σ p log p over the normalised eigenvalues of its channels' covariance."""
    found = []
    for features in map(channels_last, block_outputs(module, inputs, blocks)):
        rows = features.reshape(-1, features.shape[-1])
        eigenvalues = np.linalg.eigvalsh(np.cov(rows.T, bias=True))
        shares = [value / eigenvalues.sum() for value in eigenvalues if value > 1e-15]
        found.append(-sum(p * math.log(p) for p in shares))
    return found


def az_expressivity(module: nn.Module, inputs: Tensor, blocks: Sequence[str]) -> float:
    """The sum of the blocks' entropies."""
    return sum(entropies(module, inputs, blocks))


def az_progressivity(module: nn.Module, inputs: Tensor, blocks: Sequence[str]) -> float:
    """The least step from one block's entropy to the next's."""
    found = entropies(module, inputs, blocks)
    return min(after - before for before, after in pairwise(found))


def az_trainability(
    module: nn.Module, inputs: Tensor, blocks: Sequence[str], signs: torch.Generator
) -> float:
    """Mean of 2 − σ − 1/σ; σ: spectral norm of the mean of (returned)·(sent)ᵀ over positions.

    The signs sent are drawn from the last block to the second. Maps may halve in height and width.
    """
    seen = block_outputs(module, inputs, blocks)
    scores = []
    for before, block in reversed(list(pairwise(seen))):
        coins = torch.empty(block.shape, dtype=torch.int8).random_(0, 2, generator=signs)
        drawn = (2 * coins - 1).to(inputs.dtype)
        (returned,) = torch.autograd.grad(block, before, drawn, retain_graph=True)
        sent, back = channels_last(drawn), channels_last(returned)
        if sent.ndim == 3 and back.ndim == 4:  # tokens of a map
            back = back.reshape(len(back), -1, back.shape[-1])
        places = list(np.ndindex(sent.shape[:-1]))
        step = back.shape[1] // sent.shape[1]
        total = 0.0
        for n, *place in places:
            patch = back[(n, *(slice(step * at, step * (at + 1)) for at in place))]
            total = total + np.outer(patch.ravel(), sent[(n, *place)])
        largest = np.linalg.svd(total / len(places), compute_uv=False)[0]
        scores.append(2 - largest - 1 / largest)
    return float(np.mean(scores))


# Ranks and spreads of layers


def answers(module: nn.Module, inputs: Tensor, kinds: Any) -> list[np.ndarray]:
    """What every run of modules of these kinds answers: a row a position, a column a channel."""
    module, seen = prepared(module, inputs), []
    for part in module.modules():
        if isinstance(part, kinds):
            part.register_forward_hook(lambda _, __, out: seen.append(numbers(out).copy()))
    module(inputs)
    return [
        np.moveaxis(a, 1 if a.ndim == 4 else -1, -1).reshape(-1, a.shape[1 if a.ndim == 4 else -1])
        for a in seen
    ]


def apd(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Sum of stable ranks of what batch norms answer, times the sum of ‖w‖₁/‖w‖₂ of kernels."""
    ranks = 0.0
    for rows in answers(module, inputs, nn.modules.batchnorm._BatchNorm):
        values = np.linalg.svd(rows.astype(np.float64), compute_uv=False)
        ranks += (values**2).sum() / values[0] ** 2
    spreads = 0.0
    for part in module.modules():
        if isinstance(part, nn.modules.conv._ConvNd):
            w = numbers(part.weight).astype(np.float64).ravel()
            spreads += np.abs(w).sum() / math.sqrt((w**2).sum())
    return ranks * spreads


def intrain(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Σ log (Σ λ)²/Σ λ² of layers' covariances, (1 + Σ min(1, σ/max |g|)) / log(layers + 1)."""
    capacity, layers = 0.0, answers(module, inputs, (nn.modules.conv._ConvNd, nn.Linear))
    for rows in layers:
        values = np.linalg.eigvalsh(np.cov(rows.astype(np.float64).T, bias=True))
        capacity += math.log(values.sum() ** 2 / (values**2).sum())
    health = 0.0
    for _, gradient in loss_gradients(module, inputs, targets):
        largest = np.abs(gradient).max()
        health += min(1.0, np.std(gradient.astype(np.float64), ddof=1) / largest) if largest else 0
    return capacity * (1 + health) / math.log(len(layers) + 1)


def swap_reg(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """The same number of columns, times a Gaussian of the size around a million."""
    size = sum(p.numel() for p in module.parameters())
    return swap(module, inputs, targets) * math.exp(-((size - 1e6) ** 2) / 1e12)
