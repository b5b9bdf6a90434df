import pytest
import torch
from torch import nn

from tests.checks import assert_agrees_with_oracle, batch, of_space, on_networks
from zeroshot.core import Batch
from zeroshot.errors import Undefined
from zeroshot.proxies.label_alignment import LABEL_ALIGNMENT, label_alignment
from zeroshot.scoring import evaluate

EXACT = {"dtype": torch.float64}


def test_by_hand():
    targets = torch.tensor([0, 0, 1])
    alike = torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]], **EXACT)
    assert float(label_alignment(5 * alike + 2, targets)) == pytest.approx(1)
    assert float(label_alignment(2 - alike, targets)) == pytest.approx(-1)
    # Means are 1/3 and 5/9; the products of what is left are
    # 3 times 2/3 · 4/9, 2 times −1/3 · 4/9 and 4 times −1/3 · −5/9.
    products, lengths = 36 / 27, (3 * (2 / 3) ** 2 + 6 / 9) * (5 * (4 / 9) ** 2 + 4 * (5 / 9) ** 2)
    found = label_alignment(torch.eye(3, **EXACT), targets)
    assert float(found) == pytest.approx(products / lengths**0.5)


def test_undefined_for_one_class():
    with pytest.raises(Undefined, match="all samples are of one class"):
        label_alignment(torch.eye(2, **EXACT), torch.tensor([3, 3]))


def test_undefined_if_all_samples_have_the_same_gradient():
    shown = Batch(torch.full((3, 2), 0.1, **EXACT), torch.tensor([0, 1, 0]))
    scores = evaluate(nn.Linear(2, 2).double(), shown, [LABEL_ALIGNMENT])
    assert scores.reasons == {"label_alignment": "all samples have the same gradient"}
    scores = evaluate(of_space("disconnected"), batch(), [LABEL_ALIGNMENT])
    assert scores.reasons == {"label_alignment": "all samples have the same gradient"}


def test_undefined_if_no_weight_reaches_the_logits():
    scores = evaluate(nn.Flatten(), batch(), [LABEL_ALIGNMENT])
    assert scores.reasons == {"label_alignment": "no weight reaches the logits"}


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(LABEL_ALIGNMENT, name, dtype)
