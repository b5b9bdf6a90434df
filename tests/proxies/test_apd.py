import pytest
import torch
from torch import nn

from tests import networks
from tests.checks import NAMES, assert_agrees_with_oracle, batch, of_space, on_networks
from zeroshot.proxies.apd import APD, apd
from zeroshot.scoring import evaluate


def test_by_hand():
    # Stable ranks 4/3 and 2; kernels of four equal weights and of one: 2 and 1. A matrix is none.
    ranks = torch.tensor([4 / 3, 2]).double()
    weights = (torch.full((1, 1, 2, 2), -0.5), torch.ones(1, 1, 1), torch.ones(3, 3))
    assert float(apd(ranks, weights)) == pytest.approx((4 / 3 + 2) * 3)


def test_nothing_but_zeros_adds_nothing():
    ranks = torch.tensor([0.0, 2]).double()
    assert float(apd(ranks, (torch.zeros(2, 1, 1), torch.ones(1, 1, 1)))) == 2
    assert float(apd(ranks, ())) == float(apd(ranks[:0], (torch.ones(1, 1, 1),))) == 0


def _normalises(name: str) -> bool:
    return any(isinstance(part, nn.BatchNorm2d) for part in networks.network(name).modules())


@on_networks([name for name in NAMES if _normalises(name)])
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(APD, name, dtype)


@pytest.mark.parametrize("name", ["NoNorm", "Transformer"])
def test_zero_without_batch_normalisation(name):
    assert evaluate(networks.network(name), batch(), [APD])["apd"] == 0


def test_a_disconnected_network_has_little():
    connected, disconnected = (
        evaluate(of_space(cell), batch(), [APD])["apd"] for cell in ("convolutions", "disconnected")
    )
    assert 0 < disconnected < connected


def test_takes_what_normalisation_answers_before_an_activation_in_its_module():
    class Activated(nn.BatchNorm2d):
        def forward(self, maps):
            return super().forward(maps).relu()

    plain = networks.fill(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
    inside = networks.fill(nn.Sequential(nn.Conv2d(3, 4, 3), Activated(4)))
    one, other = (evaluate(module, batch(), [APD])["apd"] for module in (plain, inside))
    assert one == other > 0
