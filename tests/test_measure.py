import pytest
import torch
from torch import nn

from tests.checks import batch, unchanged
from tests.networks import network
from zeroshot import measure
from zeroshot.core import Net
from zeroshot.errors import ZeroshotError
from zeroshot.measure import latency


@pytest.fixture
def clock(monkeypatch):
    """Every run takes one second more than the one before."""
    ticks = (second for n in range(100) for second in (1000.0 * n, 1001.0 * n))
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(ticks))


def test_fastest_of_the_runs_after_the_warmup(clock):
    assert latency(network("Plain"), batch(), repeats=3, warmup=5) == 5  # of 5, 6 and 7


def test_runs_are_inference_on_inputs_of_their_own():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append((self.training, torch.is_grad_enabled(), float(x.sum())))
            return x.zero_()

    shown = batch(torch.float32)
    assert latency(Spy(), shown, repeats=2, warmup=1) >= 0
    assert seen == [(False, False, float(shown.inputs.sum()))] * 3


def test_leaves_no_trace():
    net, shown = Net(network("Residual")), batch()
    net.module.block1.eval()
    with unchanged(net, shown):
        latency(net, shown, repeats=1, warmup=0)


def test_modes_are_restored_if_the_network_fails():
    module = network("Plain")
    with pytest.raises(RuntimeError, match="channels"):
        latency(module, batch(c=4))
    assert all(part.training for part in module.modules())


@pytest.mark.parametrize(("repeats", "warmup"), [(0, 5), (3, -1)])
def test_needs_a_run(repeats, warmup):
    with pytest.raises(ZeroshotError, match="at least 1 and 0"):
        latency(network("Plain"), batch(), repeats=repeats, warmup=warmup)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_all_that_was_enqueued_is_done():
    assert latency(network("Plain").cuda(), batch(), repeats=2, warmup=1) > 0
