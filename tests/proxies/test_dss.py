import pytest
import torch
from torch import nn

from tests import networks
from tests.checks import DTYPES, assert_agrees_with_oracle, batch
from zeroshot.core import Net
from zeroshot.passes import AttentionWeights, Grads
from zeroshot.proxies.dss import DSS, dss
from zeroshot.scoring import evaluate


def test_by_hand():
    weights = torch.diag(torch.tensor([1.0, 2.0])), torch.tensor([[1.0, 2.0]]), torch.ones(1, 1, 1)
    grads = (
        torch.tensor([[0.0, 3.0], [-4.0, 0.0]]),
        torch.tensor([[5.0, -1.0]]),
        torch.ones(1, 1, 1),
    )
    # Nuclear norms 3 and 7 of the attention; 5 + 2 of the linear layer; nothing of a convolution.
    attention = torch.tensor([True, False, False])
    assert float(dss(Grads(weights, grads), attention)) == pytest.approx(3 * 7 + 5 + 2)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_agrees_with_the_oracle(dtype):
    assert_agrees_with_oracle(DSS, "Transformer", dtype)


class SelfAttention(nn.Module):
    """One of the many that are written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(4, 12), nn.Linear(4, 4)


def test_whose_weights_are_an_attentions():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), SelfAttention(), nn.MultiheadAttention(4, 2))
    module.append(nn.Linear(4, 10))
    net = Net(module)
    found = AttentionWeights().run(net, batch())
    attends = [name for name, its in zip(net.weights(), found.tolist(), strict=True) if its]
    own = ["1.qkv.weight", "1.proj.weight", "2.in_proj_weight", "2.out_proj.weight"]
    assert sorted(attends) == sorted(own)


def test_undefined_without_attention():
    scores = evaluate(networks.network("Plain"), batch(), [DSS])
    assert scores.reasons["dss"] == "the network has no attention"
