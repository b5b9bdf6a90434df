import itertools
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from zeroshot.core import Net
from zeroshot.errors import ZeroshotError
from zeroshot.spaces.darts import EDGES, GROUPS, NODES, OPS, Darts
from zeroshot.spaces.space import Arch, Space, Task

SPACE = Darts()
SMALL = Darts(channels=2, layers=3, stem_multiplier=1)
TASK = Task(size=8, classes=5)
PUBLISHED = {  # as the authors' code has them
    "DARTS_V1": "Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('skip_connect', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], reduce_concat=[2, 3, 4, 5])",
    "DARTS_V2": "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])",
}
V2 = SPACE.parse(PUBLISHED["DARTS_V2"])
WRITTEN = (  # V2, the inputs of each node in order
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 1), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('max_pool_3x3', 1), ('skip_connect', 2)], reduce_concat=range(2, 6))"
)

CELL = (
    "[('skip_connect', 0), ('max_pool_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_5x5', 2), "
    "('dil_conv_3x3', 1), ('dil_conv_5x5', 3), ('avg_pool_3x3', 0), ('skip_connect', 4)]"
)
TWICE = SPACE.parse(f"{CELL}, {CELL}")


def rng(seed=0):
    return np.random.default_rng(seed)


def some(count=20):
    return SPACE.sample(count, rng())


def pairs(arch):
    """Each node's (operation, input) pairs, normal 2 to reduce 5."""
    return pairs_in(SPACE.spell(arch))


def pairs_in(genotype):
    """The same, from a genotype's text."""
    found = re.findall(r"\('(\w+)', (\d)\)", genotype)
    entries = [(op, int(source)) for op, source in found]
    return [frozenset(entries[i : i + 2]) for i in range(0, 16, 2)]


def is_genotype(arch):
    groups = [[arch.genes[axis] for axis in group] for group in GROUPS]
    return all(sum(gene > 0 for gene in group) == 2 for group in groups)


class TestNotation:
    @pytest.mark.parametrize("name", PUBLISHED)
    def test_published(self, name):
        arch = SPACE.parse(PUBLISHED[name])
        assert SPACE.parse(SPACE.spell(arch)) == arch
        assert pairs(arch) == pairs_in(PUBLISHED[name])

    def test_written_as_the_authors_code_prints(self):
        assert SPACE.spell(V2) == WRITTEN
        assert SPACE.spell(SPACE.parse(WRITTEN)) == WRITTEN

    def test_random_ones(self):
        for arch in some(100):
            assert SPACE.parse(SPACE.spell(arch)) == arch
            assert SPACE.at(SPACE.index(arch)) == arch

    def test_compact(self):
        """What BANANAS and NASLib write: (input, operation), without 'none' among operations."""
        arch = SPACE.at(10**17)
        assert SPACE.parse(str(SPACE.compact(arch))) == arch
        cell = "((0, 2), (1, 0), (0, 3), (2, 4), (1, 5), (3, 6), (0, 1), (4, 2))"
        assert SPACE.parse(f"({cell}, {cell})") == TWICE

    def test_configurations_of_nas_bench_301(self):
        """Edges are numbered 0 and 1 into node 2, 2 to 4 into node 3, 5 to 8, and 9 to 13."""
        config = SPACE.config(TWICE)
        assert len(config) == 22
        normal = {key.split(":")[2]: value for key, value in config.items() if "normal" in key}
        assert normal == {
            "edge_normal_0": "skip_connect",
            "edge_normal_1": "max_pool_3x3",
            "edge_normal_2": "sep_conv_3x3",
            "edge_normal_4": "sep_conv_5x5",
            "edge_normal_6": "dil_conv_3x3",
            "edge_normal_8": "dil_conv_5x5",
            "edge_normal_9": "avg_pool_3x3",
            "edge_normal_13": "skip_connect",
            "inputs_node_normal_3": "0_2",
            "inputs_node_normal_4": "1_3",
            "inputs_node_normal_5": "0_4",
        }
        assert SPACE.parse(json.dumps({**config, "OptimizerSelector:optimizer": "sgd"})) == TWICE

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("skip_connect", "skip", "expected one of max_pool"),
            ('"0_2"', '"1_2"', "expected 0 among them"),
            ("edge_normal_0", "edge_normal_14", "1 operations lead to node 2"),
            ("{", "{{", "expected the JSON"),
        ],
    )
    def test_damaged_configurations(self, old, new, message):
        text = json.dumps(SPACE.config(TWICE))
        with pytest.raises(ZeroshotError, match=message):
            SPACE.parse(text.replace(old, new))

    def test_two_lists(self):
        normal = WRITTEN[WRITTEN.index("[") : WRITTEN.index("]") + 1]
        reduce = WRITTEN[WRITTEN.index("reduce=[") + 7 : WRITTEN.rindex("]") + 1]
        assert SPACE.parse(f"{normal}, {reduce}") == V2
        assert SPACE.parse(f"({normal},\n {reduce})") == V2
        assert SPACE.parse(f"Genotype(reduce={reduce}, normal={normal})") == V2

    @pytest.mark.parametrize(
        ("old", "new", "found", "expected"),
        [
            ("Genotype", "genotype", "genotype(", "'Genotype(normal=["),
            ("])", "]", "normal=", "'Genotype(normal=["),
            ("normal=", "norm=", "the arguments norm, ", "normal and reduce, each once"),
            ("normal_concat", "reduce", "the arguments normal, reduce, ", "each once"),
            ("reduce_concat=[2", "reduce_concat=[1", "reduce_concat=[1, 3, 4, 5]", "range(2, 6)"),
            ("concat=[2, 3, 4, 5], r", "concat=range(9**9), r", "range(9 ** 9)", "range(2, 6)"),
            ("normal=[('sep_conv_3x3', 0), ", "normal=[", "normal=[('sep", "a list of 8 (operat"),
            ("('dil_conv_3x3', 2)]", "*x]", "normal=", "a list of (operation, input)"),
            ("'dil_conv_3x3'", "print('hello')", "normal=", "a list of (operation, input)"),
            ("('dil_conv_3x3', 2)", "'dil_conv_3x3'", "normal[7]='dil", "(operation, input)"),
            ("'dil_conv_3x3'", "'sep_conv_7x7'", "normal[7]=('sep_conv_7x7', 2)", "one of max_poo"),
            ("'dil_conv_3x3'", "'none'", "normal[7]=('none', 2)", "one of max_pool_3x3, avg_pool"),
            ("('dil_conv_3x3', 2)", "('dil_conv_3x3', 5)", "normal[7]=", "0 to 4, as it is one of"),
            ("('skip_connect', 2)]", "('skip_connect', -1)]", "reduce[7]=", "from 0 to 4"),
            ("('dil_conv_3x3', 2)", "('dil_conv_3x3', True)", "normal[7]=", "from 0 to 4"),
            (
                "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1)",
                "reduce=[('max_pool_3x3', 0), ('skip_connect', 2)",
                "reduce[1]=('skip_connect', 2)",
                "an input from 0 to 1, as it is one of node 2",
            ),
            (
                "('dil_conv_3x3', 2)",
                "('dil_conv_3x3', 0)",
                "normal[7]=('dil_conv_3x3', 0)",
                "another input of node 5 than 0, which it has already",
            ),
        ],
    )
    def test_a_malformed_genotype_names_the_place(self, old, new, found, expected):
        text = PUBLISHED["DARTS_V2"].replace("('max_pool_3x3', 1)]", "('skip_connect', 2)]")
        text = PUBLISHED["DARTS_V2"] if old in PUBLISHED["DARTS_V2"] else text
        assert old in text
        with pytest.raises(ZeroshotError) as error:
            SPACE.parse(text.replace(old, new, 1))
        line = str(error.value)
        assert found in line.split(" is no darts architecture")[0]
        assert expected in line.split(": expected ")[1]
        assert "\n" not in line

    @pytest.mark.parametrize(
        "text",
        ["[], []", "[1], 2", "Genotype()", "Genotype(**x)", "(" * 500, "\0", "a\nb", "1" * 99],
    )
    def test_nonsense(self, text):
        with pytest.raises(ZeroshotError, match="darts") as error:
            SPACE.parse(text)
        assert "\n" not in str(error.value)

    def test_every_truncation_is_refused(self):
        for end in range(1, len(WRITTEN)):
            with pytest.raises(ZeroshotError, match="no darts architecture: expected"):
                SPACE.parse(WRITTEN[:end])

    @pytest.mark.parametrize(("axis", "gene", "fed"), [(0, 0, 1), (4, 7, 3)])
    def test_only_genotypes_are_points(self, axis, gene, fed):
        genes = list(V2.genes)
        genes[axis] = gene
        with pytest.raises(ZeroshotError, match=f"darts: {fed} operations lead to node . of the n"):
            SPACE.arch(*genes)
        loose = Arch("darts", tuple((gene,) for gene in genes))
        for call in (SPACE.spell, SPACE.index, SPACE.neighbours):
            with pytest.raises(ZeroshotError, match=f"{fed} operations lead to node"):
                call(loose)


class TestPoints:
    def test_size(self):
        """The authors state about 10⁹ for a cell."""
        cell = math.prod(math.comb(k + 2, 2) * 7**2 for k in range(4))
        assert cell == 1_037_664_180
        assert len(SPACE) == SPACE.size == cell**2

    def test_first_and_last(self):
        assert all(op < 2 for op in SPACE.at(0).genes)
        last = SPACE.at(SPACE.size - 1)
        assert pairs(last) == [
            frozenset({("dil_conv_5x5", node - 2), ("dil_conv_5x5", node - 1)})
            for node in (*NODES, *NODES)
        ]

    def test_samples_are_uniform_over_genotypes(self):
        drawn = SPACE.sample(2000, rng())
        assert all(is_genotype(arch) for arch in drawn)
        sources = [tuple(sorted(i for _, i in pairs(arch)[3])) for arch in drawn]
        counts = [sources.count(pair) for pair in itertools.combinations(range(5), 2)]
        assert sum((count - 200) ** 2 / 200 for count in counts) < 27.9  # χ², 9 degrees, p = 0.001

    def test_neighbours(self):
        """16 operations can be another, of 24 inputs each can move to a free source."""
        for arch in some(3):
            around = SPACE.neighbours(arch)
            assert len(set(around)) == len(around) == 16 * 6 + 2 * 2 * (0 + 1 + 2 + 3)
            assert all(arch in SPACE.neighbours(other) for other in around[::20])
            for other in around:
                assert is_genotype(other)
                changed = [(a - b, b - a) for a, b in zip(pairs(arch), pairs(other), strict=True)]
                ((gone, come),) = [change for change in changed if change != (set(), set())]
                ((op, source),), ((new_op, new_source),) = gone, come
                assert (op == new_op) != (source == new_source)

    def test_mutate(self):
        random = rng()
        for arch in some(5):
            around = set(SPACE.neighbours(arch))
            drawn = {SPACE.mutate(arch, random) for _ in range(20)}
            assert drawn <= around
            assert len(drawn) > 5
        assert SPACE.mutate(V2, rng(5)) == SPACE.mutate(V2, rng(5))

    def test_cross_takes_whole_nodes(self):
        random = rng()
        for one, other in itertools.pairwise(some()):
            child = SPACE.cross(one, other, random)
            assert is_genotype(child)
            nodes = list(zip(pairs(child), pairs(one), pairs(other), strict=True))
            assert all(node in (a, b) for node, a, b in nodes)
        assert SPACE.cross(V2, SPACE.at(9), rng(1)) == SPACE.cross(V2, SPACE.at(9), rng(1))

    def test_what_a_supernet_holds(self):
        assert list(SPACE.subspace(V2)) == [V2]
        assert SPACE.count(V2) == 1
        assert next(SPACE.subspace(SPACE.whole)) == SPACE.at(0)
        assert next(SPACE.subspace(SPACE.prunable)) == SPACE.at(0)
        assert SPACE.count(SPACE.prunable) == SPACE.size
        # One operation on each edge, as TE-NAS' first stage leaves it, and a node with a choice.
        single = Arch("darts", ((4,),) * 28)
        assert SPACE.count(single) == (1 * 3 * 6 * 10) ** 2
        few = Arch("darts", (*((options,) for options in V2.genes[:26]), (0, 1, 4), (0, 2)))
        held = list(SPACE.subspace(few))
        assert len(set(held)) == SPACE.count(few)
        for arch in held:
            assert is_genotype(arch)
            assert all(
                gene in (0, *options) for gene, options in zip(arch.genes, few.open, strict=True)
            )

    @pytest.mark.parametrize(
        "shape",
        [
            *({"channels": 0}, {"layers": 1}, {"stem_multiplier": 0}, {"stem": "resnet"}),
            *({"drop_path": 1.0}, {"drop_path": -0.1}),
        ],
    )
    def test_refuses_shapes(self, shape):
        field, value = next(iter(shape.items()))
        with pytest.raises(ZeroshotError, match=f"{field} {value!r}: "):
            Darts(**shape)


class TestCanonical:
    def test_orders_of_nodes(self):
        """Nodes 2 and 3, on the inputs alone, change places; the rest follows."""
        reduce = WRITTEN[WRITTEN.index("reduce=[") + 7 : WRITTEN.rindex("]") + 1]
        one, other = (
            SPACE.parse(f"[{normal}], {reduce}")
            for normal in (
                "('sep_conv_3x3', 0), ('skip_connect', 1), ('max_pool_3x3', 0), "
                "('sep_conv_5x5', 1), ('dil_conv_3x3', 2), ('skip_connect', 3), "
                "('skip_connect', 2), ('skip_connect', 4)",
                "('max_pool_3x3', 0), ('sep_conv_5x5', 1), ('sep_conv_3x3', 0), "
                "('skip_connect', 1), ('dil_conv_3x3', 3), ('skip_connect', 2), "
                "('skip_connect', 3), ('skip_connect', 4)",
            )
        )
        assert one != other
        assert SPACE.canonical(one) == SPACE.canonical(other)
        assert SPACE.canonical(one).open[:14] == min(one, other).open[:14]
        first, second = (SMALL.build(arch, TASK).cells[0].double() for arch in (one, other))
        swap = {"2": "3", "3": "2"}
        second.load_state_dict(
            {
                re.sub(r"[23](?=->)|(?<=->)[23]", lambda found: swap[found[0]], key): value
                for key, value in first.state_dict().items()
            }
        )
        shown = torch.rand(3, 2, 8, 8, dtype=torch.float64)
        a, b = (cell(shown, shown + 1).chunk(4, dim=1) for cell in (first, second))
        for mine, theirs in ((0, 1), (1, 0), (2, 2), (3, 3)):
            assert torch.allclose(a[mine], b[theirs], rtol=1e-12)

    def test_representatives(self):
        changed = 0
        for arch in some(50):
            first = SPACE.canonical(arch)
            assert is_genotype(first)
            assert SPACE.canonical(first) == first <= arch
            if first != arch and changed < 3:
                assert SMALL.cost(first, TASK) == SMALL.cost(arch, TASK)
            changed += first != arch
        assert changed > 5


class TestCost:
    """Published: 3.3 and 4.7 M parameters; the authors' code prints 3.349342 and 4.718752."""

    @pytest.mark.parametrize(
        ("name", "params", "macs"),
        [("DARTS_V1", 3_169_414, 500_987_520), ("DARTS_V2", 3_349_342, 528_359_040)],
    )
    def test_cifar(self, name, params, macs):
        cost = Darts(channels=36, layers=20).cost(SPACE.parse(PUBLISHED[name]))
        assert (cost.params, cost.macs) == (params, macs)

    def test_imagenet(self):
        task = Task(size=224, classes=1000)
        assert Darts(channels=48, layers=14).cost(V2, task).params == 4_718_752

    def test_the_auxiliary_classifier_does_not_count(self):
        assert replace(SMALL, auxiliary=True).cost(V2) == SMALL.cost(V2)


class TestNetwork:
    def test_reductions(self):
        def sizes(shape, task=TASK):
            module, seen = shape.build(V2, task), []
            for cell in module.cells:
                cell.register_forward_hook(lambda *args: seen.append(tuple(args[2].shape[1:])))
            module(torch.rand(2, 3, task.size, task.size))
            return seen

        assert sizes(Darts(channels=2, layers=2)) == [(8, 8, 8), (16, 4, 4)]
        assert sizes(Darts(channels=2, layers=3)) == [(8, 8, 8), (16, 4, 4), (32, 2, 2)]
        assert [c for c, _, _ in sizes(Darts(channels=2))] == [8, 8, 16, 16, 16, 32, 32, 32]
        odd = sizes(Darts(channels=3, layers=3), Task(size=9, classes=5))
        assert odd == [(12, 9, 9), (24, 5, 5), (48, 3, 3)]
        large = sizes(Darts(channels=2, layers=3), Task(size=128))
        assert large == [(8, 16, 16), (16, 8, 8), (32, 4, 4)]

    @pytest.mark.parametrize("arch", [V2, SPACE.at(0), *some(2)], ids=["V2", "0", "a", "b"])
    @pytest.mark.parametrize("task", [Task(size=32), Task(size=224, classes=7)], ids=["32", "224"])
    def test_backward_reaches_every_weight(self, arch, task):
        module = SMALL.network(arch, task).module
        out = module(torch.rand(2, 3, task.size, task.size))
        assert out.shape == (2, task.classes)
        out.square().sum().backward()
        assert all(bool(p.grad.isfinite().all()) for p in module.parameters())

    def test_stems(self):
        named = dict(SMALL.build(V2, Task(size=128)).named_modules())
        assert [m.stride for m in named["stem"] if isinstance(m, nn.Conv2d)] == [(2, 2)] * 2
        assert Darts(channels=4, layers=2, stem="cifar").network(V2, Task(size=128)).blocks == (
            *("stem", "cells.0", "cells.1"),
        )
        blocks = Darts(channels=4, layers=2, stem="imagenet").network(V2, Task(size=32)).blocks
        assert blocks == ("stem", "second_stem", "cells.0", "cells.1")
        with pytest.raises(ZeroshotError, match="channels 1: darts needs at least 2 with the imag"):
            Darts(channels=1, stem="imagenet").build(V2, Task())

    def test_activations_leave_their_input_as_it_is(self):
        module = Darts(auxiliary=True, last_activation=True).build(SPACE.whole, Task())
        assert not any(m.inplace for m in module.modules() if isinstance(m, nn.ReLU))

    def test_seeds(self):
        one, twin, other = (SMALL.network(V2, TASK, seed=seed).module for seed in (1, 1, 2))
        assert all(
            torch.equal(a, b) for a, b in zip(one.parameters(), twin.parameters(), strict=True)
        )
        assert not torch.equal(one.stem[0].weight, other.stem[0].weight)

    @pytest.mark.parametrize(("stem", "size"), [("cifar", 32), ("cifar", 40), ("imagenet", 224)])
    def test_auxiliary(self, stem, size):
        shape = Darts(channels=2, layers=3, stem=stem, auxiliary=True)
        task, shown = Task(size=size, classes=5), torch.rand(2, 3, size, size)
        module = shape.build(V2, task)
        both = module(shown)
        assert both.logits.shape == both.auxiliary.shape == (2, 5)
        (both.logits.sum() + both.auxiliary.sum()).backward()
        assert all(p.grad is not None for p in module.parameters())
        assert module.eval()(shown).shape == (2, 5)
        assert Net(module)(shown).shape == (2, 5)

    def test_an_auxiliary_classifier_without_room(self):
        with pytest.raises(ZeroshotError, match=r"8 × 8 pixels .* of 16 pixels leave 4 × 4"):
            Darts(auxiliary=True).build(V2, Task(size=16))

    def test_drop_path(self):
        skips = SPACE.arch(*(3 * (i < 2) for _ in "nr" for i, _ in EDGES))
        torch.manual_seed(0)
        module = Darts(channels=2, layers=2, drop_path=0.5).build(V2, TASK)
        cell = module.cells[0]
        shown = torch.rand(16, 6, 8, 8)
        with torch.no_grad():
            assert not torch.equal(module(shown[:, :3]), module(shown[:, :3]))
            assert torch.equal(cell(shown, shown), cell(shown, shown))
            assert torch.equal(module.eval()(shown[:, :3]), module(shown[:, :3]))
            kept = cell.train()(shown, shown)[:, :2]
            many = shown.repeat(400, 1, 1, 1)  # of the same statistics
            blurred = cell(many, many, 0.5)[:, :2].unflatten(0, (400, 16))
            # Node 2 has two operations: for a quarter of the samples both are left out.
            zero = (blurred == 0).flatten(2).all(2).double().mean()
            assert float(zero) == pytest.approx(0.25, abs=0.02)
            # What is left is scaled up: a term is off by its size / √400, a sum of two by more.
            assert (blurred.mean(0) - kept).norm() < 0.15 * kept.norm()
            module.drop_path = 0.0
            module.train()
            assert torch.equal(module(shown[:, :3]), module(shown[:, :3]))
            only_skips = SMALL.build(skips, TASK).cells[0]
            assert torch.equal(*(only_skips(shown[:, :2], shown[:, :2], p) for p in (0.0, 0.9)))


def oracle(cell, open_, before, last):
    """A cell as the explicit mean of its edges' operations."""
    nodes = [cell.before(before), cell.last(last)]
    for node in NODES:
        total = 0
        for (source, target), options in zip(EDGES, open_, strict=True):
            for option in options if target == node else ():
                if OPS[option] != "none":
                    operation = cell.mixtures[f"{source}->{target}"][OPS[option]]
                    total = total + operation(nodes[source]) / len(options)
        nodes.append(total)
    return torch.cat(nodes[2:], 1)


class TestSupernet:
    @pytest.mark.parametrize("arch", [SPACE.whole, SPACE.prunable], ids=["whole", "without none"])
    @pytest.mark.parametrize("number", [0, 1])
    def test_is_the_mean_of_its_operations(self, arch, number):
        module = Darts(channels=2, layers=2).build(arch, TASK).double()
        width = module.cells[0].last[1].in_channels
        before = torch.rand(3, width, 8, 8, dtype=torch.float64)
        last = before if number == 0 else module.cells[0](before, before)
        cell = module.cells[number]
        open_ = arch.open[14 * number :][:14]
        found = cell(before, last)
        expected = oracle(cell, open_, before, last)
        assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)

    def test_an_edge_of_none_contributes_nothing(self):
        alone = Arch("darts", ((4,), (4,), (0,), (0,), (0,), *((4,),) * 23))
        for number in (0, 1):
            shape = Darts(channels=2, layers=2)
            module = shape.build(alone, TASK)
            assert not any("->3" in key for key in module.cells[0].state_dict())
            shown = torch.rand(2, 6, 8, 8)
            last = shown if number == 0 else module.cells[0](shown, shown)
            assert module.cells[number](shown, last).shape[1] == (8, 16)[number]
        assert not module.cells[0](shown, shown)[:, 2:4].any()
        nothing = SMALL.build(Arch("darts", ((0,),) * 28), TASK)
        assert nothing(torch.rand(2, 3, 8, 8)).shape == (2, 5)

    def test_dropping_options_ends_in_the_single_path_network(self):
        arch = SPACE.whole
        module = SMALL.build(arch, TASK)
        torch.manual_seed(0)
        left = [
            (axis, option)
            for axis, gene in enumerate(V2.genes)
            for option in range(len(OPS))
            if option != gene
        ]
        for position, index in enumerate(rng().permutation(len(left)), start=1):
            arch = arch.drop(*left[index])
            if position % 49 == 0:
                module = inheriting(module, arch)
        assert arch == V2
        single = SMALL.build(V2, TASK)
        single.load_state_dict(module.state_dict())
        shown = torch.rand(2, 3, 8, 8)
        assert torch.equal(single(shown), module(shown))
        assert set(single.state_dict()) < set(SMALL.build(SPACE.whole, TASK).state_dict())

    def test_is_no_network(self):
        for call in (SPACE.spell, SPACE.index, SPACE.neighbours, SPACE.canonical):
            with pytest.raises(ZeroshotError, match="supernet"):
                call(SPACE.prunable)

    def test_of_te_nas(self):
        shape = SPACE.searched
        module = shape.build(SPACE.prunable, Task())
        assert [cell.stride for cell in module.cells] == [1, 2]
        assert module.stem[0].out_channels == 1
        assert module(torch.rand(2, 3, 32, 32)).shape == (2, 10)
        assert isinstance(module.head[0], nn.BatchNorm2d)

    @pytest.mark.parametrize("arch", [SPACE.whole, SPACE.prunable, V2])
    def test_thin(self, arch):
        thin = SPACE.thin(arch, Task())
        out = thin(torch.rand(5, 1, 3, 3))
        assert out.shape == (5, 10)
        out.sum().backward()
        assert all(p.grad is not None for p in thin.parameters())
        assert thin.cells[0].before[1].in_channels == 1
        assert [m for m in thin.stem.modules() if isinstance(m, nn.Conv2d)] == []


def inheriting(module, arch):
    """The network of a smaller supernet with the weights of the larger."""
    smaller = SMALL.build(arch, TASK)
    held = module.state_dict()
    smaller.load_state_dict({key: held[key] for key in smaller.state_dict()})
    return smaller


@pytest.mark.parametrize(
    ("shape", "task"),
    [
        (Darts(), Task()),
        (Darts(channels=4, layers=20, auxiliary=True, last_activation=True), Task()),
        (Darts(channels=4, layers=5), Task(channels=1, size=129, classes=7)),
        (Darts(channels=3, layers=2, stem_multiplier=1), Task(size=27)),
        (Darts(channels=2, layers=3, stem="imagenet"), Task(size=61)),
    ],
)
def test_costs_are_those_of_the_network_counted_as_a_whole(shape, task):
    for arch in shape.sample(3, np.random.default_rng(0)):
        found = shape.cost(arch, task)
        assert found == Space.cost(replace(shape, auxiliary=False), arch, task)
        assert all(type(number) is int for number in found)


def test_what_cannot_be_added_up_is_counted_as_a_whole():
    supernet = SMALL.prunable
    assert SMALL.cost(supernet) == Space.cost(SMALL, supernet)

    class Wider(Darts):
        def build(self, arch, task):
            return Darts(channels=2 * self.channels, layers=self.layers).build(arch, task)

    arch = SPACE.at(5)
    wide = Wider(channels=4, layers=2)
    assert wide.cost(arch) == Darts(channels=8, layers=2).cost(arch)
