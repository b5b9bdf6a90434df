"""The tape against autograd, row by row."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function, grad

from tests import networks
from tests.checks import TASK, TINY, batch
from zeroshot.core import Net
from zeroshot.passes import TangentKernel, tangent
from zeroshot.passes.tape import Replay, Tape, Unseen, strided, windows
from zeroshot.passes.tape.rows import Gradient
from zeroshot.passes.tape.steps import Convolution
from zeroshot.passes.tape.windows import Source
from zeroshot.passes.twice import cheap_on_few_channels
from zeroshot.spaces.darts import Darts


def conv(inward: int, outward: int, size: Any = 3, **how: Any) -> nn.Conv2d:
    how = {"padding": size // 2} | how if isinstance(size, int) else how
    return nn.Conv2d(inward, outward, size, **{"bias": False} | how)


def normalised(inward: int, outward: int, size: Any = 3, **how: Any) -> nn.Sequential:
    return nn.Sequential(conv(inward, outward, size, **how), nn.BatchNorm2d(outward))


class Net3(nn.Module):
    """A stem of three channels, a body to be told, and a classifier."""

    def __init__(self, body: Any, width: int = 3, **parts: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.stem = normalised(3, 3)
        for name, part in parts.items():
            setattr(self, name, part)
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self, self.stem(x)).mean((2, 3)))


def of(body: Any, width: int = 3, **parts: nn.Module) -> nn.Module:
    return networks.fill(Net3(body, width, **parts).double())


def mixture(net: Any, x: Tensor) -> Tensor:
    """Two nodes: kernels of all sizes on the same map, with one gradient and with several."""
    z = F.relu(x)
    node = (net.a(z) + net.b(z) + net.c(z) + x) / 4
    return (net.d(F.relu(node)) + net.e(z) + net.pool(x) + net.pool(node)) / 3


def twice_read(net: Any, x: Tensor) -> Tensor:
    y = net.a(x)
    return net.norm(y) + y


def overwritten_twice(net: Any, x: Tensor) -> Tensor:
    y = net.a(x)
    y.add_(x)
    F.relu(y, inplace=True)
    return y


def computed_weights(net: Any, x: Tensor) -> Tensor:
    weight = net.a[0].weight
    y = F.conv2d(x, weight - weight.mean((1, 2, 3), keepdim=True), padding=1)
    return F.batch_norm(y, None, None, net.a[1].weight ** 2, None, training=True)


def learned_map(net: Any, x: Tensor) -> Tensor:
    return net.a(net.place.weight.view(1, 3, 16, 16)) + net.b(x)


def views(net: Any, x: Tensor) -> Tensor:
    first, second = net.a(x).chunk(2, dim=1)
    return torch.cat([first.transpose(2, 3).transpose(3, 2), second * second], dim=1)


BODIES = {
    "mixture": of(
        mixture,
        a=normalised(3, 3),
        b=normalised(3, 3, 1),
        c=normalised(3, 3, 5),
        d=normalised(3, 3),
        e=normalised(3, 3, dilation=2, padding=2),
        pool=nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    ),
    "without-norm": of(lambda n, x: n.a(x) + n.b(x), a=conv(3, 3), b=conv(3, 3, 1)),
    "across": of(
        lambda n, x: n.a(F.relu(x)) + n.b(F.relu(x)) + n.c(x) + n.d(x),
        a=normalised(3, 3, (1, 5), padding=(0, 2)),
        b=normalised(3, 3, (3, 1), padding=(1, 0), dilation=1),
        c=normalised(3, 3, (1, 3), padding=(0, 1)),
        d=normalised(3, 3, (3, 1), padding=(1, 0)),
    ),
    "one-weight-twice": of(lambda n, x: n.a(F.relu(n.a(x))) + n.a(x), a=normalised(3, 3)),
    "steps": of(
        lambda n, x: n.b(F.relu(n.a(x))) + n.c(x),
        width=7,
        a=normalised(3, 4, stride=2),
        b=normalised(4, 7, stride=(1, 2), padding=(1, 1)),
        c=normalised(3, 7, 2, stride=(2, 4), padding=0),
    ),
    "biases": of(lambda n, x: n.b(F.relu(n.a(x))), a=normalised(3, 3, bias=True), b=conv(3, 3)),
    "no-affine": of(
        lambda n, x: n.norm(n.a(x)), a=conv(3, 3), norm=nn.BatchNorm2d(3, affine=False)
    ),
    "twice-read": of(twice_read, a=conv(3, 3), norm=nn.BatchNorm2d(3)),
    "groups": of(lambda n, x: n.a(F.relu(x)), a=normalised(3, 3, groups=3)),
    "strings": of(lambda n, x: n.a(F.relu(x)), a=normalised(3, 3, padding="same")),
    "in-place": of(lambda n, x: F.relu(n.a(x).add_(x), inplace=True), a=normalised(3, 3)),
    "overwritten-twice": of(overwritten_twice, a=normalised(3, 3)),
    "computed-weights": of(computed_weights, a=normalised(3, 3)),
    "learned-map": of(
        learned_map, a=normalised(3, 3), b=normalised(3, 3), place=nn.Embedding(3, 256)
    ),
    "read-again": of(lambda n, x: (n.a(x), F.relu(x, inplace=True), x)[2], a=conv(3, 3)),
    "views": of(views, width=4, a=normalised(3, 4)),
    "pools": of(
        lambda n, x: n.pool(n.a(x)) + n.mean(x) + F.adaptive_avg_pool2d(x, (4, 4)),
        a=normalised(3, 3),
        pool=nn.AvgPool2d(5, 4, 2),
        mean=nn.Sequential(nn.AvgPool2d(2), nn.MaxPool2d(2)),
    ),
    "pools-of-more-channels": of(
        lambda n, x: n.pool(n.a(x)), width=9, a=normalised(3, 9), pool=nn.AvgPool2d(3, 1, 1)
    ),
    "odd-pools": of(
        lambda n, x: n.pool(x) + n.other(x) + F.adaptive_avg_pool2d(x, (None, 6))[:, :, :6],
        pool=nn.AvgPool2d(3, 3, ceil_mode=True),
        other=nn.AvgPool2d((1, 3), 3, (0, 1), divisor_override=5),
    ),
    "sums": of(lambda n, x: (n.a(x) + 1.0) / x.new_full((1,), 2.0) + n.a(x)[:, :1], a=conv(3, 3)),
    "constants": of(lambda n, x: n.a(x) + n.a(x).detach() * 0.5, a=conv(3, 3)),
    "few-numbers-left": of(lambda n, x: n.pool(n.a(x)), a=conv(3, 3), pool=nn.AvgPool2d(3, 14, 1)),
    "one-number-left": of(
        lambda n, x: F.adaptive_avg_pool2d(F.adaptive_avg_pool2d(n.a(x), 1), 1),
        width=1,
        a=conv(3, 1),
    ),
    "a-pointwise-one-alone": of(lambda n, x: n.a(F.relu(x)), a=normalised(3, 3, 1)),
    "numbers-and-pairs": of(
        lambda n, x: F.avg_pool2d(F.conv2d(x, n.a.weight, None, (1,), (1,)), (2,)), a=conv(3, 3)
    ),
    "divided-by-its-greatest": of(lambda n, x: n.a(x) / x.abs().max(), a=conv(3, 3)),
    "divided-by-zero-in-vain": of(lambda n, x: (n.a(x), x / 0)[0], a=conv(3, 3)),
    "a-mask-alone": of(lambda n, x: F.relu(n.a(F.relu(x) / 2)) / 3, a=normalised(3, 3)),
    "of-other-precision": of(lambda n, x: n.a(x) + (x.float() + x).double(), a=conv(3, 3)),
    "unreached": of(lambda n, x: n.a(x), a=conv(3, 3), b=conv(3, 3)),
}


def leaves_of(module: nn.Module) -> dict[str, Tensor]:
    return {
        name: value.detach().clone().requires_grad_("weight" in name)
        for name, value in module.named_parameters()
    }


def rows(module: nn.Module, inputs: Tensor, chunk: int) -> dict[str, Tensor | None]:
    leaves = leaves_of(module)
    with cheap_on_few_channels(), Tape(leaves.values()) as tape:
        logits = Net(module)(inputs, leaves)
    parts = zip(*Replay(tape.steps).rows_of(logits, tuple(leaves.values()), chunk), strict=True)
    return {
        name: None if part[0] is None else torch.cat(part)
        for name, part in zip(leaves, parts, strict=True)
    }


def by_autograd(module: nn.Module, inputs: Tensor) -> dict[str, Tensor | None]:
    leaves = leaves_of(module)
    summed = Net(module)(inputs, leaves).sum(1)
    wanted = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    found = [grad(one, wanted.values(), retain_graph=True, allow_unused=True) for one in summed]
    stacked = (None if part[0] is None else torch.stack(part) for part in zip(*found, strict=True))
    return dict(zip(wanted, stacked, strict=True))


def assert_same(module: nn.Module, inputs: Tensor, chunk: int) -> None:
    found, expected = rows(module, inputs, chunk), by_autograd(module, inputs)
    for name, part in expected.items():
        if part is None:
            assert found[name] is None
        else:
            scale = float(part.abs().max())
            torch.testing.assert_close(found[name], part, rtol=1e-9, atol=1e-10 * scale + 1e-14)


class TestTape:
    @pytest.mark.parametrize("name", BODIES)
    @pytest.mark.parametrize("over_rows", [False, True])
    def test_gives_what_autograd_gives(self, monkeypatch, name, over_rows):
        monkeypatch.setattr(windows, "runs_over_rows", lambda _: over_rows)
        assert_same(BODIES[name], batch().inputs, 5)

    @pytest.mark.parametrize("name", ["mixture", "pools", "pools-of-more-channels", "steps"])
    def test_in_single_precision(self, name):
        # Where convolutions run over rows by themselves, and poolings are convolutions.
        expected = by_autograd(BODIES[name], batch().inputs)
        found = rows(copy.deepcopy(BODIES[name]).float(), batch(torch.float32).inputs, 5)
        for leaf, part in expected.items():
            bound = 1e-5 * float(part.abs().max())
            torch.testing.assert_close(found[leaf].double(), part, rtol=1e-4, atol=bound)

    def test_of_maps_in_both_layouts_and_of_few_channels(self):
        inputs = batch(n=6, h=28, w=28).inputs  # narrow, see zeroshot.narrow
        for layout in (torch.contiguous_format, torch.channels_last):
            assert_same(BODIES["mixture"], inputs.to(memory_format=layout), 4)

    @pytest.mark.parametrize("chunk", [1, 3, 16])
    def test_rows_at_a_time_change_nothing(self, chunk):
        assert_same(BODIES["mixture"], batch().inputs, chunk)

    def test_of_supernets(self):
        darts = Darts().searched
        for net in (
            TINY.searched.network(TINY.prunable, TASK),
            darts.network(darts.prunable, TASK),
        ):
            net.module.double()
            assert_same(net.module, batch(n=4).inputs, 3)

    def test_prepares_once(self):
        net, shown = TINY.searched.network(TINY.prunable, TASK), batch(torch.float32)
        leaves = leaves_of(net.module)
        with Tape(leaves.values()) as tape:
            logits = net(shown.inputs, leaves)
        counts, replay = [], Replay(tape.steps)
        for _ in replay.rows_of(logits, tuple(leaves.values()), 8):
            counts.append(len(replay._sources))
        sources = 3 * 3 + 2 * 3 + 1  # of cells, reductions and the stem
        assert counts == [sources, sources]


class Doubled(Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


def overwrites_by_index(n: Any, x: Tensor) -> Tensor:
    y = n.a(x)
    y[:, 0] = 0.0
    return y


def overwrites_what_a_view_sees(n: Any, x: Tensor) -> Tensor:
    y = n.a(x)
    seen = y[:, :, 1:]
    F.relu(y, inplace=True)
    return seen


def written_by_parts(n: Any, x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, :2] = n.a(x)[:, :2]
    y[:, 2:] = F.relu(x)[:, 2:]
    return y


def added_to_zeros(n: Any, x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y += n.a(x)
    return F.gelu(y)


def overwrites_what_is_read_without_gradient(n: Any, x: Tensor) -> Tensor:
    y = n.a(x)
    seen = y.detach()
    F.relu(y, inplace=True)
    return y + seen


def turns_gradients(n: Any, x: Tensor) -> Tensor:
    y = n.a(x)
    y.register_hook(lambda gradient: -gradient)
    return F.gelu(y) + x


def goes_on_if_that_fails(n: Any, x: Tensor) -> Tensor:
    try:
        return Doubled.apply(n.a(x)) + x
    except Unseen:
        return x


UNSEEN = {
    "by parts": written_by_parts,
    "added to zeros": added_to_zeros,
    "read without gradient": overwrites_what_is_read_without_gradient,
    "turned gradients": turns_gradients,
    "complex numbers": lambda n, x: F.relu(torch.fft.irfft2(torch.fft.rfft2(n.a(x)))) + x,
    "mapped": lambda n, x: torch.vmap(lambda z: n.a(z[None])[0])(x),
    "differentiated": lambda n, x: grad(n.a(x).sin().sum(), x, create_graph=True)[0],
    "a function of its own": lambda n, x: Doubled.apply(n.a(x)),
    "an index": overwrites_by_index,
    "a view": overwrites_what_a_view_sees,
    "in place": lambda n, x: F.silu(n.a(x), inplace=True),
    "at random": lambda n, x: F.dropout(n.a(x), 0.5, training=True),
}


class Answering(nn.Module):
    """Answers what it makes of its logits, which it may overwrite."""

    def __init__(self, last: Any) -> None:
        super().__init__()
        self.last = last
        self.stem = normalised(3, 3)
        self.head = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(self.stem(x).square().mean((2, 3)))
        F.relu(y, inplace=True)
        return self.last(y)


def assert_falls_back(net: Net, shown: Any, name: str) -> None:
    assert TangentKernel()._taped(net, shown) is None
    if name == "at random":  # the same at random every time
        found = TangentKernel().run(net, shown)
        assert torch.equal(found, TangentKernel().run(net, shown))
    else:
        assert_right(net, shown)


def assert_right(net: Net, shown: Any) -> None:
    parts = by_autograd(net.module, shown.inputs)
    jacobian = torch.cat([p.flatten(1) for p in parts.values() if p is not None], dim=1)
    torch.testing.assert_close(TangentKernel().run(net, shown), jacobian @ jacobian.T)


class TestUnseen:
    @pytest.mark.parametrize("name", UNSEEN)
    def test_is_said_and_done_by_autograd(self, name):
        net, shown = Net(of(UNSEEN[name], a=conv(3, 3))), batch()
        with pytest.raises((Unseen, RuntimeError)):
            rows(net.module, shown.inputs, 4)
        assert_falls_back(net, shown, name)

    def test_also_if_the_network_goes_on(self):
        net = Net(of(goes_on_if_that_fails, a=conv(3, 3)))
        assert_falls_back(net, batch(), "")

    def test_of_what_is_answered(self):
        for last in (Doubled.apply, lambda y: y, lambda y: y * 2):
            module = networks.fill(Answering(last).double())
            assert_right(Net(module), batch())

    def test_under_autocast(self):
        class Cast(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = conv(3, 4)

            def forward(self, x):
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    y = F.relu(self.conv(x))
                return (x.mean() + y.float()).mean((2, 3))

        assert TangentKernel()._taped(Net(networks.fill(Cast())), batch(torch.float32)) is None


class TestWhenATapeIsTaken:
    def test_for_few_channels(self):
        for width, taped in ((16, True), (17, False)):
            net = Net(of(lambda n, x: n.a(x), width=width, a=conv(3, width)))
            assert (TangentKernel()._taped(net, batch()) is not None) == taped

    def test_not_without_convolutions(self):
        net = Net(networks.fill(nn.Sequential(nn.Flatten(), nn.Linear(768, 3))).double())
        assert TangentKernel()._taped(net, batch()) is None

    def test_not_if_it_would_keep_too_much(self, monkeypatch):
        net, shown = Net(BODIES["mixture"]), batch()
        expected = TangentKernel().run(net, shown)
        monkeypatch.setattr(tangent, "MEMORY", 1000)
        assert TangentKernel()._taped(net, shown) is None
        torch.testing.assert_close(TangentKernel().run(net, shown), expected)


class TestAConvolutionBackwards:
    @pytest.mark.parametrize(
        ("over_rows", "dtype"),
        [(False, torch.float64), (True, torch.float64), (True, torch.float32)],
    )
    @pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 3), (5, 4)])
    @pytest.mark.parametrize("stride", [(1, 1), (2, 2), (1, 3), (4, 2)])
    @pytest.mark.parametrize("padding", [(0, 0), (1, 2)])
    @pytest.mark.parametrize("dilation", [(1, 1), (2, 1), (2, 2)])
    @pytest.mark.parametrize("height", [12, 13])
    def test_is_its_transpose(
        self, monkeypatch, over_rows, size, stride, padding, dilation, height, dtype
    ):
        monkeypatch.setattr(windows, "runs_over_rows", lambda _: over_rows)
        maps = torch.randn(2, 3, height, 11, dtype=dtype, requires_grad=True)
        weight = torch.randn(4, 3, *size, dtype=dtype, requires_grad=True)
        output = F.conv2d(maps, weight, None, stride, padding, dilation)
        told = torch.randn(*output.shape, 5, dtype=dtype)
        expected = [grad(output, (maps, weight), row, retain_graph=True) for row in told.unbind(-1)]
        source = Source([((Convolution(maps, weight, stride, padding, dilation), None),)])
        with torch.no_grad():
            found = {id(tensor): rows.whole for tensor, rows in source.back([Gradient(told)])}
        for tensor, rows in zip((maps, weight), zip(*expected, strict=True), strict=True):
            exact = {"rtol": 1e-5, "atol": 1e-4} if dtype == torch.float32 else {}
            torch.testing.assert_close(found[id(tensor)], torch.stack(rows, dim=-1), **exact)

    @pytest.mark.parametrize("rows", [1, 5, 16])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("fused", [True, False])
    def test_convolutions_are_added(self, monkeypatch, rows, dtype, fused):
        if not fused:  # as where PyTorch has no oneDNN
            monkeypatch.setattr(strided, "_ADDING", None)
        lines = torch.randn(2, 4, 15, rows, dtype=dtype).permute(0, 3, 1, 2)
        kernel = torch.randn(rows, 1, 3, 9, dtype=dtype)
        planes = torch.randn(3, 2, 4, 5, rows, dtype=dtype)
        how = (1, 3), (1, 3), rows
        more = F.conv2d(lines, kernel, None, how[1], how[0], 1, rows).permute(0, 2, 3, 1)
        expected = [planes[0].clone(), planes[1] + more, planes[2].clone()]
        strided.add_convolution(planes[1], lines, kernel, *how)
        torch.testing.assert_close(planes, torch.stack(expected))
