from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from zeroshot.core import Batch
from zeroshot.errors import ZeroshotError
from zeroshot.proxies import PROXIES
from zeroshot.scoring import evaluate
from zeroshot.spaces import CHAIN, Chain, Task

TINY = Chain(layers=4, widths=(4, 8), dense=(6, 8))
TASK = Task(channels=2, size=13, classes=5)
VGG11 = (
    "C(64,3,1) P(3,2) C(128,3,1) P(3,2) C(256,3,1) C(256,3,1) P(3,2) C(512,3,1) C(512,3,1) P(3,2) "
    "C(512,3,1) C(512,3,1) P(3,2) GAP"
)
SKIPPED = "C(4,3,1) C(8,3,2) C(4,5,1)+2 P(3,2)+3 GAP FC(8)"


class TestNotation:
    def test_of_metaqnn(self):
        arch = TINY.parse("C(8,3,1) P(3,2) C(4,5,1)+2 GAP FC(6)")
        assert TINY.names(arch)[:4] == (("conv3x3",), ("1",), ("8",), ("none",))
        assert TINY.names(arch)[8:12] == (("conv5x5",), ("1",), ("4",), ("2",))
        assert TINY.names(arch)[12:] == (("none",), ("1",), ("4",), ("none",), ("6",), ("none",))
        assert TINY.spell(arch) == "C(8,3,1) P(3,2) C(4,5,1)+2 GAP FC(6)"
        assert TINY.parse("C(8,3,1), P(3,2),C(4,5,1)+2,  GAP, FC(6)") == arch

    def test_without_layers(self):
        nothing = TINY.parse("GAP")
        assert TINY.spell(nothing) == "GAP"
        assert nothing.genes == (0,) * len(TINY.axes)
        assert TINY.cost(nothing, TASK) == (2 * 5 + 5, 2 * 5, 1)

    def test_what_is_not_canonical_is_spelled_by_options(self):
        idle = TINY.arch(0, 1, *(0,) * 16)
        assert TINY.spell(idle) == ".".join(map(str, idle.genes))
        assert TINY.spell(TINY.canonical(idle)) == "GAP"

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("C(4,3,1)", "layers, GAP, dense layers"),
            ("GAP GAP", "layers, GAP, dense layers"),
            ("C(5,3,1) GAP", "layer 1 width 4 or 8, found 5"),
            ("C(4,3,1) C(4,2,1) GAP", "layer 2 operation none or conv1x1"),
            ("C(4,3,3) GAP", "layer 1 stride 1 or 2, found 3"),
            ("C(4,3,1)+4 GAP", "layer 1 skip none or 2 or 3, found 4"),
            ("P(4,3,1) GAP", "C(width,kernel,stride) or P(kernel,stride), found 'P(4,3,1)'"),
            ("P(3,1) " * 5 + "GAP", "at most 4 layers and 2 dense layers"),
            ("GAP FC(6) FC(6) FC(6)", "at most 4 layers and 2 dense layers"),
            ("GAP FC(7)", "dense layer 1 none or 6 or 8, found 7"),
            ("GAP SM(10)", "dense layer 1 none or 6 or 8, found SM(10)"),
            ("GAP C(4,3,1)", "found C(4,3,1)"),
        ],
    )
    def test_refuses(self, text, words):
        with pytest.raises(ZeroshotError, match="no chain architecture") as error:
            TINY.parse(text)
        assert words in str(error.value)
        assert "\n" not in str(error.value)


class TestCanonical:
    def test_absent_layers_may_be_anywhere(self):
        layers = [(2, 0, 1, 0), (5, 1, 0, 0), (3, 1, 1, 1)]
        expected = TINY.parse("C(8,3,1) P(3,2) C(8,5,2)+2 GAP FC(6)")
        for place in range(4):
            for idle in ((0, 0, 0, 0), (0, 1, 1, 2)):
                genes = [*layers[:place], idle, *layers[place:]]
                for dense in ((1, 0), (0, 1)):
                    arch = TINY.arch(*(gene for layer in genes for gene in layer), *dense)
                    assert TINY.canonical(arch) == expected

    def test_poolings_have_no_width_and_skips_no_source_beyond_the_image(self):
        first, second, third = (2, 0, 0), (5, 0, 1), (2, 0, 0)
        arch = TINY.arch(*first, 1, *second, 2, *third, 2, 0, 0, 0, 0, 0, 0)
        assert TINY.spell(TINY.canonical(arch)) == "C(4,3,1) P(3,1) C(4,3,1)+3 GAP"
        second = TINY.parse("C(4,3,1) P(3,1)+2 GAP")
        assert TINY.canonical(second) == second

    def test_classes_are_what_the_notation_tells_apart(self):
        """Every canonical chain of up to two layers, counted by hand: 4 · 2 + 2 · 2 a layer."""
        space = replace(TINY, layers=2, widths=(4,), dense_layers=0)
        one = 4 * 2 + 2 * 2
        assert len({space.canonical(arch) for arch in space}) == 1 + one + one * 2 * one


class TestCost:
    def test_of_vgg(self):
        """The convolutions of torchvision's VGG-11, which have biases that mean nothing."""
        space = Chain(layers=13, widths=(64, 128, 256, 512))
        with torch.device("meta"):
            features = torchvision.models.vgg11_bn(weights=None).features
        biases = sum(p.numel() for n, p in features.named_parameters() if n.endswith("bias"))
        norms = sum(m.num_features for m in features if isinstance(m, nn.BatchNorm2d))
        expected = sum(p.numel() for p in features.parameters()) - (biases - norms)
        assert space.cost(space.parse(VGG11)).params == expected + 512 * 10 + 10

    def test_by_hand(self):
        cost = TINY.cost(TINY.parse(SKIPPED), TASK)
        first, second = 9 * 2 * 4, 9 * 4 * 8
        third, dense, last = 25 * (8 + 4) * 4, (4 + 4) * 8, 8 * 5
        assert cost.params == first + second + third + dense + last + 2 * (4 + 8 + 4) + 8 + 5
        assert cost.macs == first * 13**2 + (second + third) * 7**2 + dense + last
        assert cost.tensors == 5

    def test_small(self):
        """Narrower networks, which cost what the full ones do."""
        arch = CHAIN.sample(1, np.random.default_rng(0))[0]
        small = CHAIN.small
        assert small.cost(arch) == CHAIN.cost(arch) == small.network(arch).cost()
        built = [
            sum(p.numel() for p in space.network(arch).module.parameters())
            for space in (small, CHAIN)
        ]
        assert built[0] < built[1] / 20


class TestNetwork:
    def test_computes_what_the_notation_says(self):
        module = TINY.network(TINY.parse(SKIPPED), TASK).module.eval()
        weights = module.state_dict()
        image = torch.rand(3, 2, 13, 13)

        def conv(inputs, layer, stride):
            kernel = weights[f"body.{layer}.0.weight"]
            found = F.conv2d(inputs, kernel, stride=stride, padding=kernel.shape[-1] // 2)
            return F.relu(found / (1 + 1e-5) ** 0.5)  # batch norm as it begins

        one = conv(image, 0, 1)
        two = conv(one, 1, 2)
        three = conv(torch.cat([two, one[:, :, ::2, ::2]], 1), 2, 1)
        pooled = F.max_pool2d(torch.cat([three, one[:, :, ::2, ::2]], 1), 3, 2, 1).mean((2, 3))
        dense = F.relu(F.linear(pooled, weights["head.2.weight"], weights["head.2.bias"]))
        expected = F.linear(dense, weights["head.4.weight"], weights["head.4.bias"])
        torch.testing.assert_close(module(image), expected)

    @pytest.mark.parametrize("size", [1, 7, 16])
    def test_images_of_any_size(self, size):
        for arch in TINY.sample(10, np.random.default_rng(size)):
            net = TINY.network(arch, replace(TASK, size=size))
            assert net(torch.rand(2, 2, size, size)).shape == (2, 5)
            assert len(net.blocks) == sum(gene != 0 for gene in arch.genes[:16:4])

    def test_proxies_of_the_default_ensemble_are_defined(self):
        generator = torch.Generator().manual_seed(0)
        shown = Batch(torch.randn(8, 2, 13, 13, generator=generator), torch.arange(8) % 5)
        wanted = ("flops", "az_expressivity", "az_progressivity", "az_trainability", "naswot")
        proxies = tuple(proxy for proxy in PROXIES if proxy.name in wanted)
        scores = evaluate(TINY.network(TINY.parse(SKIPPED), TASK), shown, proxies)
        assert len(scores) == len(wanted)
        assert not scores.reasons


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": 0}, "layers 0: chain needs at least 1"),
        ({"dense_layers": -1}, "dense_layers -1: chain needs at least 0"),
        ({"widths": ()}, "widths (): chain needs different positive numbers to choose from"),
        ({"dense": (8, 8)}, "dense (8, 8)"),
        ({"narrow": 0.0}, "narrow 0.0: chain needs a positive number"),
    ],
)
def test_refuses_shapes(options, words):
    with pytest.raises(ZeroshotError) as error:
        Chain(**options)
    assert words in str(error.value)
