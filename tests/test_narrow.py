"""Normalisation and pooling of maps with few channels, against PyTorch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import grad, gradcheck, gradgradcheck

from zeroshot import narrow
from zeroshot.narrow import (
    Norm,
    average_of_neighbours,
    is_average_of_neighbours,
    is_narrow,
    normalise,
    normalise_backward,
)
from zeroshot.passes.twice import cheap_on_few_channels, cheap_to_differentiate_twice

MODES = (cheap_on_few_channels, cheap_to_differentiate_twice)


def maps(n: int = 64, channels: int = 3, side: int = 8, dtype: torch.dtype = torch.float64):
    drawn = torch.randn(
        n, channels, side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    return (2 * drawn + 5).to(dtype).contiguous(memory_format=torch.channels_last)


@pytest.fixture
def any_size(monkeypatch):
    """For maps so small that derivatives can be taken by differences."""
    monkeypatch.setattr(narrow, "POSITIONS", 1)


@pytest.mark.parametrize("channels", range(1, narrow.CHANNELS))
@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("affine", [True, False])
def test_normalisation_is_pytorchs(channels, side, affine):
    """At sizes that fold evenly and at those that do not."""
    given = maps(65 if side == 9 else 64, channels, side)
    weight, bias = (torch.linspace(0.5, 2, channels).double() for _ in range(2))
    weight, bias = (weight, bias) if affine else (None, None)
    running = [torch.zeros(channels).double(), torch.ones(channels).double()]
    expected_running = [t.clone() for t in running]
    found = normalise(Norm(given, *running, weight, bias, True, 0.3, 1e-3))
    expected = torch.native_batch_norm(given, weight, bias, *expected_running, True, 0.3, 1e-3)
    for one, other in zip((*found, *running), (*expected, *expected_running), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    assert found[0].is_contiguous(memory_format=torch.channels_last)
    gradient = maps(len(given), channels, side).sin()
    back = normalise_backward(gradient, given, weight, found[1], found[2])
    expected = torch.ops.aten.native_batch_norm_backward(
        gradient, given, weight, None, None, *expected[1:], True, 1e-3, [True] * 3
    )
    for one, other in zip(back, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_single_precision_is_no_worse_than_pytorchs():
    """Means far from zero, many positions: where sums lose digits."""
    given = maps(256, 3, 32, torch.float32) * 3 + 50
    exact = F.batch_norm(given.double(), None, None, training=True)
    ours = normalise(Norm(given))[0]
    theirs = F.batch_norm(given, None, None, training=True)
    assert (ours - exact).abs().max() <= (theirs - exact).abs().max() + 1e-5


@pytest.mark.parametrize("mode", MODES)
def test_derivatives_are_those_of_differences(mode, any_size):
    given = [maps(3, 2, 3).requires_grad_(), torch.tensor([0.5, 2.0]), torch.tensor([1.0, -1.0])]
    given = [given[0], *(t.double().requires_grad_() for t in given[1:])]
    assert is_narrow(given[0])

    def run(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        # Differences are taken of a copy in another layout.
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with mode():
            normal = F.batch_norm(inputs, None, None, weight, bias, training=True)
            return F.avg_pool2d(normal, 3, 1, 1, count_include_pad=False)

    assert gradcheck(run, given)
    assert gradgradcheck(run, given)


@pytest.mark.parametrize("size", [(4, 3, 5, 7), (2, 1, 3, 3), (1, 2, 1, 4)], ids=str)
def test_pooling_is_pytorchs(size, any_size):
    given = torch.randn(size, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    given.requires_grad_()
    expected = F.avg_pool2d(given, 3, stride=1, padding=1, count_include_pad=False)
    found = average_of_neighbours(given)
    torch.testing.assert_close(found, expected)
    outward = torch.randn_like(expected)
    torch.testing.assert_close(*(grad(out, given, outward)[0] for out in (found, expected)))


def test_pooling_is_worth_it_with_more_channels_than_normalisation():
    how = {"kernel_size": 3, "stride": 1, "padding": 1, "count_include_pad": False}
    for channels in (1, narrow.CHANNELS, narrow.POOLED - 1):
        assert is_average_of_neighbours(maps(channels=channels), **how)
    assert not is_average_of_neighbours(maps(channels=narrow.POOLED), **how)
    given = maps(channels=narrow.CHANNELS)
    with cheap_on_few_channels():
        assert torch.equal(F.avg_pool2d(given, **how), average_of_neighbours(given))


POOLINGS = {
    "other size": nn.AvgPool2d(2, 1),
    "strided": nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
    "by default strided": nn.AvgPool2d(3, padding=1, count_include_pad=False),
    "borders counted": nn.AvgPool2d(3, 1, padding=1),
    "divided otherwise": nn.AvgPool2d(3, 1, 1, count_include_pad=False, divisor_override=2),
    "rounded up": nn.AvgPool2d(3, 1, 1, ceil_mode=True, count_include_pad=False),
    "unpadded": nn.AvgPool2d(3, 1, count_include_pad=False),
}


@pytest.mark.parametrize("pool", POOLINGS.values(), ids=POOLINGS)
def test_other_poolings_are_left_alone(pool):
    given = maps()
    with cheap_on_few_channels():
        assert torch.equal(pool(given), F.avg_pool2d(given, **_arguments(pool)))


def _arguments(pool: nn.AvgPool2d) -> dict[str, object]:
    names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
    return {name: getattr(pool, name) for name in names} | {
        "divisor_override": pool.divisor_override
    }


@pytest.mark.parametrize(
    "given",
    [
        maps().contiguous(),
        maps(channels=narrow.CHANNELS),
        maps(n=2),
        maps().flatten(2),
        maps()[:, :, ::2],
    ],
    ids=["channels first", "many channels", "few positions", "sequences", "strided"],
)
def test_other_maps_are_left_to_pytorch(given):
    assert not is_narrow(given)
    with cheap_on_few_channels():
        found = F.batch_norm(given, None, None, training=True)
    assert torch.equal(found, F.batch_norm(given, None, None, training=True))


@pytest.mark.parametrize("mode", MODES)
def test_stored_statistics_and_zero_scales_are_left_to_pytorch(mode):
    given, zero = maps().requires_grad_(), torch.zeros(3).double()
    for arguments in (
        {"running_mean": zero, "running_var": zero + 1, "training": False},
        {"running_mean": None, "running_var": None, "weight": zero, "training": True},
    ):
        with mode():
            found = F.batch_norm(given, **arguments)
        assert torch.equal(found, F.batch_norm(given, **arguments))


@pytest.mark.parametrize("mode", MODES)
def test_a_network_of_few_channels_gives_the_same(mode):
    """Answers and gradients; both modes to the last bit, and PyTorch but for rounding."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        nn.Conv2d(4, 2, 1),
        nn.BatchNorm2d(2, affine=False),
    ).double()
    net.to(memory_format=torch.channels_last)
    given = maps().requires_grad_()

    def run() -> list[Tensor]:
        output = net(given)
        return [output, *grad(output.sin().sum(), (given, *net.parameters()))]

    expected = run()
    found = []
    for each in (mode, *MODES):
        with each():
            found.append(run())
    for one, *others, usual in zip(*found, expected, strict=True):
        assert all(torch.equal(one, other) for other in others)
        torch.testing.assert_close(one, usual, rtol=1e-9, atol=1e-9)


def test_several_rows_of_a_jacobian_at_once_are_those_one_by_one():
    """As a tangent kernel's `chunk` takes them, through vmap."""
    inputs, weight = maps().requires_grad_(), torch.ones(3).double().requires_grad_()
    with cheap_on_few_channels():
        normal = F.batch_norm(inputs, None, None, weight, training=True)
        pooled = F.avg_pool2d(normal, 3, 1, 1, count_include_pad=False)
    outputs = pooled.square().flatten(1).sum(1)[:4]
    together = grad(
        outputs,
        (inputs, weight),
        torch.eye(4).double(),
        is_grads_batched=True,
        retain_graph=True,
    )
    for row in range(4):
        alone = grad(outputs[row], (inputs, weight), retain_graph=True)
        for one, other in zip(alone, together, strict=True):
            torch.testing.assert_close(one, other[row], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("mode", MODES)
def test_what_is_normalised_may_be_overwritten(channels, mode):
    net = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True)).double()
    given = maps(channels=channels).requires_grad_()
    expected = grad((net(given) ** 2).sum(), given)[0]
    with mode():
        found = grad((net(given) ** 2).sum(), given)[0]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_pytorchs(dtype):
    assert not is_narrow(maps(dtype=dtype))
