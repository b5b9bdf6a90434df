"""Nothing mixes devices, and little waits for one: also where there is only a CPU to tell."""

from dataclasses import replace

import pytest
import torch

from tests.checks import NETS, batch, same
from tests.elsewhere import being_elsewhere, moved
from zeroshot import scoring
from zeroshot.core import Net
from zeroshot.models import find_members
from zeroshot.proxies import PROXIES

# They count memory by tensors that share it, which those elsewhere do not.
NOT_HERE = {"memory", "memory_train"}


@pytest.fixture(autouse=True)
def without_values(monkeypatch):
    """What says 'meta' would be refused."""
    monkeypatch.setattr(scoring, "_parameters", lambda net: list(net.parameters.values()))


def elsewhere(net: Net) -> Net:
    thin = net.thin and net.thin()
    return replace(net, module=moved(net.module), thin=thin and (lambda: moved(thin)))


@pytest.mark.parametrize("name", dict(NETS))
def test_every_proxy_is_the_same_elsewhere(name):
    proxies = [proxy for proxy in PROXIES if proxy.name not in NOT_HERE]
    shown = batch(torch.float64)
    expected = scoring.evaluate(dict(NETS)[name](torch.float64), shown, proxies)
    net = elsewhere(dict(NETS)[name](torch.float64))
    with being_elsewhere():
        found = scoring.evaluate(net, shown, proxies)
    assert found.reasons == expected.reasons
    for proxy in found:
        both = found[proxy], expected[proxy]
        assert same(*both) or both == pytest.approx(both[::-1], rel=1e-8, abs=1e-12), proxy


def test_the_default_ranking_does_not_wait_for_the_device_layer_by_layer():
    net = elsewhere(dict(NETS)["nasbench201-convolutions"](torch.float64))
    layers = sum(1 for _ in net.named_layers())
    with being_elsewhere() as device:
        scoring.evaluate(net, batch(torch.float64), find_members("default")[1])
    assert device.waited.total() <= 14 < layers


def test_mixed_devices_are_seen():
    there = moved(torch.nn.Linear(3, 3))
    with being_elsewhere(), pytest.raises(AssertionError, match="on two devices"):
        there(torch.zeros(2, 3))
