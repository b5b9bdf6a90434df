from itertools import product

import pytest
import torch
from torch import nn
from torch.autograd import grad

from zeroshot.core import Net
from zeroshot.passes import census
from zeroshot.spaces.narrow import Conv2d

# Channels in and out, groups, kernel, stride, padding, dilation, size; whether it is narrow.
NARROW = [
    *(
        (c, c, c, k, s, d * (k // 2), d, 9)
        for c, k, s, d in product((1, 3), (3, 5), (1, 2), (1, 2))
    ),
    *(
        (inward, outward, 1, 1, s, 0, 1, 9)
        for inward, outward, s in product((1, 4), (1, 8), (1, 2))
    ),
    (2, 2, 2, 1, 1, 0, 1, 9),
    (3, 3, 3, (1, 3), (2, 1), (0, 1), 1, (8, 9)),
    (2, 2, 2, 3, 1, "same", 1, 9),
]
PLAIN = [
    (4, 4, 2, 3, 1, 1, 1, 9),
    (3, 3, 1, 3, 1, 1, 1, 9),
    (3, 3, 1, 1, 1, 1, 1, 9),
    (2, 4, 2, 3, 1, 1, 1, 9),
    (9, 9, 9, 3, 1, 1, 1, 9),
    (4, 9, 1, 1, 1, 0, 1, 9),
    (3, 3, 3, 3, 1, 1, 1, 7),
]


def twins(inward, outward, groups, kernel, stride, padding, dilation, size, **options):
    """The layer and PyTorch's with the same weight, and inputs for both."""
    torch.manual_seed(0)
    geometry = (kernel, stride, padding, dilation, groups)
    made = [
        kind(inward, outward, *geometry, **{"bias": False, **options}).double()
        for kind in (Conv2d, nn.Conv2d)
    ]
    made[0].load_state_dict(made[1].state_dict())
    height, width = size if isinstance(size, tuple) else (size, size)
    return *made, torch.rand(4, inward, height, width, dtype=torch.float64, requires_grad=True)


def close(one, other):
    return torch.allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("setting", NARROW + PLAIN, ids=str)
def test_the_same_function(setting):
    """So are its gradients, those of chosen rows at once, and those of gradients."""
    ours, theirs, inputs = twins(*setting)
    found, expected = ours(inputs), theirs(inputs)
    assert found.shape == expected.shape
    assert close(found, expected)
    rows = torch.rand(2, *expected.shape, dtype=torch.float64)
    firsts, batched = [], []
    for layer, output in ((ours, found), (theirs, expected)):
        leaves = inputs, layer.weight
        batched += [grad(output, leaves, rows, retain_graph=True, is_grads_batched=True)]
        first = grad(output.pow(3).sum(), leaves, create_graph=True)
        firsts += [(*first, *grad(sum(g.pow(2).sum() for g in first), leaves))]
    assert all(map(close, *firsts))
    assert all(map(close, *batched))


@pytest.mark.parametrize("setting", NARROW, ids=str)
def test_narrow_ones_take_the_quick_way(setting, monkeypatch):
    ours, _, inputs = twins(*setting)
    monkeypatch.setattr(nn.Conv2d, "forward", lambda *_: pytest.fail("the usual way"))
    ours(inputs)


@pytest.mark.parametrize("options", [{"bias": True}, {"padding_mode": "circular"}], ids=str)
def test_what_else_a_convolution_may_have(options):
    ours, theirs, inputs = twins(3, 3, 3, 3, 1, 1, 1, 9, **options)
    assert close(ours(inputs), theirs(inputs))


@pytest.mark.parametrize("setting", [(3, 3, 3, 3, 2, 1, 1, 9), (4, 2, 1, 1, 1, 0, 1, 9)], ids=str)
def test_multiply_adds(setting):
    ours, theirs, inputs = twins(*setting)
    assert census(Net(ours), inputs[:1]) == census(Net(theirs), inputs[:1])


def test_exported_as_one_convolution_for_batches_of_any_size():
    ours, theirs, inputs = twins(3, 3, 3, 3, 1, 1, 1, 9)
    samples = torch.export.Dim("samples", min=2)
    exported = torch.export.export(ours, (inputs.detach(),), dynamic_shapes=({0: samples},))
    more = inputs.detach().repeat(3, 1, 1, 1)
    assert close(exported.module()(more), theirs(more))
    assert sum(node.op == "call_function" for node in exported.graph.nodes) == 1
