"""The engine: evaluate one network. READ SECOND, after core.py."""

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors
from torch.nn.parameter import is_lazy

from zeroshot.core import Batch, Net, Pass, Proxy, out_of_memory, planned
from zeroshot.errors import FailedFormula, OutOfMemoryError, Undefined, ZeroshotError, in_a_line
from zeroshot.passes import Forward
from zeroshot.proxies import listed
from zeroshot.restore import ALONE, REPEATABLE, switched

# Modules in which layers and activations are not seen.
HIDING = (torch.jit.ScriptModule, nn.DataParallel, nn.parallel.DistributedDataParallel)


class Scores(dict[str, float]):
    """Scores by proxy name, in the papers' own signs and scales; some make a `pandas.DataFrame`.

    Attributes:
        reasons: why a score is NaN, by proxy name.
        seconds: what each pass took, without the passes it needs; for CUDA, to enqueue.
    """

    def __init__(
        self,
        found: dict[str, float],
        reasons: dict[str, str] | None = None,
        seconds: dict[str, float] | None = None,
    ) -> None:
        super().__init__(found)
        self.reasons, self.seconds = reasons or {}, seconds or {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Scores, (self.found, self.reasons, self.seconds)

    def __repr__(self) -> str:
        reasons = f", reasons={self.reasons}" if self.reasons else ""
        return f"Scores({self.found}{reasons})"

    @property
    def found(self) -> dict[str, float]:
        """The scores alone."""
        return dict(self)


def evaluate(
    net: Net | nn.Module, batch: Batch, proxies: str | Proxy | Iterable[str | Proxy] = "all"
) -> Scores:
    """Score one network. Every pass that the proxies need runs once.

    The network, its gradients, hooks, modes and device, the batch and the global random state are
    afterwards what they were; a score depends on the network, the batch and the seed alone. It is
    the same to the last digit for the same number of threads: with another, sums are added in
    another order. Here PyTorch's own number holds; `zeroshot.rank` takes one thread a network.
    One network at a time: what other threads ask for waits.
    On CUDA float32 is not rounded to TF32, and cuDNN's algorithms are deterministic; of some other
    operations PyTorch does not say so, as of the gradient of adaptive pooling to several pixels.

    Args:
        net: a network of a space, or any module (with seed 0) that maps the batch to logits.
        batch: at least two samples; moved to the network's device and precision.
        proxies: 'all', names ('snip,naswot', or several strings) of the package's proxies, or
            `Proxy` objects, your own too.

    Returns:
        One number per proxy; NaN where it says nothing about this network, with the reason. So it
        is where the network runs on the batch, but not as the proxy needs it: in float64, say.

    Raises:
        ZeroshotError: for an unknown proxy, for what is no network or no batch; if the network is
            TorchScript, compiled or wrapped for several devices, or its weights are not finite; if
            it fails on the batch, or if memory runs out: nothing is ever computed on less than the
            batch.
    """
    # Its parts are looked for anew: the caller may have changed the network.
    net = replace(net) if isinstance(net, Net) else Net(net)
    if not isinstance(batch, Batch):
        raise ZeroshotError(
            f"batch is {type(batch).__name__}; expected zeroshot.Batch(inputs, targets), or "
            'zeroshot.load_batch("noise")[0]'
        )
    with ALONE:
        return _put_back(net, batch, proxies)


def _put_back(net: Net, batch: Batch, proxies: str | Proxy | Iterable[str | Proxy]) -> Scores:
    """What the network writes into its parameters is undone, and it is scored on copies."""
    parameters = _parameters(net)
    if any(p.is_inference() for p in parameters):  # no gradient can be asked of these
        net = replace(net, copies=True)
    groups = _alike(parameters)
    kept = [_numbers(group).clone() for group in groups]
    if not all(bool(numbers.isfinite().all()) for numbers in kept):
        name = _named(net, lambda p: not bool(p.isfinite().all()))
        raise ZeroshotError(f"parameter {name} holds NaN or infinite values; initialise it")
    proxies = listed(proxies)
    try:
        scores = _evaluated(net, batch, proxies)
    finally:
        pairs = zip(groups, kept, strict=True)
        written = [pair for pair in pairs if not torch.equal(_numbers(pair[0]), pair[1])]
        for group, numbers in written:
            parts = _unflatten_dense_tensors(numbers, group)
            for parameter, part in zip(group, parts, strict=True):
                parameter.detach().copy_(part)
    return _evaluated(replace(net, copies=True), batch, proxies) if written else scores


def _alike(tensors: Iterable[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Tensors of one type and device together."""
    groups: dict[object, list[torch.Tensor]] = {}
    for tensor in tensors:
        groups.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    return list(groups.values())


def _numbers(tensors: list[torch.Tensor]) -> torch.Tensor:
    """All numbers in a row: looked at as one, they make a device wait once."""
    with torch.no_grad():
        return _flatten_dense_tensors(tensors)  # in a tenth of the time of torch.cat and flatten


def _evaluated(net: Net, batch: Batch, proxies: tuple[Proxy, ...]) -> Scores:
    run = _Run(net, batch.to(net.device, net.dtype), planned(proxies))
    found: dict[str, float] = {}
    reasons: dict[str, str] = {}
    with _as_usual(net.device):
        for proxy in proxies:
            try:
                found[proxy.name] = run.score(proxy)
                if math.isnan(found[proxy.name]):
                    reasons[proxy.name] = "the formula gives NaN"
            except Undefined as reason:
                found[proxy.name] = math.nan
                reasons[proxy.name] = str(reason)
    return Scores(found, reasons, run.seconds)


@dataclass
class _Run:
    """The passes run on one network. No cycle refers to it: its graphs go when it goes."""

    net: Net
    batch: Batch
    planned: dict[Pass[Any], Pass[Any]]
    seen: dict[Pass[Any], Any] = field(default_factory=dict)
    undefined: dict[Pass[Any], str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def score(self, proxy: Proxy) -> float:
        """What the formula gives. Undefined if it, or a pass that it needs, is."""
        needed = [self.result(need) for need in proxy.needs]
        try:
            value = proxy.formula(*needed)
            return float(value.detach() if isinstance(value, torch.Tensor) else value)
        except (Undefined, ZeroshotError):
            raise
        except Exception as error:  # a formula may be the caller's own
            if out_of_memory(error):
                raise OutOfMemoryError(
                    f"out of memory in {proxy.name}: lower the batch size ({len(self.batch)})"
                ) from error
            raise FailedFormula(proxy.name, error) from error

    def result(self, wanted: Pass[Any]) -> Any:
        """What a pass yields; it is run at the first call. Undefined if it or a need of it is."""
        wanted = self.planned.get(wanted, wanted)
        if wanted in self.undefined:
            raise Undefined(self.undefined[wanted])
        if wanted not in self.seen:
            needed = [self.result(need) for need in wanted.needs]
            start = time.perf_counter()
            try:
                self.seen[wanted] = wanted.run(self.net, self.batch, *needed)
            except Undefined as reason:
                self.undefined[wanted] = str(reason)
                raise
            except ZeroshotError:
                raise
            except Exception as error:  # a network may raise anything
                if out_of_memory(error) or not self._runs_plainly(wanted):
                    raise _failure(wanted, self.batch, error) from error
                self.undefined[wanted] = f"the network fails in pass {wanted}: {in_a_line(error)}"
                raise Undefined(self.undefined[wanted]) from error
            finally:
                self.seconds[repr(wanted)] = time.perf_counter() - start
        return self.seen[wanted]

    def _runs_plainly(self, failed: Pass[Any]) -> bool:
        """Whether the network and its loss run, though not as a pass of the package wants them to.

        In float64, say, or with one sample. If the network does not run, that is raised.
        """
        if isinstance(failed, Forward) or not type(failed).__module__.startswith("zeroshot."):
            return False
        logits = self.result(Forward()).logits.detach()
        try:
            self.batch.losses(logits)
        except Undefined:
            return True
        except Exception:  # a loss may be the caller's own
            return False
        return True


@contextmanager
def _as_usual(device: torch.device) -> Iterator[None]:
    """Gradients on, autocast off and no rounding below float32, whatever the caller has set."""
    autocast = torch.autocast(device.type, enabled=False)
    switches = switched(_in_full())
    with torch.inference_mode(False), torch.enable_grad(), autocast, switches, _eagerly():
        yield


def _eagerly() -> AbstractContextManager[object]:
    """Functions that the network has compiled run as they are written, where they are seen."""
    # That part of PyTorch is slow to load, and without it nothing is compiled.
    loaded = "torch._dynamo" in sys.modules
    if not loaded or torch.compiler.is_compiling():
        return nullcontext()
    return torch.compiler.set_stance("force_eager")


def _in_full() -> Iterator[tuple[Any, str, object]]:
    """Switches for products in float32 as they are, and the same algorithms every time.

    PyTorch lets convolutions on CUDA round to TF32's ten bits, and products if asked to: then
    signs of activations flip, and small eigenvalues are noise.
    """
    yield from REPEATABLE
    backends: Any = torch.backends
    cuda, cudnn, mkldnn = backends.cuda, backends.cudnn, backends.mkldnn
    if hasattr(cudnn, "conv"):  # PyTorch 2.9; its older switches do not mix with these
        of_cuda = (cuda.matmul, cudnn.conv, cudnn.rnn)
        for kind in (*of_cuda, mkldnn.matmul, mkldnn.conv, mkldnn.rnn):
            yield kind, "fp32_precision", "ieee"
    else:
        for kind in (cudnn, cuda.matmul):
            yield kind, "allow_tf32", False


def _parameters(net: Net) -> list[torch.Tensor]:
    """Its parameters, if its modules can be scored."""
    for name, part in net.parts:
        # What torch.compile answers holds the network; Module.compile leaves a mark on it.
        compiled = "_orig_mod" in part._modules or part._compiled_call_impl is not None
        if compiled or isinstance(part, HIDING):
            raise _hidden(name or "the network", part)
        if ".quantized" in type(part).__module__:
            raise ZeroshotError(
                f"{name or 'the network'} is {type(part).__name__} of {type(part).__module__}, "
                "which hides its weights; give the network as it was before it was quantised"
            )
    found = list[torch.Tensor](net.parameters.values())
    if any(is_lazy(p) for p in found):
        raise ZeroshotError(
            f"parameter {_named(net, is_lazy)} has no shape yet: run the lazy network once"
        )
    if any(p.is_meta for p in found):
        name = _named(net, lambda p: p.is_meta)
        raise ZeroshotError(f"parameter {name} is on the device 'meta', without values")
    return found


def _hidden(what: str, part: nn.Module) -> ZeroshotError:
    if isinstance(part, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return ZeroshotError(
            f"{what} is {type(part).__name__}, which runs copies of a network; "
            "give the network inside, its `.module`"
        )
    scripted = isinstance(part, torch.jit.ScriptModule)
    how = "TorchScript" if scripted else "compiled"
    before = "that it was made from" if scripted else "as it was before"
    return ZeroshotError(
        f"{what} is {how}, which hides its layers and activations; give the network {before}"
    )


def _named(net: Net, is_so: Callable[[torch.Tensor], bool]) -> str:
    """The first parameter of which something is so."""
    return next(name for name, p in net.parameters.items() if is_so(p))


def _failure(wanted: Pass[Any], batch: Batch, error: Exception) -> ZeroshotError:
    words = in_a_line(error)
    if out_of_memory(error):
        chunk = " or the pass's chunk" if hasattr(wanted, "chunk") else ""
        return OutOfMemoryError(
            f"out of memory in pass {wanted}: lower the batch size ({len(batch)}){chunk}"
        )
    where = "" if isinstance(wanted, Forward) else f" in pass {wanted}"
    images = batch.inputs.ndim == 4
    hint = " (if it takes images of another size: size=224, or --size 224)" if images else ""
    return ZeroshotError(
        f"the network fails{where} on inputs of shape {tuple(batch.inputs.shape)}{hint}: {words}"
    )
