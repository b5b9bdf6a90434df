import math

import pytest
import torch
from torch import nn

from tests import networks
from tests.checks import assert_agrees_with_oracle, assert_golden, batch, goldens, on_networks
from zeroshot.core import Net
from zeroshot.errors import Undefined
from zeroshot.passes import ConstantWeights
from zeroshot.proxies.epsilon import EPSILON, epsilon
from zeroshot.scoring import evaluate

ROWS = goldens("epsilon")


def test_by_hand():
    one = torch.tensor([0.0, 1.0, 2.0, 4.0], dtype=torch.float64)  # scaled 0, 1/4, 1/2, 1
    other = torch.tensor([3.0, 5.0, 1.0, 2.0], dtype=torch.float64)  # scaled 1/2, 1, 0, 1/4
    # Both say something of the second and the last: 3/4 and 3/4. Mean of six: 3.5 / 6.
    assert float(epsilon((one, other))) == pytest.approx(0.75 / (3.5 / 6))
    assert float(epsilon((one, 10 * one - 3))) == pytest.approx(0)


@on_networks(["Residual", "Activations"])
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(EPSILON, name, dtype)


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    assert_golden(EPSILON, golden)


@pytest.mark.parametrize("name", ["Plain", "NoNorm", "InplaceRelu"])
def test_zero_where_a_factor_is_all_that_differs(name):
    """Rectifiers and batch normalisation hand factors on, but for the variance's epsilon."""
    found = evaluate(networks.network(name), batch(), [EPSILON])["epsilon"]
    assert found == pytest.approx(0, abs=1e-12)


def test_the_weights_of_the_network_do_not_matter():
    one, other = networks.network("Residual"), networks.Residual().double()
    found = [evaluate(module, batch(), [EPSILON])["epsilon"] for module in (one, other)]
    assert found[0] == found[1]


def test_the_constants_matter():
    net, shown = Net(networks.network("Residual")), batch()
    one, other = ConstantWeights(0.1, 1.0), ConstantWeights(1e-7, 1.0)
    assert epsilon(one.run(net, shown)) != epsilon(other.run(net, shown))


def test_undefined():
    same = torch.ones(6, dtype=torch.float64)
    for hopeless in (same, same + 1e-13 * torch.arange(6), same * math.inf):
        with pytest.raises(Undefined, match="equal, or overflow"):
            epsilon((hopeless, torch.arange(6.0).double()))
    centred = nn.Sequential(nn.Flatten(), nn.LayerNorm(768), nn.Linear(768, 10)).double()
    for module in (centred, networks.network("Transformer")):
        assert "layer norm" in evaluate(module, batch(), [EPSILON]).reasons["epsilon"]


@pytest.mark.parametrize("side", [1, 4])
def test_normalisation_of_groups_where_all_is_equal(side):
    """Equal weights make channels equal: at one position nothing but rounding is left."""
    module = nn.Sequential(
        *(nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(side)),
        *(nn.GroupNorm(4, 24), nn.ReLU(), nn.Flatten(), nn.Linear(24 * side**2, 10)),
    )
    scores = evaluate(module, batch(torch.float32), [EPSILON])
    assert bool(scores.reasons) is (side == 1)
    assert "group normalisation" in scores.reasons.get("epsilon", "group normalisation")


@pytest.mark.parametrize("active", [True, False])
def test_normalisation_of_groups_whose_mean_is_taken(active):
    """It is zero, unless there is an activation between."""
    module = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.GroupNorm(2, 8)),
        *(nn.ReLU() if active else nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(8, 10),
    )
    scores = evaluate(module, batch(torch.float32), [EPSILON])
    assert bool(scores.reasons) is not active
    assert "group normalisation" in scores.reasons.get("epsilon", "group normalisation")
