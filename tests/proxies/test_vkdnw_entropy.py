import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from tests import reference
from tests.checks import (
    assert_agrees_with_oracle,
    assert_close,
    assert_golden,
    batch,
    goldens,
    of_space,
    on_networks,
)
from tests.networks import network
from zeroshot.core import Batch, Net
from zeroshot.errors import Undefined
from zeroshot.passes import FisherInformation, Forward, Information
from zeroshot.proxies.vkdnw_entropy import VKDNW_ENTROPY, vkdnw_entropy
from zeroshot.scoring import evaluate

ROWS = goldens("vkdnw_entropy")
OFFICIAL = dataclasses.replace(VKDNW_ENTROPY, needs=(FisherInformation(fidelity="official"),))


def of_eigenvalues(*values):
    return Information(torch.diag(torch.tensor(values, dtype=torch.float64)), tensors=len(values))


def information(net, shown, **options):
    return FisherInformation(**options).run(net, shown, Forward().run(net, shown))


def test_by_hand():
    assert float(vkdnw_entropy(of_eigenvalues(2.0, 2.0, 2.0))) == pytest.approx(math.log(9))
    # Deciles of 0 and 10 are 1, 2, …, 9.
    expected = -sum(k / 45 * math.log(k / 45) for k in range(1, 10))
    assert float(vkdnw_entropy(of_eigenvalues(0.0, 10.0))) == pytest.approx(expected)


def test_information_by_hand():
    # Two classes of the same probability, so that diag σ − σσᵀ is ¼ of (1, −1; −1, 1). The first
    # weight changes logit 0 by the first input (1 and 3), the first bias by 1.
    linear = nn.Linear(2, 2)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    shown = Batch(torch.tensor([[1.0, 7], [3, 7]]), torch.tensor([0, 0]))
    found = information(Net(linear), shown)
    assert torch.allclose(found.matrix, torch.tensor([[5.0, 2], [2, 1]]).double() / 4)
    assert found.tensors == 2


def test_scale_does_not_matter():
    seen = of_eigenvalues(1.0, 3.0, 4.0)
    smaller = Information(1e-30 * seen.matrix, seen.tensors)
    assert float(vkdnw_entropy(smaller)) == pytest.approx(float(vkdnw_entropy(seen)))


def test_rounding_errors_are_no_eigenvalues():
    found = vkdnw_entropy(of_eigenvalues(-1e-17, 1e-17, 1.0, 1.0))
    assert found == vkdnw_entropy(of_eigenvalues(0.0, 0.0, 1.0, 1.0))


def test_undefined_if_nine_in_ten_weights_do_not_matter():
    with pytest.raises(Undefined, match="nine in ten"):
        vkdnw_entropy(of_eigenvalues(*[0.0] * 20, 1.0))
    scores = evaluate(of_space("disconnected"), batch(), [VKDNW_ENTROPY])
    assert "nine in ten" in scores.reasons["vkdnw_entropy"]


def test_undefined_if_the_deciles_are_rounding():
    drawn = np.random.default_rng(0).normal(size=(20, 20))
    turned = torch.linalg.qr(torch.from_numpy(drawn)).Q
    values = torch.tensor([1.0, *[1e-18] * 19], dtype=torch.float64)
    with pytest.raises(Undefined, match="nine in ten"):
        vkdnw_entropy(Information(turned @ values.diag() @ turned.T, tensors=20))


def test_undefined_if_no_weight_reaches_the_logits():
    scores = evaluate(nn.Flatten(), batch(), [VKDNW_ENTROPY])
    assert scores.reasons == {"vkdnw_entropy": "no weight reaches the logits"}


def test_undefined_without_second_derivatives():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, gradient):
            return gradient

    class Network(nn.Sequential):
        def forward(self, x):
            return Once.apply(super().forward(x))

    found = Network(nn.Flatten(), nn.Linear(768, 10)).double()
    scores = evaluate(found, batch(), [VKDNW_ENTROPY])
    assert "no second derivative" in scores.reasons["vkdnw_entropy"]


def test_only_the_first_tensors_are_looked_at():
    net, shown = Net(network("Plain")), batch()
    whole, part = information(net, shown), information(net, shown, most=5)
    assert torch.allclose(part.matrix, whole.matrix[:5, :5], rtol=1e-9)
    assert part.tensors == whole.tensors == 12


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(VKDNW_ENTROPY, name, dtype)


@pytest.mark.parametrize("name", ["Residual", "Transformer", "Activations"])
def test_with_stored_statistics_agrees_with_the_oracle(name):
    shown = batch(n=6)
    expected = reference.vkdnw_entropy(network(name), shown.inputs, shown.targets, official=True)
    found = evaluate(network(name), shown, [OFFICIAL])["vkdnw_entropy"]
    assert_close(found, expected, 1e-6)


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    assert_golden(OFFICIAL, golden)
