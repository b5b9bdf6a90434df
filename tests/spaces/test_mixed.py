import pytest
import torch
from torch import nn

from zeroshot.errors import ZeroshotError
from zeroshot.spaces import Mixed


class Counting(nn.Module):
    """Adds one, and counts how often."""

    def __init__(self):
        super().__init__()
        self.runs = 0

    def forward(self, inputs):
        self.runs += 1
        return inputs + 1


INPUTS = torch.tensor([1.0, -2.0])


def test_the_mean_of_what_is_open():
    mixed = Mixed({"none": None, "skip": nn.Identity(), "relu": nn.ReLU()})
    assert torch.equal(mixed(INPUTS), torch.tensor([2.0, -2.0]) / 3)
    assert list(mixed) == ["skip", "relu"]
    assert mixed.count == 3
    assert torch.equal(Mixed({"relu": nn.ReLU()})(INPUTS), torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize("name", ["conv.1", "", "keys", "training"])
def test_names_that_a_module_cannot_have(name):
    with pytest.raises(ZeroshotError, match=f"operation of Mixed cannot be called '{name}': its"):
        Mixed({name: nn.Identity()})


def test_nothing_is_zero_but_in_the_graph():
    leaf = INPUTS.clone().requires_grad_()
    nothing = Mixed({"none": None})(leaf)
    assert not nothing.any()
    nothing.sum().backward()
    assert not leaf.grad.any()


def test_a_skip_alone_is_the_identity():
    skip, relu = nn.Identity(), nn.ReLU()
    assert Mixed({"skip": skip}).is_identity
    assert not any(
        mixed.is_identity
        for mixed in (
            Mixed({"relu": relu}),
            Mixed({"skip": skip, "relu": relu}),
            Mixed({"skip": skip, "none": None}),
            Mixed({"none": None}),
        )
    )


def test_what_operations_begin_with_runs_once_for_the_same_inputs():
    common, own = Counting(), Counting()
    one = Mixed({"a": nn.Sequential(common, nn.ReLU()), "b": common, "c": own})
    other = Mixed({"d": nn.Sequential(common, common)})
    shared = {}
    found = [mixed(INPUTS, shared) for mixed in (one, other)]
    assert (common.runs, own.runs) == (2, 1)  # the second of `other` has inputs of its own
    assert all(map(torch.equal, found, [mixed(INPUTS) for mixed in (one, other)]))
    assert (common.runs, own.runs) == (6, 2)
