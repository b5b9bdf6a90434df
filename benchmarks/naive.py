"""Proxies as the literature's code computes them: a network of its own for each, loops, hooks.

Every function takes a network and a batch and gives the proxy's number. It runs a deep copy in
PyTorch's default memory layout and in training mode, and shares nothing with the others. What is
computed is what the package computes, so that times can be compared; where the published code
computes something else, a comment says so.
"""

import copy
import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zeroshot.core import Batch, Net
from zeroshot.passes import Patterns


def copied(net: Net) -> nn.Module:
    """A network of one's own."""
    module = copy.deepcopy(net.module).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return module.train().requires_grad_().to(net.device)


def layers(module: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """Convolutions and linear layers."""
    return [part for part in module.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]


def gradient(layer: nn.Conv2d | nn.Linear) -> Tensor:
    """The gradient that a backward run left, or zeros."""
    return torch.zeros_like(layer.weight) if layer.weight.grad is None else layer.weight.grad


def differentiated(net: Net, batch: Batch) -> nn.Module:
    """A copy after one forward and backward run of the mean loss."""
    module = copied(net)
    F.cross_entropy(module(batch.inputs), batch.targets).backward()
    return module


# -- foresight's eight -----------------------------------------------------------------------------


def grad_norm(net: Net, batch: Batch) -> float:
    """The norm of each layer's gradient, added up."""
    return sum(gradient(layer).norm().item() for layer in layers(differentiated(net, batch)))


def plain(net: Net, batch: Batch) -> float:
    """Weights times gradients."""
    module = differentiated(net, batch)
    return sum((layer.weight * gradient(layer)).sum().item() for layer in layers(module))


def snip(net: Net, batch: Batch) -> float:
    """Gradients of masks, by which all weights are multiplied."""
    module, masks = copied(net), []
    for layer in layers(module):
        weight = layer.weight.detach()
        masks.append(torch.ones_like(weight, requires_grad=True))
        del layer.weight
        layer.weight = weight * masks[-1]  # type: ignore[assignment]
    F.cross_entropy(module(batch.inputs), batch.targets).backward()
    return sum(mask.grad.abs().sum().item() for mask in masks if mask.grad is not None)


def grasp(net: Net, batch: Batch) -> float:
    """Two runs: gradients, and their product with gradients that are differentiated once more."""
    module = copied(net)
    weights = [layer.weight for layer in layers(module)]
    loss = F.cross_entropy(module(batch.inputs), batch.targets)
    fixed = torch.autograd.grad(loss, weights, allow_unused=True)
    loss = F.cross_entropy(module(batch.inputs), batch.targets)
    alive = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
    pairs = zip(fixed, alive, strict=True)
    torch.stack(
        [(a * b).sum() for a, b in pairs if a is not None and b is not None]
    ).sum().backward()
    return -sum((layer.weight * gradient(layer)).sum().item() for layer in layers(module))


def fisher(net: Net, batch: Batch) -> float:
    """Activations times their gradients, caught by hooks behind every layer."""
    module = copied(net)
    total: list[Tensor] = []

    def watch(layer: nn.Module, _: object, output: Tensor) -> Tensor:
        behind = output.clone()  # the published code puts an identity there
        inward = layers(layer)[0].weight[0].numel()

        def seen(change: Tensor) -> None:
            product = (behind.detach() * change).flatten(2 if change.ndim > 2 else 1)
            sums = product.sum(2) if product.ndim > 2 else product
            total.append((sums.square().mean(0) / 2).sum() * inward)

        behind.register_hook(seen)
        return behind

    for layer in layers(module):
        layer.register_forward_hook(watch)  # type: ignore[arg-type]
    F.cross_entropy(module(batch.inputs), batch.targets).backward()
    return torch.stack(total).sum().item()


def jacob_cov(net: Net, batch: Batch) -> float:
    """A whole backward run for the inputs' gradients, and numpy's correlations."""
    inputs = batch.inputs.clone().requires_grad_()
    logits = copied(net)(inputs)
    logits.backward(torch.ones_like(logits))
    assert inputs.grad is not None
    values = np.linalg.eigvalsh(np.corrcoef(inputs.grad.flatten(1).double().numpy()))
    return float(-(np.log(values + 1e-5) + 1 / (values + 1e-5)).sum())


def synflow(net: Net, batch: Batch, *, keep_bn: bool = False) -> float:
    """Weights made positive, an image of ones."""
    module = copied(net).double()
    with torch.no_grad():
        for p in module.parameters():
            p.abs_()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d) and not keep_bn:
            part.forward = lambda x: x  # type: ignore[method-assign]  # the published code builds a network without them
    module(torch.ones_like(batch.inputs[:1]).double()).sum().backward()
    return sum((layer.weight * gradient(layer)).abs().sum().item() for layer in layers(module))


def synflow_bn(net: Net, batch: Batch) -> float:
    """`synflow` with batch normalisation."""
    return synflow(net, batch, keep_bn=True)


# -- others ----------------------------------------------------------------------------------------


def naswot(net: Net, batch: Batch) -> float:
    """Codes to numpy behind each ReLU, two products for every one of them."""
    module, n = copied(net), len(batch)
    kernel = np.zeros((n, n))

    def seen(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        code = (given[0].flatten(1) > 0).float()
        kernel[:] += (code @ code.T).numpy() + ((1 - code) @ (1 - code).T).numpy()

    for part in module.modules():
        if isinstance(part, nn.ReLU):
            part.register_forward_pre_hook(seen)
    with torch.no_grad():
        module(batch.inputs)
    return float(np.linalg.slogdet(kernel)[1])


def zico(net: Net, batch: Batch) -> float:
    """Gradients of both halves to numpy, one layer after the other."""
    module, found = copied(net), {}
    for inputs, targets in zip(batch.inputs.chunk(2), batch.targets.chunk(2), strict=True):
        module.zero_grad()
        F.cross_entropy(module(inputs), targets).backward()
        for i, layer in enumerate(layers(module)):
            found.setdefault(i, []).append(gradient(layer).flatten().double().numpy().copy())
    total = 0.0
    for halves in found.values():
        grads = np.stack(halves)
        spread, size = grads.std(0), np.abs(grads).mean(0)
        some = spread > 0
        if some.any():
            total += math.log((size[some] / spread[some]).sum())
    return total


def features(net: Net, batch: Batch) -> list[Tensor]:
    """What the blocks of a copy answer, with their graph."""
    module, found = copied(net), []
    for name in net.blocks:
        module.get_submodule(name).register_forward_hook(lambda *run: found.append(run[2]))
    module(batch.inputs)
    return found


def entropies(net: Net, batch: Batch) -> list[float]:
    """Of each block's channels."""
    found = []
    for feature in features(net, batch):
        rows = feature.detach().permute(0, 2, 3, 1).flatten(0, 2)
        rows = rows - rows.mean(0, keepdim=True)
        values = torch.linalg.eigvalsh(rows.T @ rows / len(rows)).clamp(min=0)
        found.append(torch.special.entr(values / values.sum()).sum().item())
    return found


def az_expressivity(net: Net, batch: Batch) -> float:
    """The entropies' sum."""
    return sum(entropies(net, batch))


def az_progressivity(net: Net, batch: Batch) -> float:
    """Their least growth."""
    return min(after - before for before, after in pairwise(entropies(net, batch)))


def az_trainability(net: Net, batch: Batch) -> float:
    """Random signs carried back over each block; the package's own signs, to compare with it."""
    found, generator, scores = features(net, batch), net.generator("handover"), []
    for before, after in reversed(list(pairwise(found))):
        coins = torch.empty(after.shape, dtype=torch.int8).random_(0, 2, generator=generator)
        drawn = 2 * coins.to(after.dtype) - 1
        (back,) = torch.autograd.grad(after, before, drawn, retain_graph=True)
        if back.shape == drawn.shape and bool((back == drawn).all()):
            return -math.inf
        if back.shape[2] > after.shape[2]:
            back = F.pixel_unshuffle(back, 2)
        back = back.permute(0, 2, 3, 1).flatten(0, 2)
        drawn = drawn.permute(0, 2, 3, 1).flatten(0, 2)
        sigma = torch.linalg.matrix_norm(back.T @ drawn / len(back), 2).item()
        scores.append(2 - sigma - 1 / sigma)
    return sum(scores) / len(scores)


def flops(net: Net, batch: Batch) -> float:
    """Counted by hooks while one sample runs; of what runs, where the package asks the space."""
    module, total = copied(net).eval(), []

    def seen(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, (nn.Conv2d, nn.Linear))
        total.append(layer.weight[0].numel() * output[0].numel())

    for layer in layers(module):
        layer.register_forward_hook(seen)
    with torch.no_grad():
        module(batch.inputs[:1])
    return float(sum(total))


def ntk_cond(net: Net, batch: Batch) -> float:
    """A backward run for each sample on one graph, the gradients put together."""
    module, rows = copied(net), []
    logits = module(batch.inputs)
    for i in range(len(batch)):
        module.zero_grad()
        logits[i : i + 1].backward(torch.ones_like(logits[i : i + 1]), retain_graph=True)
        named = [p.grad for name, p in module.named_parameters() if "weight" in name]
        rows.append(torch.cat([g.flatten().clone() for g in named if g is not None]))
    jacobian = torch.stack(rows).double()  # the published code stays in single precision
    values = torch.linalg.eigvalsh(jacobian @ jacobian.T)
    return (values[-1] / values[0]).item()


def linear_regions(net: Net, batch: Batch) -> float:
    """Codes of all crops side by side, and a matrix of how many units every two differ in."""
    assert net.thin is not None
    module = net.thin()
    assert module is not None
    module, codes = copy.deepcopy(module).train(), []

    def seen(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        parts.append((given[0].flatten(1) > 0).float())

    for part in module.modules():
        if isinstance(part, nn.ReLU):
            part.register_forward_pre_hook(seen)
    protocol = Patterns()
    with torch.no_grad():
        for crops in protocol._crops(net, batch.inputs).split(protocol.together):
            parts: list[Tensor] = []
            module(crops)
            codes.append(torch.cat(parts, dim=1))
    active = torch.cat(codes)
    different = active @ (1 - active).T
    same = (different + different.T == 0).sum(1).float()  # half precision, as published
    return round((1 / same).sum().item())


EIGHT: dict[str, Callable[[Net, Batch], float]] = {
    "grad_norm": grad_norm,
    "snip": snip,
    "grasp": grasp,
    "fisher": fisher,
    "jacob_cov": jacob_cov,
    "plain": plain,
    "synflow": synflow,
    "synflow_bn": synflow_bn,
}
OTHERS: dict[str, Callable[[Net, Batch], float]] = {
    "naswot": naswot,
    "zico": zico,
    "az_expressivity": az_expressivity,
    "az_progressivity": az_progressivity,
    "az_trainability": az_trainability,
    "flops": flops,
    "linear_regions": linear_regions,
    "ntk_cond": ntk_cond,
}
