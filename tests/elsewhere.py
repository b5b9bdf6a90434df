"""A device to test with where there is none: tensors that say they lie on it, and are on the CPU.

Every operation on them checks that all its tensors lie there, as CUDA does, then works on the real
ones. They say 'meta', for autograd and the rest of PyTorch treat that as a device without hardware.
"""

from collections import Counter
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
FROM_ANYWHERE = {"aten::copy_", "aten::_to_copy", "aten::index", "aten::index_put_"}
WAITED_FOR = {
    *("aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero", "aten::nonzero"),
    *("aten::_unique2", "aten::unique_dim", "aten::masked_select"),
}
_tensor = torch.tensor  # before it is replaced
_autocast = torch.autocast


class Elsewhere(Tensor):
    """A tensor on the device; `inner` is where its numbers are."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Elsewhere":
        return Tensor._make_wrapper_subclass(  # type: ignore[return-value]
            cls,
            inner.size(),
            inner.stride(),
            inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    def data_ptr(self) -> int:
        """Of the real one."""
        return self.inner.data_ptr()

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class being_elsewhere(TorchDispatchMode):  # noqa: N801 - reads as `with being…`
    """Tensors asked for on the device are made there.

    Attributes:
        waited: how often the host would have had to wait for it, by operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waited: Counter[str] = Counter()
        self.patches = (
            mock.patch.object(torch, "tensor", _made),
            mock.patch.object(Tensor, "new_tensor", _made_like),
            mock.patch.object(torch, "autocast", lambda _, **how: _autocast("cpu", **how)),
        )

    def __enter__(self) -> "being_elsewhere":
        for patch in self.patches:
            patch.start()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for patch in self.patches:
            patch.stop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if name in WAITED_FOR and any(isinstance(x, Elsewhere) for x in tree_leaves(args)):
            self.waited[name] += 1
        return _run(func, args, kwargs or {})


def moved(module: nn.Module) -> nn.Module:
    """A module with its parameters and buffers put there."""
    for part in module.modules():
        for name, p in part._parameters.items():
            if p is not None:
                there = Elsewhere(p.detach().clone())
                part._parameters[name] = nn.Parameter(there, requires_grad=p.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = Elsewhere(buffer.clone())
    return module


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    schema = func._schema
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    asked = kwargs.get("device")
    there = any(isinstance(x, Elsewhere) for x in tensors)
    if there and schema.name not in FROM_ANYWHERE:
        for tensor in tensors:
            # Numbers of no dimension may lie anywhere, on CUDA too.
            assert isinstance(tensor, Elsewhere) or tensor.ndim == 0, f"{func}: on two devices"
    if asked is not None:
        there = torch.device(asked) == DEVICE
        kwargs = kwargs | {"device": torch.device("cpu")}
    result = func(*tree_map(_real, args), **tree_map(_real, kwargs))
    for argument, given in zip(schema.arguments, args, strict=False):
        if argument.alias_info and argument.alias_info.is_write and len(schema.returns) == 1:
            return given  # itself, changed
    return tree_map(_put, result) if there else result


def _real(given: Any) -> Any:
    return given.inner if isinstance(given, Elsewhere) else given


def _put(result: Any) -> Any:
    return Elsewhere(result) if isinstance(result, Tensor) else result


def _made(data: Any, *, device: Any = None, **how: Any) -> Tensor:
    """`torch.tensor`, which makes numbers for 'meta' without a device seeing them."""
    made = _tensor(data, **how)
    return made if device is None else made.to(device)


def _made_like(like: Tensor, data: Any) -> Tensor:
    return _made(data, device=like.device, dtype=like.dtype)
