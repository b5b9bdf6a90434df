import math

import pytest
import torch

from tests import networks, reference
from tests.checks import DTYPES, TOLERANCE, assert_close, batch, goldens, of_space, on_networks, toy
from zeroshot.core import Net
from zeroshot.proxies.az_progressivity import AZ_PROGRESSIVITY, az_progressivity
from zeroshot.scoring import evaluate

ROWS = goldens("az_progressivity")


def spectra(*found):
    return tuple(torch.tensor(spectrum, dtype=torch.float64) for spectrum in found)


def test_by_hand():
    # Entropies 0, log 4, log 2.
    found = az_progressivity(spectra([1.0, 0.0], [2.0, 2.0, 2.0, 2.0], [1.0, 1.0]))
    assert float(found) == pytest.approx(-math.log(2))


@pytest.mark.parametrize("zero", [0, 1, 2])
def test_minus_infinity_if_features_are_constant(zero):
    found = [[1.0, 1.0]] * 3
    found[zero] = [0.0, 0.0]
    assert az_progressivity(spectra(*found)) == -math.inf


@on_networks(networks.BLOCKS)
def test_agrees_with_the_oracle(name, dtype):
    net, shown = toy(name, dtype), batch(dtype)
    expected = reference.az_progressivity(net.module, shown.inputs, net.blocks)
    found = evaluate(net, shown, [AZ_PROGRESSIVITY])["az_progressivity"]
    assert found == pytest.approx(expected, abs=TOLERANCE[dtype])


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    net, shown = toy(golden.network, DTYPES[golden.dtype]), batch(DTYPES[golden.dtype])
    found = evaluate(net, shown, [AZ_PROGRESSIVITY])["az_progressivity"]
    assert_close(found, golden.value, golden.tolerance)


def test_minus_infinity_if_disconnected():
    found = evaluate(of_space("disconnected"), batch(), [AZ_PROGRESSIVITY])
    assert found["az_progressivity"] == -math.inf


def test_undefined_for_one_block():
    net = Net(networks.network("Plain"), blocks=("relu1",))
    assert "one block" in evaluate(net, batch(), [AZ_PROGRESSIVITY]).reasons["az_progressivity"]
