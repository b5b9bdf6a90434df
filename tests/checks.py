"""What tests share: the networks to try, comparisons that say what differs, traces left behind."""

import math
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests import networks, reference
from tests.golden import GOLDEN, Golden
from zeroshot.core import Batch, Net, Proxy
from zeroshot.scoring import evaluate
from zeroshot.spaces.nasbench201 import NasBench201
from zeroshot.spaces.space import Task

NAMES = tuple(name for name, _ in networks.NETWORKS)
DTYPES = {"float64": torch.float64, "float32": torch.float32}
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4}

# Of each kind one: without and with shortcuts, no normalisation, a dead branch, attention, no
# rectifier, one that overwrites its input. All NETS would say the same and take twice as long.
KINDS = ("Plain", "Residual", "NoNorm", "Disconnected", "Transformer", "ReluFree", "InplaceRelu")

TINY = NasBench201(channels=4, cells=1)
TASK = Task(size=16)
CELLS = {"convolutions": (3, 2, 1, 3, 4, 2), "pools": (4, 1, 1, 4, 0, 0), "disconnected": (0,) * 6}


def toy(name: str, dtype: torch.dtype = torch.float64) -> Net:
    """A toy network with its blocks."""
    return Net(networks.network(name, dtype), blocks=networks.BLOCKS.get(name, ()))


def of_space(name: str, dtype: torch.dtype = torch.float64) -> Net:
    """A tiny network of NAS-Bench-201."""
    net = TINY.network(TINY.arch(*CELLS[name]), TASK)
    net.module.to(dtype)
    return net


NETS: tuple[tuple[str, Callable[[torch.dtype], Net]], ...] = (
    *((name, lambda dtype, name=name: toy(name, dtype)) for name in NAMES),
    *((f"nasbench201-{name}", lambda dtype, name=name: of_space(name, dtype)) for name in CELLS),
)


def batch(dtype: torch.dtype = torch.float64, **options: Any) -> Batch:
    """The toy batch."""
    return Batch(*networks.batch(dtype=dtype, **options))


def on_networks(names: Iterable[str] = NAMES) -> pytest.MarkDecorator:
    """A test of `name` and `dtype`: all these toy networks in float64, the first in float32 too.

    That float32 is close to float64 on all networks is a contract of its own.
    """
    first, *rest = names
    tried = [(first, "float32"), *((name, "float64") for name in (first, *rest))]
    cases = [pytest.param(name, DTYPES[dtype], id=f"{name}-{dtype}") for name, dtype in tried]
    return pytest.mark.parametrize(("name", "dtype"), cases)


def same(one: float, other: float) -> bool:
    """Equal to the last bit, where NaN equals NaN."""
    return one == other or (math.isnan(one) and math.isnan(other))


def assert_close(found: float, expected: float, tolerance: float) -> None:
    """Relative agreement; infinities must be equal, and NaN agrees with nothing."""
    if found != expected:
        gap = abs(found - expected) / abs(expected) if expected else math.inf
        assert gap <= tolerance, f"{found!r} is not {expected!r}: {gap:.2g} > {tolerance:g}"


class Unpacked(nn.Module):
    """`networks.Transformer`, with attention's packed projection as a linear layer of its own.

    The package counts packed projections as weights; the oracles know linear layers only.
    """

    def __init__(self, packed: nn.Module) -> None:
        super().__init__()
        assert isinstance(packed, networks.Transformer)
        layer, attention = packed.layer, packed.layer.self_attn
        self.patches, self.positions = packed.patches, packed.positions
        width = attention.embed_dim
        self.project = nn.Linear(width, 3 * width)
        self.project.weight, self.project.bias = attention.in_proj_weight, attention.in_proj_bias
        self.gather = nn.Linear(width, width)
        self.gather.weight, self.gather.bias = attention.out_proj.weight, attention.out_proj.bias
        self.norm1, self.linear1, self.linear2 = layer.norm1, layer.linear1, layer.linear2
        self.norm2, self.norm, self.head = layer.norm2, packed.norm, packed.head

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        query, key, value = (
            part.unflatten(2, (2, -1)).transpose(1, 2) for part in self.project(x).chunk(3, dim=2)
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        attended = (scores.softmax(3) @ value).transpose(1, 2).flatten(2)
        x = self.norm1(x + self.gather(attended))
        x = self.norm2(x + self.linear2(nn.functional.gelu(self.linear1(x))))
        return self.head(self.norm(x).mean(dim=1))


def unpacked(module: nn.Module) -> nn.Module:
    """A transformer unpacked; all else as it is."""
    return Unpacked(module) if isinstance(module, networks.Transformer) else module


def assert_agrees_with_oracle(
    proxy: Proxy,
    name: str,
    dtype: torch.dtype,
    *,
    subject: Callable[[nn.Module], nn.Module] = lambda module: module,
    **options: Any,
) -> None:
    """The package on a toy network and the oracle on that, or on its rewritten form, agree."""
    module, (inputs, targets) = networks.network(name, dtype), networks.batch(dtype=dtype)
    scores = evaluate(module, Batch(inputs, targets), [proxy])
    assert not scores.reasons
    expected = getattr(reference, proxy.name)(subject(module), inputs, targets, **options)
    assert_close(scores[proxy.name], expected, TOLERANCE[dtype])


def goldens(
    proxy: str, but: Callable[[Golden], bool] = lambda golden: False
) -> list[tuple[str, Golden]]:
    """The golden values of a proxy with an id each, but for some."""
    return [
        (f"{g.network}-{g.dtype}-{g.n}-{i}", g)
        for i, g in enumerate(g for g in GOLDEN if g.proxy == proxy and not but(g))
    ]


def setting(golden: Golden) -> tuple[nn.Module, Batch]:
    """The network and batch of a golden value."""
    dtype, size = DTYPES[golden.dtype], int(golden.options.get("size", 16))
    widths = {k: int(v) for k, v in golden.options.items() if k == "width"}
    module = networks.network(golden.network, dtype, **widths)
    return module, batch(dtype, n=golden.n, h=size, w=size)


def assert_golden(proxy: Proxy, golden: Golden) -> None:
    """The package gives what the authors' code gave."""
    assert_close(evaluate(*setting(golden), [proxy])[proxy.name], golden.value, golden.tolerance)


class Pair(nn.Module):
    """One linear layer from one input to two logits, w = (ln 3, 0): small enough for paper.

    For inputs of 1, p = (3/4, 1/4). With targets 0 and 1, ∂L/∂logits are (−1/8, 1/8) and
    (3/8, −3/8), hence ∂L/∂w = (1/4, −1/4); the Hessian is 3/16 · [[1, −1], [−1, 1]], hence
    H g = (3/32, −3/32).
    """

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 2, bias=False).double()
        with torch.no_grad():
            self.linear.weight.copy_(torch.tensor([[math.log(3)], [0]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


def on_pair(proxy: Proxy) -> float:
    """A proxy of `Pair` on two inputs of 1, of class 0 and of class 1."""
    two = Batch(torch.ones(2, 1, dtype=torch.float64), torch.tensor([0, 1]))
    return evaluate(Pair(), two, [proxy])[proxy.name]


@contextmanager
def unchanged(net: Net, shown: Batch, *, python: bool = False) -> Iterator[None]:
    """Fails if the body leaves a trace on the network, the batch or the global random state.

    Python's own random state only if asked for: beartype, in these tests, draws from it.
    """
    before = _state(net, shown) | {"python random state": python and random.getstate()}
    yield
    after = _state(net, shown) | {"python random state": python and random.getstate()}
    for what, value in before.items():
        assert _equal(after[what], value), f"{what} changed"


def _state(net: Net, shown: Batch) -> dict[str, Any]:
    module = net.module
    tensors = [*module.named_parameters(), *module.named_buffers()]
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "identity of tensors": [(name, id(t), t.data_ptr()) for name, t in tensors],
        "state": [(name, t.detach().clone()) for name, t in tensors],
        "gradients": [(name, p.grad if p.grad is None else p.grad.clone()) for name, p in tensors],
        "requires_grad": [(name, t.requires_grad) for name, t in tensors],
        "device and type": [(name, t.device, t.dtype) for name, t in tensors],
        "modes": [m.training for m in module.modules()],
        "attributes": [sorted(vars(m)) for m in module.modules()],
        "hooks": [[list(getattr(m, kind)) for kind in hooks] for m in module.modules()],
        "batch": [shown.inputs.clone(), shown.targets.clone(), shown.inputs.requires_grad],
        "torch random state": torch.get_rng_state().clone(),
        "numpy random state": np.random.get_state(),  # noqa: NPY002 - the global one is meant
        "autograd mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)
