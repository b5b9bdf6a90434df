import pytest
import torch
from torch import nn

from tests import reference
from tests.checks import assert_agrees_with_oracle, assert_close, batch, of_space, on_networks
from tests.networks import network
from zeroshot.core import Batch
from zeroshot.errors import Undefined
from zeroshot.proxies.ntk_krr import NTK_KRR, ntk_krr
from zeroshot.scoring import evaluate

EXACT = {"dtype": torch.float64}


def test_by_hand():
    # Samples 0 and 1 predict 2 and 3. Classes less their mean: (½, −½) and (−½, ½).
    # Sample 2 is half of sample 0 and guesses (¼, −¼); sample 3 is sample 1 to the letter.
    features = torch.tensor([[2.0, 0], [0, 1], [1, 0], [0, 1]], **EXACT)
    found = ntk_krr(features @ features.T, torch.tensor([0, 1, 0, 1]))
    assert float(found) == pytest.approx((2 * 0.25**2 + 0) / 2)


def test_scale_does_not_matter():
    features = torch.tensor([[2.0, 1], [0, 1], [1, 3], [0, 1]], **EXACT)
    kernel, targets = features @ features.T, torch.tensor([0, 1, 0, 2])
    assert float(ntk_krr(1e-30 * kernel, targets)) == pytest.approx(float(ntk_krr(kernel, targets)))


def test_undefined_for_a_singular_kernel():
    with pytest.raises(Undefined, match="first half of the batch is singular"):
        ntk_krr(torch.ones(4, 4, **EXACT), torch.tensor([0, 1, 0, 1]))
    scores = evaluate(of_space("disconnected"), batch(), [NTK_KRR])
    assert "singular" in scores.reasons["ntk_krr"]


def test_undefined_if_no_weight_reaches_the_logits():
    scores = evaluate(nn.Flatten(), batch(), [NTK_KRR])
    assert scores.reasons == {"ntk_krr": "no weight reaches the logits"}


def test_an_odd_sample_belongs_to_the_first_half():
    inputs, targets = batch(n=7).inputs, batch(n=7).targets
    found = evaluate(network("Plain"), Batch(inputs, targets), [NTK_KRR])["ntk_krr"]
    assert_close(found, reference.ntk_krr(network("Plain"), inputs, targets), 1e-6)


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(NTK_KRR, name, dtype)
