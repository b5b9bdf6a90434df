import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torchvision
from torch import nn

from zeroshot.core import Net
from zeroshot.errors import ZeroshotError
from zeroshot.passes import census
from zeroshot.spaces.mobilenet import (
    FBNET,
    MNASNET,
    MOBILENETV2,
    MOBILENETV3,
    PROXYLESSNAS,
    MobileNet,
    Stage,
)
from zeroshot.spaces.space import Task

SPACE = MobileNet()
B0 = "e1k3l1se1/e6k3l2se1/e6k5l2se1/e6k3l3se1/e6k5l3se1/e6k5l4se1/e6k3l1se1"
V2 = "e1k3l1se0/e6k3l2se0/e6k3l3se0/e6k3l4se0/e6k3l3se0/e6k3l3se0/e6k3l1se0"
V3 = (
    "e1k3l1se0/e4k3l1se0/e3k3l1se0/e3k5l1se1/e3k5l1se1/e3k5l1se1/e6k3l1se0/e2.5k3l1se0/"
    "e2.3k3l1se0/e2.3k3l1se0/e6k3l1se1/e6k3l1se1/e6k5l1se1/e6k5l1se1/e6k5l1se1"
)

# Rows of Accel-NASBench (columns e,k,l,se): params_M and macs_M, in ones.
ROWS = {
    "6 1 4 4 1 4 1,5 3 3 3 3 3 5,2 3 3 2 1 4 2,0 0 1 1 1 1 0": (3_355_776, 446_079_760),
    "1 6 4 4 4 1 4,3 3 5 3 5 3 5,2 1 1 2 1 4 3,1 0 0 0 1 1 1": (4_691_876, 249_915_712),
    "6 4 6 6 1 1 1,3 3 3 5 3 3 5,1 1 3 2 1 4 1,1 1 1 1 0 1 0": (2_213_576, 318_272_144),
    "6 6 6 1 4 1 6,3 3 3 5 3 3 3,2 3 3 3 2 4 3,0 0 0 0 1 1 0": (5_339_628, 601_534_192),
}


def blocks(*chosen):
    """The notation of blocks that are chosen one by one: kernel and expansion, or None to skip."""
    words = (f"e{c[1]}k{c[0]}l1se0" if c else "e3k3l0se0" for c in chosen)
    return "/".join(words)


class TestPublishedCounts:
    def test_efficientnet(self):
        assert SPACE.cost(SPACE.parse(B0)) == (5_288_548, 385_814_752, 82)

    @pytest.mark.parametrize(
        ("name", "width", "depth", "size"),
        [
            ("efficientnet_b0", 1.0, 1.0, 224),
            ("efficientnet_b1", 1.0, 1.1, 240),
            ("efficientnet_b2", 1.1, 1.2, 288),
            ("efficientnet_b3", 1.2, 1.4, 300),
            ("efficientnet_b4", 1.4, 1.8, 380),
            ("efficientnet_b7", 2.0, 3.1, 600),
        ],
    )
    def test_efficientnets_of_torchvision(self, name, width, depth, size):
        space = MobileNet(width=width, depth=depth, resolution=size)
        meta = torchvision.models.get_model_weights(name).__members__["IMAGENET1K_V1"].meta
        cost = space.cost(space.parse(B0))
        assert cost.params == meta["num_params"]
        assert cost.macs / 1e9 == pytest.approx(meta["_ops"], rel=0.01)

    @pytest.mark.parametrize(
        ("space", "text", "name"),
        [(MOBILENETV2, V2, "mobilenet_v2"), (MOBILENETV3, V3, "mobilenet_v3_large")],
        ids=["mobilenet_v2", "mobilenet_v3_large"],
    )
    def test_mobilenets_of_torchvision(self, space, text, name):
        arch = space.parse(text)
        meta = torchvision.models.get_model_weights(name).DEFAULT.meta
        cost = space.cost(arch)
        assert cost.params == meta["num_params"]
        assert cost.macs / 1e9 == pytest.approx(meta["_ops"], abs=6e-4)

    def test_mobilenetv2_of_the_paper(self):
        cost = MOBILENETV2.cost(MOBILENETV2.parse(V2))  # Table 4 of arXiv:1801.04381
        assert (round(cost.params / 1e6, 1), round(cost.macs, -7)) == (3.5, 300_000_000)

    def test_proxyless(self):
        text = blocks(
            *((3, 1), (5, 3), (3, 3), None, None, (7, 3), (3, 3), (5, 3), (5, 3), (7, 6), (5, 3)),
            *((5, 3), (5, 3), (5, 6), (5, 3), (5, 3), (5, 3), (7, 6), (7, 6), (7, 3), (7, 3)),
            (7, 6),
        )
        cost = PROXYLESSNAS.cost(PROXYLESSNAS.parse(text))  # the authors' network for phones
        assert cost.params == 4_080_512
        assert round(cost.macs, -6) == 320_000_000

    def test_fbnet(self):
        text = blocks(
            *((3, 1), (3, 6), None, (3, 1), (3, 1), (5, 6), (5, 3), (5, 6), (3, 6), (5, 6)),
            *((5, 3), (5, 6), (5, 6), (5, 6), (5, 6), (5, 6), (5, 3), *((5, 6),) * 4, (3, 6)),
        )
        cost = FBNET.cost(FBNET.parse(text))  # FBNet-C, 5.5 M and 375 M in arXiv:1812.03443
        # timm's count, less the 1×1 convolutions of the three blocks that do not expand
        assert cost.params == 5_572_200 - (16**2 + 2 * 16) - 2 * (24**2 + 2 * 24)
        assert cost.macs == pytest.approx(375e6, rel=0.01)


@pytest.mark.parametrize("row", ROWS)
def test_accel_nasbench(row):
    """Its multiply-adds count normalisation and averages as well."""
    arch, (params, macs) = SPACE.parse(row), ROWS[row]
    extra = 0

    def count(module, inputs, output):
        nonlocal extra
        if isinstance(module, nn.BatchNorm2d):
            extra += 4 * output.numel()
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            extra += inputs[0].numel() + output.numel()

    with torch.device("meta"):
        network = SPACE.build(arch, SPACE.task).eval()
        for module in network.modules():
            module.register_forward_hook(count)
        network(torch.empty(1, 3, 224, 224))
    cost = SPACE.cost(arch)
    assert cost.params == params
    assert cost.macs + extra == macs


class TestCost:
    @pytest.mark.parametrize(
        ("space", "size"),
        [
            (replace(MOBILENETV3, width=0.35, resolution=40), 40),
            (replace(PROXYLESSNAS, width=0.5, resolution=33), 33),
            (MobileNet(width=1.3, depth=0.4, resolution=50, head=(64, 24, 16)), 50),
        ],
        ids=["v3", "proxyless", "fields"],
    )
    def test_is_what_a_trace_counts(self, space, size):
        arch = space.at(space.size * 2 // 3)
        task = Task(channels=1, size=size, classes=7)
        with torch.device("meta"):
            module = space.build(arch, task)
        assert space.cost(arch, task) == census(
            Net(module), torch.empty(1, 1, size, size).to("meta")
        )

    def test_is_the_resolutions_whatever_the_images_size(self):
        arch = SPACE.parse(B0)
        costs = {SPACE.cost(arch, Task(size=size, classes=1000)) for size in (32, 64, 224)}
        assert costs == {SPACE.cost(arch)}
        assert SPACE.network(arch).cost() == SPACE.cost(arch)
        assert MobileNet(images=32).cost(arch) == SPACE.cost(arch)
        assert MobileNet(resolution=112).cost(arch).macs < SPACE.cost(arch).macs / 3.5


class TestScaling:
    def test_fields(self):
        scaled = SPACE.scaled(2)
        assert (scaled.width, scaled.depth) == pytest.approx((1.21, 1.44))
        assert scaled.resolution == round(224 * 1.3225) == 296
        assert SPACE.scaled(0) == SPACE
        again = MobileNet(width=2.0, depth=0.5, resolution=100).scaled(1)
        assert (again.width, again.depth, again.resolution) == pytest.approx((2.2, 0.6, 115))

    def test_doubles_the_multiply_adds(self):
        # α · β² · γ² = 1.92 in arXiv:1905.11946; blocks and channels are rounded up
        macs = [SPACE.scaled(phi).cost(SPACE.parse(B0)).macs for phi in range(5)]
        assert all(1.6 < after / before < 2.8 for before, after in pairwise(macs))
        assert macs[4] / macs[0] == pytest.approx(1.92**4, rel=0.25)

    def test_small(self):
        """Narrower networks, which cost what the full ones do."""
        small, arch = SPACE.small, SPACE.parse(B0)
        assert small.cost(arch) == SPACE.cost(arch) == small.network(arch).cost()
        narrow = MobileNet(width=0.25).cost(arch).params
        assert sum(p.numel() for p in small.network(arch).module.parameters()) == narrow
        assert small.small.narrow == 1 / 16

    @pytest.mark.parametrize("width", [0.1, 0.35, 1.0, 1.37])
    def test_channels_are_multiples_of_eight(self, width):
        module = MobileNet(width=width).network(SPACE.parse(B0)).module
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.num_features % 8 == 0
        assert module.stem[0].out_channels >= 0.9 * 32 * width


class TestNotation:
    def test_columns_of_the_table(self):
        row = "1 6 6 6 6 6 6,3 3 5 3 5 5 3,1 2 2 3 3 4 1,1 1 1 1 1 1 1"
        assert SPACE.spell(SPACE.parse(row)) == B0
        assert SPACE.parse(row.replace(",", " , ")) == SPACE.parse(B0)

    def test_size(self):
        assert SPACE.size == (3 * 2 * 3 * 2) ** 6 * (3 * 2 * 4 * 2)
        assert MOBILENETV2.size == (2 * 3 * 4) ** 6

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("e6k3l2se1", "expected 7 stages such as e6k3l2se1, with / between"),
            (B0.replace("se", "s"), "expected 7 stages"),
            (B0 + "/", "expected 7 stages"),
            (B0.replace("e1", "e2", 1), "stage 1 expansion 1 or 4 or 6, found '2'"),
            (B0.replace("k5", "k7", 1), "stage 3 kernel 3 or 5, found '7'"),
            (B0.replace("l4", "l5"), "stage 6 layers 1 or 2 or 3 or 4, found '5'"),
            (B0.replace("e6", "e6.0"), "stage 2 expansion 1 or 4 or 6, found '6.0'"),
            ("1 6,3 3,1 2,1 1", "expected 7 numbers, one for each stage"),
            ("1 2 3 4 5 6 7,,,", "expected 7 numbers, one for each stage"),
            ("9 6 6 6 6 6 6,3 3 5 3 5 5 3,1 2 2 3 3 4 1,1 1 1 1 1 1 1", "found '9'"),
            ("x" * 500, "x…' is no mobilenet architecture"),
        ],
    )
    def test_refuses(self, text, words):
        with pytest.raises(ZeroshotError, match="is no mobilenet architecture") as error:
            SPACE.parse(text)
        assert words in str(error.value)
        assert len(str(error.value)) < 250


class TestCanonical:
    def test_absent_blocks_have_no_choices(self):
        texts = ["e1k3l1se0", *["e6k7l1se0"] * 20, "e6k5l1se0"]
        texts[2] = "e6k5l0se0"
        other = [*texts]
        other[2] = "e3k3l0se0"
        one, two = (PROXYLESSNAS.parse("/".join(words)) for words in (texts, other))
        assert one != two
        assert PROXYLESSNAS.canonical(one) == PROXYLESSNAS.canonical(two) == two
        assert PROXYLESSNAS.cost(one) == PROXYLESSNAS.cost(two)

    def test_depths_that_are_rounded_to_the_same(self):
        half = MobileNet(depth=0.5)
        one, two, three = (half.parse(B0.replace("l4", f"l{n}")) for n in (1, 2, 3))
        assert half.canonical(two) == half.canonical(one) != half.canonical(three)
        assert half.cost(two) == half.cost(one) != half.cost(three)

    def test_elsewhere_every_point_is_a_network_of_its_own(self):
        assert all(SPACE.canonical(SPACE.at(i)) == SPACE.at(i) for i in range(0, SPACE.size, 10**9))


class TestNetwork:
    @pytest.mark.parametrize(
        ("space", "text", "name"),
        [
            (SPACE, B0, "efficientnet_b0"),
            (MOBILENETV2, V2, "mobilenet_v2"),
            (MOBILENETV3, V3, "mobilenet_v3_large"),
        ],
        ids=["efficientnet_b0", "mobilenet_v2", "mobilenet_v3_large"],
    )
    def test_computes_what_torchvision_does(self, space, text, name):
        theirs = torchvision.models.get_model(name, num_classes=5).eval()
        ours = space.network(space.parse(text), Task(classes=5)).module.eval()
        pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        with torch.no_grad():
            for own, other in pairs:
                own.copy_(other)
        for norm in theirs.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.eps = 1e-5  # theirs differs here and there
        images = 3 * torch.randn(2, 3, 48, 48)
        with torch.no_grad():
            found, expected = ours(images), theirs(images)
        assert expected.std() > 0
        assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.std()))

    def test_blocks_are_the_inverted_residuals(self):
        net = SPACE.network(SPACE.parse(B0))
        assert len(net.blocks) == 1 + 2 + 2 + 3 + 3 + 4 + 1
        assert net.blocks[0] == "body.0"

    def test_no_activation_overwrites_its_input(self):
        for space, text in ((SPACE, B0), (MOBILENETV2, V2), (MOBILENETV3, V3)):
            modules = space.network(space.parse(text)).module.modules()
            assert not any(getattr(module, "inplace", False) for module in modules)

    def test_shortcuts(self):
        """Silencing the last scale of a block leaves its input exactly where shapes agree."""
        net = SPACE.network(SPACE.parse(B0), Task(size=32, classes=3))
        for block in net.module.body:
            nn.init.zeros_(block.layers[-1].weight)
            inputs = torch.rand(2, block.layers[0].in_channels, 8, 8)
            outputs = block(inputs)
            if outputs.shape == inputs.shape:
                assert torch.equal(outputs, inputs)
            else:
                assert not outputs.any()

    def test_squeeze_excite_scales_channels(self):
        plain, gated = (
            SPACE.network(SPACE.parse(B0.replace("se1", f"se{gate}")), Task(size=32)).module.body[3]
            for gate in (0, 1)
        )
        gate = gated.layers[6]
        inputs = torch.rand(2, gate.gate[1].in_channels, 5, 5)
        ratio = gate(inputs) / inputs
        assert torch.allclose(ratio, ratio[:, :, :1, :1].expand_as(ratio), atol=1e-6)
        assert bool(((ratio > 0) & (ratio < 1)).all())
        assert len(gated.layers) == len(plain.layers) + 1

    def test_depthwise_kernels(self):
        module = SPACE.network(SPACE.parse(B0)).module
        kernels = [m.kernel_size[0] for m in module.body.modules() if getattr(m, "groups", 1) > 1]
        assert kernels == [3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"width": 0.0}, "width 0.0: mobilenet needs a positive number"),
        ({"depth": -1.0}, "depth -1.0"),
        ({"images": 0}, "images 0"),
        ({"stages": ()}, "at least one stage"),
        ({"head": ()}, "one width of the head"),
        ({"activation": "gelu"}, "activation 'gelu' of mobilenet: expected relu, relu6, silu"),
        ({"stages": (Stage(16, 1, activation="tanh"),)}, "activation 'tanh'"),
        (
            {"stages": (Stage(16, 3),)},
            "stage 1 of mobilenet needs options of every kind and stride",
        ),
        (
            {"stages": (Stage(16, 1, kernels=()),)},
            "stage 1 of mobilenet needs options of every kind",
        ),
        ({"stages": (Stage(16, 1, kernels=(3, 4)),)}, "kernels (3, 4); expected odd numbers"),
        (
            {"stages": (*MNASNET[:1], Stage(24, 1, layers=(0, 1)))},
            "stage 2 of mobilenet cannot have 0 layers: it changes the map from 16 channels to 24",
        ),
        (
            {"stem": 16, "stages": (Stage(16, 2, layers=(0, 1)),)},
            "cannot have 0 layers: it changes the map from 16 channels to 16 with stride 2",
        ),
    ],
)
def test_refuses_shapes(options, words):
    with pytest.raises(ZeroshotError, match="mobilenet") as error:
        MobileNet(**options)
    assert words in str(error.value)


def test_without_any_block():
    space = MobileNet(stem=16, stages=(Stage(16, 1, layers=(0, 1)),), head=(24,))
    arch, task = space.arch(0, 0, 0, 0), Task(size=16, classes=3)
    net = space.network(arch, task)
    assert net.blocks == ()
    assert net(torch.rand(2, 3, 16, 16)).shape == (2, 3)
    assert space.cost(arch, task).params == sum(p.numel() for p in net.module.parameters())


def test_skipping_all_that_can_be_skipped():
    space = replace(PROXYLESSNAS, width=0.25)
    shortest = space.arch(*(0,) * len(space.axes))
    net = space.network(shortest, Task(size=32, classes=3))
    assert len(net.blocks) == 7
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, 3)
    assert math.isfinite(float(net(torch.rand(2, 3, 32, 32)).sum()))
