import pytest
import torch

from tests import networks, reference
from tests.checks import TOLERANCE, assert_close, batch, on_networks
from zeroshot.core import Net
from zeroshot.passes import Map
from zeroshot.proxies.meco import MECO
from zeroshot.proxies.meco_opt import MECO_OPT, meco_opt
from zeroshot.scoring import evaluate


def test_by_hand():
    # Correlations ±1/2 of two channels, least eigenvalue 1/2; they stand for six.
    rows = torch.tensor([[1.0, -1.0, 0.0], [1.0, 0.0, -1.0]])
    assert float(meco_opt((Map(rows, 6), Map(rows, 2)))) == pytest.approx(3 * 0.5 + 0.5)


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    net, shown = Net(networks.network(name, dtype), seed=3), batch(dtype)
    order = net.generator("maps")
    expected = reference.meco_opt(net.module, shown.inputs, shown.targets, order)
    assert_close(evaluate(net, shown, [MECO_OPT])["meco_opt"], expected, TOLERANCE[dtype])


def test_layers_of_at_most_eight_channels_as_in_meco():
    scores = evaluate(networks.network("Activations"), batch(), [MECO, MECO_OPT])
    assert scores["meco_opt"] == pytest.approx(scores["meco"])
