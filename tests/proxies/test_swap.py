import pytest
import torch

from tests import networks
from tests.checks import (
    DTYPES,
    NAMES,
    assert_agrees_with_oracle,
    assert_golden,
    batch,
    goldens,
    of_space,
)
from zeroshot.proxies.swap import SWAP, swap
from zeroshot.scoring import evaluate

ROWS = goldens("swap")


def test_by_hand():
    # Over two samples: units of patterns 01, 11, 01, 00 in two activations.
    first = torch.tensor([[False, True], [True, True]])
    second = torch.tensor([[False, False], [True, False]])
    assert swap((first, second)) == 3


@pytest.mark.parametrize("n", [1, 30, 31, 32, 62, 63, 100])
def test_exact_for_any_number_of_samples(n):
    codes = torch.rand(n, 300, generator=torch.Generator().manual_seed(n)) > 0.5
    codes[:, 200:] = codes[:, :100]
    codes[-1, 250:] ^= True
    assert swap((codes,)) == len({tuple(unit) for unit in codes.T.tolist()})


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in ("ReluFree", "Transformer")]
)
def test_agrees_with_the_oracle(name):
    assert_agrees_with_oracle(SWAP, name, DTYPES["float64"])


@pytest.mark.parametrize("golden", [g for _, g in ROWS], ids=[name for name, _ in ROWS])
def test_agrees_with_the_authors_code(golden):
    assert_golden(SWAP, golden)


def test_a_disconnected_network_sees_one_thing():
    assert evaluate(of_space("disconnected"), batch(), [SWAP])["swap"] == 1


def test_a_transformer_sees_something():
    found = evaluate(networks.network("Transformer"), batch(), [SWAP])["swap"]
    assert 1 < found <= 16 * 32  # tokens and hidden units


def test_undefined_without_activations():
    scores = evaluate(networks.network("ReluFree"), batch(), [SWAP])
    assert scores.reasons == {"swap": "no ReLU-like activation was seen"}
