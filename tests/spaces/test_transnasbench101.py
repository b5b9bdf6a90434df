from collections import defaultdict
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from tests import networks
from zeroshot.core import Net
from zeroshot.errors import ZeroshotError
from zeroshot.passes import census
from zeroshot.spaces.cells import EDGES, function
from zeroshot.spaces.layers import FactorizedReduce
from zeroshot.spaces.space import Task
from zeroshot.spaces.transnasbench101 import OPS, TransNasBench101Macro, TransNasBench101Micro

MICRO, MACRO = TransNasBench101Micro(), TransNasBench101Macro()
TINY = TransNasBench101Micro(channels=2, cells=2)
TASK = Task(size=32, classes=5)

# Parameters of the authors' own modules (MacroNet with 47 classes) at commit 6d4231b of
# yawen-d/TransNASBench. Some of the cells have operations that do not reach the output.
PARAMETERS = (
    (MICRO, "64-41414-2_11_000", 902_479),
    (MICRO, "64-41414-0_31_201", 6_853_199),
    (MICRO, "64-41414-3_23_102", 15_556_943),
    (MICRO, "64-41414-0_32_033", 22_370_895),
    (MICRO, "64-41414-1_11_001", 391_247),
    (MICRO, "64-41414-2_32_330", 21_507_663),
    (MACRO, "64-33124-basic", 3_109_199),
    (MACRO, "64-233414-basic", 14_638_927),
    (MACRO, "64-122331-basic", 10_020_943),
    (MACRO, "64-31441-basic", 5_318_351),
    (MACRO, "64-1141-basic", 1_437_903),
    (MACRO, "64-2312-basic", 3_855_183),
)


@pytest.fixture(scope="module")
def classes():
    """The cells that compute the same, by their representative."""
    found = defaultdict(list)
    for arch in MICRO:
        found[MICRO.canonical(arch)].append(arch)
    return found


class TestNotation:
    def test_micro(self):
        """The example of the benchmark's README."""
        arch = MICRO.parse("64-41414-1_02_333")
        assert MICRO.size == 4**6 == 4_096
        assert dict(zip(EDGES, MICRO.names(arch), strict=True)) == {
            (0, 1): ("skip_connect",),
            (0, 2): ("none",),
            (1, 2): ("nor_conv_1x1",),
            (0, 3): ("nor_conv_3x3",),
            (1, 3): ("nor_conv_3x3",),
            (2, 3): ("nor_conv_3x3",),
        }

    def test_notation_of_naslib(self):
        arch = MICRO.parse("(1, 0, 2, 3, 3, 3)")
        assert MICRO.spell(arch) == "64-41414-1_02_333"
        assert MACRO.spell(MACRO.parse("(1, 2, 3, 4, 0, 0)")) == "64-1234-basic"
        for space, wrong in ((MICRO, "(1, 0, 2, 3, 3)"), (MACRO, "(1, 0, 2, 3, 4, 1)")):
            with pytest.raises(ZeroshotError, match="expected"):
                space.parse(wrong)

    def test_macro(self):
        """The published number, and the rules behind it, on strings."""
        expected = set()
        for length in (4, 5, 6):
            for modules in map("".join, product("1234", repeat=length)):
                halved = modules.count("3") + modules.count("4")
                doubled = modules.count("2") + modules.count("4")
                if 1 <= halved <= 4 and 1 <= doubled <= 3:
                    expected.add(f"64-{modules}-basic")
        assert len(expected) == MACRO.size == 3_256
        assert {MACRO.spell(arch) for arch in MACRO} == expected

    @pytest.mark.parametrize(
        ("space", "text", "message"),
        [
            (MICRO, "64-41414-1_02_334", "an operation from 0 \\(none\\) to 3 \\(nor_conv_3x3\\)"),
            (MICRO, "64-41414-1_02_33", "expected '64-41414-a_bc_def'"),
            (MICRO, "32-41414-1_02_333", "expected '64-41414-a_bc_def'"),
            (MICRO, "64-1234-basic", "as in '64-41414-1_02_333'"),
            (MACRO, "64-41414-1_02_333", "as in '64-1234-basic'"),
            (MACRO, "64-123-basic", "4 to 6 digits from 1 to 4"),
            (MACRO, "64-1234123-basic", "4 to 6 digits from 1 to 4"),
            (MACRO, "64-1250-basic", "4 to 6 digits from 1 to 4"),
            (MACRO, "64-2222-basic", "0 modules \\(3 or 4\\) halve the size; expected 1 to 4"),
            (MACRO, "64-333331-basic", "5 modules \\(3 or 4\\) halve the size"),
            (MACRO, "64-1333-basic", "0 modules \\(2 or 4\\) double the channels; expected 1 to 3"),
            (MACRO, "64-22243-basic", "4 modules \\(2 or 4\\) double the channels"),
        ],
    )
    def test_a_malformed_string_says_what_was_expected(self, space, text, message):
        with pytest.raises(ZeroshotError, match=message) as error:
            space.parse(text)
        assert space.name in str(error.value)
        assert "\n" not in str(error.value)

    def test_no_module_follows_a_missing_one(self):
        with pytest.raises(ZeroshotError, match="there is a sixth module but no fifth"):
            MACRO.arch(0, 1, 2, 3, 0, 1)

    @pytest.mark.parametrize("space", [TransNasBench101Micro, TransNasBench101Macro])
    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            ({"channels": 3}, "channels 3: .* needs an even number"),
            ({"channels": 0}, "channels 0: .* needs an even number"),
            ({"cells": 0}, "cells 0: .* needs at least 1"),
        ],
    )
    def test_refuses_shapes(self, space, shape, message):
        with pytest.raises(ZeroshotError, match=message):
            space(**shape)


class TestCost:
    @pytest.mark.parametrize(("space", "text", "params"), PARAMETERS)
    def test_parameters_of_the_authors_modules(self, space, text, params):
        assert space.cost(space.parse(text)).params == params

    @pytest.mark.parametrize(
        ("space", "text"), [(MICRO, "64-41414-1_32_012"), (MACRO, "64-432134-basic")]
    )
    def test_counted_at_an_odd_size(self, space, text):
        arch, task = space.parse(text), Task(channels=1, size=37, classes=7)
        traced = census(Net(space.build(arch, task)), torch.rand(1, 1, 37, 37))
        assert space.cost(arch, task) == traced

    def test_dead_operations_count(self):
        one, other = MICRO.parse("64-41414-0_00_100"), MICRO.parse("64-41414-0_03_100")
        assert MICRO.canonical(other) == one
        assert MICRO.cost(other).params > MICRO.cost(one).params


class TestCanonical:
    def test_counts(self, classes):
        assert len(classes) == 1_229
        assert sum(not MICRO.connected(arch) for arch in MICRO) == 169

    def test_cells_of_a_class_are_the_same_where_they_do_not_reduce(self, classes):
        for members in classes.values():
            assert len({function(arch.genes) for arch in members}) == 1

    def test_the_representative_is_the_smallest_and_has_no_dead_operation(self, classes):
        for representative, members in classes.items():
            assert representative == min(members)
            live = [e for e, gene in zip(EDGES, representative.genes, strict=True) if gene]
            fed, needed = {0}, {3}
            for source, target in live:
                fed |= {target} if source in fed else set()
            for source, target in reversed(live):
                needed |= {source} if target in needed else set()
            assert all(source in fed and target in needed for source, target in live)

    def test_members_compute_the_same_with_the_same_weights(self, classes):
        """Every operation of a kind gets the same weights, as far as their shapes are the same."""
        images = networks.batch(n=4, h=32, w=32)[0]

        def logits(arch):
            module = TINY.build(arch, TASK).double()
            with torch.no_grad():
                module.head[-1].bias.zero_()
                for p in module.parameters():
                    if p.ndim > 1:
                        p.copy_(torch.from_numpy(networks.wave(p.numel(), p.ndim)).view_as(p))
            return module(images).detach()

        many = sorted(c for c, members in classes.items() if len(members) > 1)
        compared = 0
        for representative in many[:: len(many) // 12]:
            expected = logits(representative)
            for arch in classes[representative][1::3][:3]:
                assert torch.allclose(logits(arch), expected, rtol=1e-9, atol=1e-9), arch
                compared += 1
        assert compared > 12


class TestNetwork:
    def test_micro_skeleton(self):
        module = TINY.build(TINY.parse("64-41414-3_00_021"), TASK)
        assert TINY.blocks(module) == ("stem", *(f"body.{i}" for i in range(10)))
        assert shapes(module) == [(2, 8), *[(4, 4)] * 4, *[(8, 2)] * 4, *[(16, 1)] * 2]

    def test_macro_skeleton(self):
        space = TransNasBench101Macro(channels=2)
        module = space.build(space.parse("64-1234-basic"), TASK)
        assert space.blocks(module) == ("stem", *(f"body.{i}" for i in range(8)))
        assert shapes(module) == [*[(2, 8)] * 3, *[(4, 8)] * 2, *[(4, 4)] * 2, *[(8, 2)] * 2]
        kinds = [type(block.downsample) for block in module.body]
        assert kinds == [nn.Identity] * 2 + [nn.Sequential, nn.Identity] * 3
        assert module.body[2].downsample[1].eps == 1.0  # as in the authors' code

    def test_a_reducing_cell(self):
        """Skips from the input change the map; others are skips."""
        cell = TINY.build(TINY.parse("64-41414-1_21_311"), TASK).double().body[0]
        run = {edge: next(iter(mixed.values())) for edge, mixed in cell.mixtures.items()}
        assert isinstance(run["0->1"], FactorizedReduce)
        assert isinstance(run["1->2"], nn.Identity)
        x = torch.randn(3, 2, 8, 8, dtype=torch.float64)
        one = run["0->1"](x)
        two = run["0->2"](x) + one
        assert one.shape == two.shape == (3, 4, 4, 4)
        assert torch.allclose(cell(x), run["0->3"](x) + one + two, rtol=1e-12, atol=1e-12)

    def test_disconnected(self):
        """Zero, of the right shape, in the graph."""
        arch = TINY.parse("64-41414-3_30_000")
        module = TINY.build(arch, TASK)
        inputs = torch.rand(4, 3, 32, 32)
        assert not TINY.connected(arch)
        assert not module.body(module.stem(inputs)).any()
        module(inputs).sum().backward()
        assert not module.stem[0].weight.grad.any()

    def test_a_supernet_is_the_mean_of_its_operations(self):
        cell = TINY.build(TINY.whole, TASK).double().body[0]
        inputs = torch.rand(3, 2, 8, 8, dtype=torch.float64)
        nodes = [inputs]
        for node in (1, 2, 3):
            total = 0
            for source in range(node):
                mixed = cell.mixtures[f"{source}->{node}"]
                total = total + sum(mixed[op](nodes[source]) for op in OPS[1:]) / len(OPS)
            nodes.append(total)
        assert torch.allclose(cell(inputs), nodes[3], rtol=1e-12, atol=1e-12)

    def test_a_network_of_a_supernet_has_its_weights(self):
        arch = TINY.sample(1, np.random.default_rng(0))[0]
        whole = TINY.network(TINY.prunable, TASK)
        part = TINY.network(arch, TASK, like=whole)
        held = dict(whole.module.named_parameters())
        assert all(torch.equal(p, held[name]) for name, p in part.module.named_parameters())

    def test_thin_is_one_cell_on_one_channel(self):
        thin = MICRO.thin(MICRO.parse("64-41414-1_02_333"), Task())
        assert thin(torch.rand(5, 1, 3, 3)).shape == (5, 10)
        convolutions = [m for m in thin.modules() if isinstance(m, nn.Conv2d)]
        assert [(c.in_channels, c.out_channels) for c in convolutions] == [(1, 1)] * 4


def shapes(module):
    """Channels and size behind the stem and every block."""
    x = module.stem(torch.rand(2, 3, 32, 32))
    found = [(x.shape[1], x.shape[2])]
    for block in module.body:
        x = block(x)
        found.append((x.shape[1], x.shape[2]))
    return found
