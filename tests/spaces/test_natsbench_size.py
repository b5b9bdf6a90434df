import pytest
import torch
from torch import nn

from zeroshot.core import Net
from zeroshot.errors import ZeroshotError
from zeroshot.passes import census
from zeroshot.spaces.natsbench_size import NatsBenchSize
from zeroshot.spaces.space import Task

SPACE = NatsBenchSize()

# As the benchmark's own files and notebook state them for CIFAR-10: index, channels, parameters,
# millions of multiply-adds.
PUBLISHED = (
    (0, "8:8:8:8:8", 11_714, 4.481114),
    (11, "8:8:8:16:32", 49_202, 6.84065),
    (12, "8:8:8:16:40", 67_378, 7.991706),
    (284, "8:8:40:32:40", 144_834, 21.827994),
)
published = pytest.mark.parametrize(("index", "text", "params", "flops"), PUBLISHED)


class TestNotation:
    def test_size(self):
        assert SPACE.size == 8**5 == 32_768

    @published
    def test_the_benchmarks_order(self, index, text, params, flops):
        assert SPACE.spell(SPACE.at(index)) == text
        assert SPACE.index(SPACE.parse(text)) == index

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("64:64:64:64", "expected 5 numbers of channels, as in '64:64:64:64:64'"),
            ("64:64:64:64:64:", "expected 5 numbers"),
            ("64:64:x:64:64", "expected 5 numbers"),
            ("64:64:²:64:64", "expected 5 numbers"),
            ("64:64:64:64:12", "12 channels in cell 3: natsbench_size has 8, 16, 24"),
            ("064:64:64:64:64", "064 channels in stem and cell 1"),
            ("72:64:64:64:64", "72 channels in stem and cell 1"),
        ],
    )
    def test_a_malformed_string_says_what_was_expected(self, text, message):
        with pytest.raises(ZeroshotError, match=message) as error:
            SPACE.parse(text)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("divisor", [0, 3, 16])
    def test_refuses_divisors(self, divisor):
        with pytest.raises(ZeroshotError, match=f"divisor {divisor}: natsbench_size expects 1, 2"):
            NatsBenchSize(divisor=divisor)


class TestCost:
    @published
    def test_published(self, index, text, params, flops):
        cost = SPACE.cost(SPACE.at(index))
        assert cost.params == params
        assert cost.macs + 10 == round(1e6 * flops)  # the classifier's bias is counted there

    @pytest.mark.parametrize(
        ("classes", "params"), [(100, (12_524, 52_172, 148_524)), (120, (12_704, 52_832, 149_344))]
    )
    def test_the_other_data_sets_of_the_benchmark(self, classes, params):
        """CIFAR-100 and ImageNet16-120, of indices 0, 11 and 284."""
        task = Task(classes=classes)
        assert tuple(SPACE.cost(SPACE.at(i), task).params for i in (0, 11, 284)) == params

    def test_counted_at_another_size(self):
        arch, task = SPACE.parse("8:16:16:24:8"), Task(channels=1, size=12, classes=7)
        traced = census(Net(SPACE.build(arch, task)), torch.rand(1, 1, 12, 12))
        assert SPACE.cost(arch, task) == traced


class TestNetwork:
    def test_skeleton(self):
        module = SPACE.network(SPACE.parse("16:8:24:32:40")).module
        assert SPACE.blocks(module) == ("stem", *(f"body.{i}" for i in range(5)))
        x = module.stem(torch.rand(2, 3, 32, 32))
        shapes = [x.shape[1:]]
        for block in module.body:
            x = block(x)
            shapes.append(x.shape[1:])
        assert shapes == [(16, 32, 32)] * 2 + [(8, 16, 16), (24, 16, 16), (32, 8, 8), (40, 8, 8)]
        assert module(torch.rand(2, 3, 32, 32)).shape == (2, 10)

    def test_the_cell(self):
        """Five 3×3 convolutions; the skip changes channels, without ReLU, only where it must."""
        same, wider = SPACE.build(SPACE.parse("8:8:16:8:8"), Task()).double().body[:3:2]
        for cell, inward, outward in ((same, 8, 8), (wider, 8, 16)):
            edges = ("0->1", "0->2", "1->2", "0->3", "1->3", "2->3")
            assert tuple(cell.mixtures) == edges
            for edge in edges[:3] + edges[4:]:
                relu, conv, _ = cell.mixtures[edge]["nor_conv_3x3"]
                assert isinstance(relu, nn.ReLU)
                assert conv.weight.shape == (outward, inward if edge[0] == "0" else outward, 3, 3)
        assert isinstance(same.mixtures["0->3"]["skip_connect"], nn.Identity)
        conv, norm = wider.mixtures["0->3"]["skip_connect"]
        assert conv.weight.shape == (16, 8, 1, 1)
        assert isinstance(norm, nn.BatchNorm2d)

        x = torch.randn(3, 8, 4, 4, dtype=torch.float64)
        run = {edge: next(iter(wider.mixtures[edge].values())) for edge in wider.mixtures}
        one = run["0->1"](x)
        two = run["0->2"](x) + run["1->2"](one)
        three = run["0->3"](x) + run["1->3"](one) + run["2->3"](two)
        assert torch.allclose(wider(x), three, rtol=1e-12, atol=1e-12)

    def test_small_is_a_quarter_as_wide(self):
        arch = SPACE.parse("64:8:16:24:32")
        widths = [
            module.out_channels
            for name, module in SPACE.small.build(arch, Task()).named_modules()
            if name.endswith(("stem.0", "conv_a.1", "1->3.nor_conv_3x3.1"))
        ]
        assert widths == [16, 16, 2, 4, 6, 8]
