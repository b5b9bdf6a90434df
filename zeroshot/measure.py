"""How long a network takes on the device that it lies on: measured, so beside the scores.

A time depends on the machine and on what else that does, where a score depends on the network, the
batch and the seed alone; so `latency` is no `Proxy`. As a column of a table of architectures it can
be limited, as parameters are, and no ranking mixes it with what speaks of accuracy.
"""

import time

import torch
from torch import Tensor, nn

from zeroshot.core import Batch, Net
from zeroshot.errors import ZeroshotError, whole
from zeroshot.restore import keeping_attributes, keeping_modes


def latency(
    net: Net | nn.Module, shown: Batch | Tensor, *, repeats: int = 20, warmup: int = 5
) -> float:
    """Seconds of one inference, in eval mode: the fastest of some runs.

    What else the machine does only adds to a run: beside other work the median can be ten times as
    long. On CUDA, until all that was enqueued is done. On a CPU it depends on how many threads
    PyTorch has; the caller sets them.

    Args:
        net: a network; afterwards in the modes that it was in.
        shown: a batch, or inputs of one sample or more; moved to the network's device and
            precision, which is not timed.
        repeats: runs that are timed.
        warmup: runs before them, in which kernels are chosen and caches filled.

    Raises:
        ZeroshotError: for fewer than one run, or what is no network or no batch.
    """
    if whole("repeats", repeats) < 1 or whole("warmup", warmup) < 0:
        raise ZeroshotError(f"{repeats} runs after {warmup} to warm up: expected at least 1 and 0")
    net = net if isinstance(net, Net) else Net(net)
    if not isinstance(shown, (Batch, Tensor)):
        raise ZeroshotError(
            f"shown is {type(shown).__name__}; expected a torch.Tensor or a zeroshot.Batch"
        )
    inputs = (shown.inputs if isinstance(shown, Batch) else shown).to(net.device)
    inputs = inputs.to(net.dtype) if inputs.is_floating_point() else inputs
    modules = list(net.module.modules())
    # A table that the network keeps could not be trained with: inference mode made it.
    with keeping_modes(modules), keeping_attributes(modules), torch.inference_mode():
        net.module.eval()
        seconds = [_run(net.module, inputs.clone()) for _ in range(warmup + repeats)]
    return min(seconds[warmup:])


def _run(module: nn.Module, inputs: Tensor) -> float:
    _finish(inputs.device)
    start = time.perf_counter()
    module(inputs)
    _finish(inputs.device)
    return time.perf_counter() - start


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
