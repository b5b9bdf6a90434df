"""Look into a running network without touching it: hooks, and modes that see function calls."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zeroshot.errors import Undefined
from zeroshot.narrow import Norm, Scaled, is_narrow, normalise

# Activations whose slope changes at zero, as functions; modules and tensor methods call these.
# A 'code' is the sign of such an activation's input.
ACTIVATIONS: frozenset[Callable[..., Any]] = frozenset(
    getattr(owner, name)
    for owner in (F, torch, Tensor)
    for stem in (
        *("relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "celu", "selu"),
        *("gelu", "silu", "mish", "hardswish"),
    )
    for name in (stem, f"{stem}_")
    if hasattr(owner, name)
)
HARD_TANHS = frozenset({F.hardtanh, F.hardtanh_})  # nn.ReLU6 is one of them, from 0 to 6
ADAPTIVE_POOLS = frozenset({F.adaptive_avg_pool2d, F.adaptive_max_pool2d})
POOLS = ADAPTIVE_POOLS | {F.avg_pool2d, torch.mean, Tensor.mean}
BATCH_NORMS = frozenset({F.batch_norm, torch.batch_norm})


class watching_activations(TorchFunctionMode):  # noqa: N801 - reads as `with watching…`
    """Collect which inputs of each activation are positive, in call order and in their own shapes.

    Sees modules, functions and tensor methods alike, and in-place forms before they overwrite
    their input. Does not see what never reaches PyTorch's Python functions (TorchScript) or is
    spelled otherwise (`x * x.sigmoid()`, `x.clamp(min=0)`).
    """

    def __init__(self, codes: list[Tensor]) -> None:
        super().__init__()
        self.codes = codes

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _is_activation(func, *args, **kwargs):
            self.codes.append((args[0] if args else kwargs["input"]).detach() > 0)
        return func(*args, **kwargs)


class tapping_activations(TorchFunctionMode):  # noqa: N801
    """Show each activation's input to a function, which may hook the gradient for it.

    The input is shown before it is overwritten, and so is its gradient, be it in place or not.
    """

    def __init__(self, tap: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.tap = tap

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if not _is_activation(func, *args, **kwargs):
            return func(*args, **kwargs)
        given, rest = (args[0], args[1:]) if args else (kwargs.pop("input"), ())
        shown = given.clone()
        self.tap(shown)
        output = func(shown, *rest, **kwargs)
        # In place, it wrote over the copy; the network expects that in its own tensor.
        return given.copy_(output) if output is shown else output


class watching_norms(TorchFunctionMode):  # noqa: N801
    """Show what every batch normalisation answers, before an activation in the same module."""

    def __init__(self, shown: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.shown = shown

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func is F.batch_norm:
            self.shown(output.detach())
        return output


class watching_pools(TorchFunctionMode):  # noqa: N801
    """Collect what goes into every global pooling: adaptive, of the whole map, or a mean."""

    def __init__(self, pooled: list[Tensor]) -> None:
        super().__init__()
        self.pooled = pooled

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in POOLS and _is_global(func, *args, **kwargs):
            # A copy: the network may overwrite it later.
            self.pooled.append((args[0] if args else kwargs["input"]).clone())
        return func(*args, **kwargs)


class bypassing_batch_norm(TorchFunctionMode):  # noqa: N801
    """Let every batch normalisation return its input."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in BATCH_NORMS:
            return args[0] if args else kwargs["input"]
        return func(*args, **kwargs)


class convolving_by_matrix(TorchFunctionMode):  # noqa: N801
    """Run convolutions of tiny maps as products with one matrix: the same but for rounding.

    For maps of a few pixels and many samples; for these, convolution kernels take several times as
    long. Weights may not change meanwhile: the matrix of each is made once.

    Attributes:
        limit: numbers that a sample's map may have at most.
    """

    def __init__(self, limit: int = 64) -> None:
        super().__init__()
        self.limit = limit
        self.matrices: dict[object, tuple[Tensor, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not F.conv2d or len(args) < 2 or not self._tiny(args[0]):
            return func(*args, **(kwargs or {}))
        inputs, weight, *rest = args
        kwargs = dict(kwargs or {})
        bias = rest.pop(0) if rest else kwargs.pop("bias", None)
        maps = inputs.shape[1:]
        # By where a weight lies: a network may make another tensor of the same memory in every run.
        how = (
            weight.data_ptr(),
            weight.shape,
            weight.stride(),
            maps,
            *map(_hashable, (*rest, *kwargs.items())),
        )
        if how not in self.matrices:
            each = torch.eye(maps.numel(), dtype=inputs.dtype, device=inputs.device)
            answers = func(each.unflatten(1, maps), weight, None, *rest, **kwargs)
            self.matrices[how] = answers, weight  # which must live, or its place be another's
        answers, _ = self.matrices[how]
        output = (inputs.flatten(1) @ answers.flatten(1)).unflatten(1, answers.shape[1:])
        return output if bias is None else output + bias[:, None, None]

    def _tiny(self, maps: Tensor) -> bool:
        return maps.ndim == 4 and maps.shape[1:].numel() <= self.limit


class freezing_batch_norm(TorchFunctionMode):  # noqa: N801
    """Let batch normalisation take the batch's statistics as if they were constants.

    Collects, per call, the scale (or None), the normalised input before scaling, and the output.
    """

    def __init__(self, calls: list[tuple[Tensor | None, Tensor, Tensor]]) -> None:
        super().__init__()
        self.calls = calls

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.batch_norm:
            return func(*args, **kwargs)
        inputs, mean, variance, weight, bias, training, _, epsilon = Norm.of(*args, **kwargs)
        if training:
            # Several times faster than torch.var_mean
            normal, mean, spread = normalise(Norm(inputs.detach(), epsilon=epsilon))
            if is_narrow(inputs):
                slope = spread if weight is None else spread * weight.detach()
                shift = -mean * slope if bias is None else bias.detach() - mean * slope
                output = Scaled.apply(inputs, slope, shift)
                self.calls.append((weight, normal, output))
                return output.clone()  # which the network may overwrite
            variance = spread.pow(-2) - epsilon
        else:
            normal = F.batch_norm(inputs, mean, variance, None, None, False, 0.0, epsilon)
        output = F.batch_norm(inputs, mean, variance, weight, bias, False, 0.0, epsilon)
        self.calls.append((weight, normal.detach(), output))
        return output.clone()  # which the network may overwrite


@contextmanager
def hooked(modules: Iterable[nn.Module], hook: Callable[..., Any]) -> Iterator[None]:
    """Run `hook(module, inputs, output)` after each of these modules; gone afterwards."""
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hashable(argument: Any) -> Any:
    return tuple(map(_hashable, argument)) if isinstance(argument, (list, tuple)) else argument


def _is_activation(func: Any, *args: Any, **kwargs: Any) -> bool:
    """Whether a call is of an activation whose slope changes at zero."""
    return func in ACTIVATIONS or (func in HARD_TANHS and _starts_at_zero(*args, **kwargs))


def _starts_at_zero(input: Tensor, min_val: float | int = -1, *_: Any, **__: Any) -> bool:  # noqa: A002
    """Whether a hard tanh bends at zero."""
    return min_val == 0


def _is_global(func: Any, input: Tensor, *args: Any, **kwargs: Any) -> bool:  # noqa: A002
    """Whether a call of one of POOLS pools whole maps."""
    if input.ndim != 4 or func in ADAPTIVE_POOLS:
        return input.ndim == 4
    over = args[0] if args else kwargs.get("kernel_size", kwargs.get("dim"))
    pair = (over, over) if isinstance(over, int) else tuple(over or ())
    if func is F.avg_pool2d:
        return pair == tuple(input.shape[2:])
    return {d % 4 for d in pair} == {2, 3}


def by_sample(values: Tensor, samples: int, within: nn.Module | None = None) -> Tensor:
    """(samples, …), whether samples come first, second (sequences) or as windows in a row.

    Args:
        values: of any shape.
        samples: how many there are.
        within: the network, if it is known. One with layers, recurrent or of attention, that have
            samples second may answer as many tokens as samples: then either axis could be either.
            So could they in one without, if it answers a multiple, as windows of tokens would.

    Raises:
        Undefined: if there is no such axis, or if it could be either of two.
    """
    shape = values.shape
    # Looking through the network takes long: only where it decides.
    square = values.ndim == 3 and shape[:2] == (samples, samples)
    if square and within is not None and _has_samples_second(within):
        raise Undefined(
            f"sequences of {samples} for {samples} samples: which axis is which is not known; use "
            "another batch size"
        )
    if values.ndim and shape[0] == samples:
        return values
    windows = values.ndim > 0 and shape[0] % samples == 0
    # Maps, and rows of numbers, do not have samples second; tokens may.
    if values.ndim > 1 and shape[1] == samples and (values.ndim == 3 or not windows):
        if windows and within is not None and not _has_samples_second(within):
            raise Undefined(
                f"an activation has shape {tuple(shape)}, which may be sequences of {samples} "
                f"samples or windows of {samples} tokens; use another batch size"
            )
        return values.transpose(0, 1)
    if windows:
        return values.unflatten(0, (samples, -1))
    raise Undefined(
        f"an activation has shape {tuple(values.shape)}, in which {samples} samples are not found"
    )


def _has_samples_second(module: nn.Module) -> bool:
    """Whether a layer of it says so, as PyTorch's recurrent ones and its attention do."""
    return any(part.__dict__.get("batch_first") is False for part in module.modules())


def tensors_in(given: Any) -> Iterator[Tensor]:
    """Those among arguments or answers, also in lists, tuples and dictionaries."""
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, (list, tuple)):
        for part in given:
            yield from tensors_in(part)
    elif isinstance(given, dict):
        yield from tensors_in(tuple(given.values()))
