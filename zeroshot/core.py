"""The things everything else is made of: Batch, Net, Pass, Proxy. READ FIRST."""

import hashlib
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zeroshot.edition import edition
from zeroshot.errors import Undefined, ZeroshotError
from zeroshot.restore import CHECKPOINTS, keeping_modes, seeded, set_mode, standing_in, switched

R = TypeVar("R")

# What the network answers and the targets, (n, …) each, to one loss per sample, (n,).
Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Every sample's cross-entropy, (n,); Undefined for logits that are no classes'.

    Raises:
        ZeroshotError: for more classes among the targets than among the logits.
    """
    if logits.ndim != 2:
        raise Undefined(f"logits of shape {tuple(logits.shape)} have no cross-entropy with classes")
    top = int(targets.max())
    if top >= logits.shape[1]:
        raise ZeroshotError(
            f"targets up to {top}, but the network answers {logits.shape[1]} classes: "
            "give it as many outputs as the data has classes"
        )
    return F.cross_entropy(logits, targets, reduction="none")


@dataclass(frozen=True, eq=False)
class Batch:
    """The one batch that every architecture of a run is shown.

    Attributes:
        inputs: n samples; images are (n, channels, height, width) of mean 0 and variance 1.
        targets: (n,) class indices, or (n, …) whatever the loss compares answers with.
        loss: of every sample; cross-entropy by default. Proxies that need classes say nothing
            about networks with another.

    Raises:
        ZeroshotError: for what is no tensor or no loss, fewer than two samples (batch statistics
            need two), inputs or targets that are not finite, or targets that do not match.
    """

    inputs: Tensor
    targets: Tensor
    loss: Loss = cross_entropy

    def __repr__(self) -> str:
        shapes = f"inputs {tuple(self.inputs.shape)}, targets {tuple(self.targets.shape)}"
        return f"<Batch of {len(self)}: {shapes}>"

    def __post_init__(self) -> None:
        for what, values in (("inputs", self.inputs), ("targets", self.targets)):
            if not isinstance(values, Tensor):
                raise ZeroshotError(f"{what} are {type(values).__name__}; expected a torch.Tensor")
        if not callable(self.loss):
            raise ZeroshotError(
                f"loss {self.loss!r}; expected a function of answers and targets that gives a "
                "number for each sample"
            )
        n = len(self.inputs) if self.inputs.ndim else 1
        if n < 2:
            raise ZeroshotError(f"a batch of {n}: batch statistics need at least 2 samples")
        if self.has_classes:
            if self.targets.shape != (n,) or self.targets.dtype != torch.long:
                raise ZeroshotError(
                    f"targets of shape {tuple(self.targets.shape)} and type {self.targets.dtype}: "
                    f"expected ({n},) class indices of type torch.int64, or a loss for others: "
                    "Batch(inputs, targets, loss=…)"
                )
            if int(self.targets.min()) < 0:
                raise ZeroshotError(f"target {int(self.targets.min())}: classes count from 0")
        elif self.targets.shape[:1] != (n,):
            raise ZeroshotError(
                f"targets of shape {tuple(self.targets.shape)}: expected {n}, one a sample"
            )
        for what, values in (("samples", self.inputs), ("targets", self.targets)):
            if values.is_floating_point() and not bool(values.isfinite().all()):
                bad = int((~values.isfinite()).reshape(n, -1).any(1).sum())
                raise ZeroshotError(f"{bad} of {n} {what} hold NaN or infinite values; remove them")

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device, dtype: torch.dtype) -> "Batch":
        """The same batch on a device, in a precision; integers stay integers."""
        inputs, targets = (
            _usual(values).to(device, dtype if values.is_floating_point() else values.dtype)
            for values in (self.inputs, self.targets)
        )
        return Batch(inputs, targets, self.loss)

    @property
    def has_classes(self) -> bool:
        """Whether the targets are class indices."""
        return self.loss is cross_entropy

    def losses(self, answers: Tensor) -> Tensor:
        """The loss of every sample, (n,), differentiable.

        Raises:
            Undefined: if the answers have no such loss.
            ZeroshotError: if a loss of the caller's own gives something else than n numbers.
        """
        found = self.loss(answers, self.targets)
        if found.shape != (len(self),):
            shapes = f"answers {tuple(answers.shape)} and targets {tuple(self.targets.shape)}"
            raise ZeroshotError(
                f"the loss gives {tuple(found.shape)} for {shapes}: expected a number for each "
                'sample; give it equal shapes, take reduction="none" and average over all '
                "dimensions but the first"
            )
        return found

    @property
    def hash(self) -> str:
        """12 hexadecimal digits that tell this batch from any other."""
        digest = hashlib.sha256(f"{self.inputs.dtype} {tuple(self.inputs.shape)}".encode())
        if not self.has_classes:
            digest.update(getattr(self.loss, "__qualname__", repr(type(self.loss))).encode())
            digest.update(f"{self.targets.dtype} {tuple(self.targets.shape)}".encode())
        for tensor in (self.inputs, self.targets):
            data = tensor.detach().cpu().contiguous().view(torch.uint8)  # NumPy has no bfloat16
            digest.update(data.numpy().tobytes())
        return digest.hexdigest()[:12]


def _usual(tensor: Tensor) -> Tensor:
    """A tensor that gradients may be asked of; what inference mode has made is copied."""
    return tensor.clone() if tensor.is_inference() else tensor


class Cost(NamedTuple):
    """What a network weighs, for one sample."""

    params: int
    macs: int  # multiply-adds of convolutions and matrix products
    tensors: int  # convolution and linear weights


@dataclass(frozen=True, eq=False)
class Net:
    """A network at initialisation. A call runs on stand-ins for its tensors, so it stays as it is.

    It runs as the proxies' authors run theirs: batch normalisation with the batch's statistics.
    Everything else is in inference mode, so no dropout or stochastic depth blurs a score, and
    auxiliary heads that exist only in training are not computed.

    Attributes:
        module: any `nn.Module` that maps a batch to logits. A tuple's or dictionary's logits are
            its 'logits', else its 'out', else its first tensor.
        blocks: names of the submodules that count as blocks, in forward order.
        seed: of every random draw that a pass makes for this network.
        cost: gives what the space's benchmark says it weighs; traced if there is none.
        thin: makes TE-NAS' reduced network for linear regions, where the space has one.
        copies: whether it runs on copies of its parameters, as is needed if it writes into them;
            `evaluate` finds out.

    Raises:
        ZeroshotError: for what is no network, or blocks that are no names of its submodules.
    """

    module: nn.Module
    blocks: tuple[str, ...] = ()
    seed: int = 0
    cost: Callable[[], Cost] | None = None
    thin: Callable[[], nn.Module | None] | None = None
    copies: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.module, type):
            raise ZeroshotError(
                f"network {self.module.__name__} is a class; expected an instance, as by "
                f"{self.module.__name__}(…)"
            )
        if not isinstance(self.module, nn.Module):
            text = isinstance(self.module, str)
            shown = repr(self.module) if text else f"of type {type(self.module).__name__}"
            raise ZeroshotError(
                f"network {shown}; expected a torch.nn.Module (zeroshot.score takes names)"
            )
        if isinstance(self.blocks, str):
            raise ZeroshotError(f"blocks {self.blocks!r}; expected a tuple: ({self.blocks!r},)")
        for name in self.blocks:
            try:
                self.module.get_submodule(name)
            except AttributeError as error:
                raise ZeroshotError(
                    f"block {name!r}: the network has no such submodule; names are those of "
                    "named_modules(), as 'layer1' or 'layer1.0'"
                ) from error

    def __call__(
        self,
        inputs: Tensor,
        weights: Mapping[str, Tensor] | None = None,
        *,
        statistics: Literal["batch", "stored"] = "batch",
    ) -> Tensor:
        """Logits in the precision of `inputs`; `weights` stand in for the parameters they name."""
        given, real = weights or {}, inputs.is_floating_point()
        # Observers look at the network, not at this; asking them takes longer than a small network.
        with torch._C.DisableTorchFunction():
            # Buffers are copied: batch normalisation writes its running statistics.
            own = [
                (tensor, tensor.detach().clone() if buffer else self.values(tensor), name)
                for tensor, name, buffer in _tensors(self.parts)
            ]
            stand_ins = {
                id(tensor): given[name]
                if name in given
                else (free.to(inputs.dtype) if real and free.is_floating_point() else free)
                for tensor, free, name in own
            }
        modules = [part for _, part in self.parts]
        quiet = self._quiet(modules, batch_norm=statistics == "batch")
        with quiet, standing_in(modules, stand_ins), switched(CHECKPOINTS):
            # Inputs are copied too: the network may overwrite them.
            return logits_of(self.module(inputs.clone()))

    def values(self, parameter: Tensor) -> Tensor:
        """A parameter, detached, to stand in for it."""
        return parameter.detach().clone() if self.copies else parameter.detach()

    @cached_property
    def parts(self) -> tuple[tuple[str, nn.Module], ...]:
        """Its modules by name, itself first; kept, for looking for them takes long."""
        return tuple(self.module.named_modules())

    @cached_property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Its parameters by name, shared ones once, by that of the first place that holds them."""
        found: dict[int, tuple[str, nn.Parameter]] = {}
        for prefix, part in self.parts:
            for name, own in part._parameters.items():
                if own is not None and id(own) not in found:
                    found[id(own)] = f"{prefix}.{name}" if prefix else name, own
        return dict(found.values())

    @property
    def device(self) -> torch.device:
        """Where its parameters lie."""
        return next((p.device for p in self.parameters.values()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The precision of its parameters."""
        real = (p.dtype for p in self.parameters.values() if p.is_floating_point())
        return next(real, torch.get_default_dtype())

    def weights(self) -> dict[str, Tensor]:
        """Convolution, linear and attention-projection weights by name, detached.

        Raises:
            Undefined: if one of them is reparametrised: computed from others whenever it runs.
        """
        self.check_weights()
        return {name: self.parameters[name].detach() for name in self.weight_names()}

    def weight_names(self) -> tuple[str, ...]:
        """Names of these weights, shared ones once, and of reparametrised ones beside them.

        A tensor is one of them if it is a weight anywhere; its name is that of its first place.
        """
        names = self.names()
        found = (
            names.get(id(held)) if held is not None else place for place, held in self._places()
        )
        return tuple(dict.fromkeys(name for name in found if name is not None))

    def names(self) -> dict[int, str]:
        """The name of every parameter, by its `id`: that of the first place that holds it."""
        return {id(parameter): name for name, parameter in self.parameters.items()}

    def check_weights(self) -> None:
        """Undefined if a weight is reparametrised, so that no parameter is that weight."""
        for name, held in self._places():
            if held is None:
                raise Undefined(
                    f"{name} is reparametrised (as by weight_norm, spectral_norm or pruning): no "
                    "parameter is that weight; remove the parametrisation first, as with "
                    "torch.nn.utils.parametrize.remove_parametrizations"
                )

    def _places(self) -> Iterator[tuple[str, Tensor | None]]:
        """Every name under which a weight lies, and that weight.

        None if the weight is computed from other tensors whenever its module runs.
        """
        for name, module in self.parts:
            for kind, weights in WEIGHTED:
                if isinstance(module, kind):
                    for weight in weights:
                        place = f"{name}.{weight}".lstrip(".")
                        kept = module._parameters | module._buffers
                        if weight not in kept:
                            yield place, None
                        elif (held := kept[weight]) is not None:
                            yield place, held

    def named_layers(self) -> Iterator[tuple[str, nn.Module]]:
        """Convolution and linear layers by name."""
        return ((n, m) for n, m in self.parts if isinstance(m, LAYERS))

    def generator(self, purpose: str) -> torch.Generator:
        """Random numbers that depend on the seed and the purpose, not on what ran before."""
        return torch.Generator().manual_seed(self._seed(purpose))

    def _seed(self, purpose: str) -> int:
        return self.seed ^ zlib.crc32(purpose.encode())

    @contextmanager
    def _quiet(self, modules: Sequence[nn.Module], *, batch_norm: bool) -> Iterator[None]:
        """Set the modes described above; afterwards modes and global random state are as before."""
        with keeping_modes(modules), seeded(self._seed("forward"), self.device):
            for module in modules:
                training = batch_norm and isinstance(module, nn.modules.batchnorm._NormBase)
                if module.training != training:
                    set_mode(module, training)
            yield


def _tensors(parts: Iterable[tuple[str, nn.Module]]) -> Iterator[tuple[Tensor, str, bool]]:
    """Every parameter and buffer once, with its name and whether it is a buffer."""
    seen: set[int] = set()
    for prefix, part in parts:
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield tensor, f"{prefix}.{name}".lstrip("."), held is part._buffers


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: on the CPU, PyTorch says so in words only."""
    of_memory = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return of_memory or "allocate memory" in str(error)


def is_weight(name: str) -> bool:
    """Whether a parameter, by its dotted name, is called a weight; scales of norms are, too."""
    return "weight" in name.rpartition(".")[2]


LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
NORMS = (nn.modules.batchnorm._BatchNorm,)


# Which parameters count as weights, by kind of module.
WEIGHTED: tuple[tuple[type[nn.Module] | tuple[type[nn.Module], ...], tuple[str, ...]], ...] = (
    (LAYERS, ("weight",)),
    (nn.MultiheadAttention, ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")),
)


class Pass(ABC, Generic[R]):
    """One way of running a network. Subclasses are frozen dataclasses: equal ones are one."""

    needs: ClassVar[tuple["Pass[Any]", ...]] = ()

    def among(self, planned: Collection["Pass[Any]"]) -> "Pass[R]":
        """What is run for this one where these are run: itself, or a pass that does for several.

        Its result has this one's in it, to the last bit.
        """
        return self

    @abstractmethod
    def run(self, net: Net, batch: Batch, *seen: Any) -> R:
        """`seen` holds the results of `needs`, in that order. May not change the net or the batch.

        Raises:
            Undefined: if this pass makes no sense for this network; the reason ends in the table.
        """


@dataclass(frozen=True)
class Proxy:
    """A named formula over the results of the passes it needs, in that order.

    Attributes:
        name: of the module, the function, the column and the word on the command line.
        needs: passes; their results are the formula's arguments.
        formula: gives one number, in the paper's own sign and scale.
        better: direction of the number; applied once, when ranking.
        source: where the formula was published.
        log: whether its values span so many orders of magnitude that tables show powers of ten.
        version: raised whenever the number changes for the same network, be it through the formula
            or a pass.

    Raises:
        ZeroshotError: for another direction, or needs that are no tuple of passes.
    """

    name: str
    needs: tuple[Pass[Any], ...]
    formula: Callable[..., Tensor | float]
    better: Literal["higher", "lower"]
    source: str
    log: bool = False
    version: int = 1

    def __post_init__(self) -> None:
        if self.better not in ("higher", "lower"):
            raise ZeroshotError(
                f"proxy {self.name}: better={self.better!r}; expected 'higher' or 'lower'"
            )
        needs = self.needs if isinstance(self.needs, tuple) else (None,)
        if not all(isinstance(need, Pass) for need in needs):
            raise ZeroshotError(
                f"proxy {self.name}: needs={self.needs!r}; expected a tuple of passes, such as "
                "(Forward(),)"
            )

    @property
    def edition(self) -> str:
        """What tells stored scores of this formula from those of another; see `edition`."""
        # A formula of the package under another name than its own counts by that.
        name = getattr(self.formula, "__name__", self.name)
        borrowed = () if name == self.name else (name,)
        return edition(self.version, self.formula, *borrowed, *map(type, closure(self.needs)))


def planned(proxies: Iterable[Proxy]) -> dict[Pass[Any], Pass[Any]]:
    """Every pass that proxies need, directly or not, and what is run for it; see `Pass.among`."""
    every = closure(need for proxy in proxies for need in proxy.needs)
    return {wanted: wanted.among(every) for wanted in every}


def closure(passes: Iterable[Pass[Any]]) -> dict[Pass[Any], None]:
    """Passes, those that they need, and so on; each once, needs first."""
    found: dict[Pass[Any], None] = {}
    for wanted in passes:
        found |= closure(wanted.needs) | {wanted: None}
    return found


def logits_of(output: Any) -> Tensor:
    """The logits in whatever a network returns, as (n, …)."""
    found = output
    if not isinstance(found, Tensor):
        for key in ("logits", "out"):
            held = found.get(key) if isinstance(found, Mapping) else getattr(found, key, None)
            if isinstance(held, Tensor):
                return held
        parts = found.values() if isinstance(found, Mapping) else found
        parts = parts if hasattr(parts, "__iter__") else ()
        tensors = [part for part in parts if isinstance(part, Tensor)]
        # A loss may come first, which is no answer.
        found = next((part for part in tensors if part.numel() > 1), next(iter(tensors), None))
    if found is None:
        raise Undefined(
            f"the network returns {type(output).__name__}, in which no tensor was found"
        )
    return found
