import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from tests import networks
from tests.checks import DTYPES, NAMES, assert_agrees_with_oracle, batch
from zeroshot.proxies.swap_reg import SWAP_REG, swap_reg
from zeroshot.scoring import evaluate

CODES = (torch.tensor([[False, True], [True, True]]),)  # two patterns


def test_by_hand():
    assert swap_reg(CODES, 3, mu=1.0, sigma=2.0) == pytest.approx(2 * math.exp(-2))
    assert swap_reg(CODES, 1, mu=1.0, sigma=2.0) == 2
    assert swap_reg(CODES, 10**9) == 0


def test_another_size_is_a_proxy_of_ones_own():
    mine = replace(SWAP_REG, name="mine", formula=partial(swap_reg, mu=2e3, sigma=1e6))
    found = evaluate(networks.network("Plain"), batch(), [SWAP_REG, mine])
    assert 0 < found["mine"] != found["swap_reg"]


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("ReluFree", "Transformer")])
def test_agrees_with_the_oracle(name):
    assert_agrees_with_oracle(SWAP_REG, name, DTYPES["float64"])


def test_undefined_without_activations():
    scores = evaluate(networks.network("ReluFree"), batch(), [SWAP_REG])
    assert scores.reasons == {"swap_reg": "no ReLU-like activation was seen"}
