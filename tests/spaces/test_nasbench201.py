import math
from collections import defaultdict
from itertools import product

import pytest
import torch

from tests import networks
from tests.checks import TINY, batch, same
from zeroshot.errors import ZeroshotError
from zeroshot.observe import watching_activations
from zeroshot.scoring import evaluate
from zeroshot.spaces.cells import EDGES, OPS
from zeroshot.spaces.nasbench201 import NasBench201
from zeroshot.spaces.space import Task

SPACE = NasBench201()
OFFICIAL = {  # as the benchmark's own files have them
    0: "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+"
    "|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
    9: "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|",
}
SMALL = NasBench201(channels=2, cells=1)
TASK = Task(size=8)


class TestNotation:
    def test_size(self):
        assert len(SPACE) == 5**6 == 15_625
        assert len({SPACE.spell(arch) for arch in SPACE}) == 15_625

    @pytest.mark.parametrize("index", OFFICIAL)
    def test_the_benchmarks_order(self, index):
        assert SPACE.spell(SPACE.at(index)) == OFFICIAL[index]
        assert SPACE.index(SPACE.parse(OFFICIAL[index])) == index

    @pytest.mark.parametrize(
        ("text", "place", "expected", "found"),
        [
            ("", 1, "'|' before an operation of edge 0->1", "the end"),
            ("nor_conv_3x3~0|", 1, "'|' before an operation of edge 0->1", "nor_conv_3x3~0"),
            ("|nor_conv_5x5~0|", 2, "one of none, skip_connect, ", "nor_conv_5x5~0"),
            ("|none~1|", 6, "'~0'", "~1|"),
            ("|none|+|none~0", 6, "'~0'", "|+|none~0"),
            ("|none~0+", 8, "'|' after the last operation of node 1", "+"),
            ("|none~0||none~0|none~1|", 9, "'+' before the operations of node 2", "|none~0|none~1"),
            ("|none~0|+|none~0|+|", 18, "one of none, skip_connect, ", "+|"),
            ("|none~0|+|none~0|nONE~1|", 18, "one of none, skip_connect, ", "nONE~1|"),
            (
                "|none~0|+|none~0|none~1|+|none~0|none~1|none~2",
                47,
                "'|' after the last operation of node 3",
                "the end",
            ),
            ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|+", 48, "the end", "+"),
        ],
    )
    def test_a_malformed_string_names_the_place(self, text, place, expected, found):
        with pytest.raises(ZeroshotError) as error:
            SPACE.parse(text)
        line = str(error.value)
        assert f"at character {place} expected {expected}" in line
        assert line.endswith(f"found {found if found == 'the end' else repr(found)}")
        assert "\n" not in line

    def test_every_truncation_is_refused(self):
        for end in range(1, len(OFFICIAL[9])):
            with pytest.raises(ZeroshotError, match=r"at character \d+ expected"):
                SPACE.parse(OFFICIAL[9][:end])


class TestCost:
    def test_published(self):
        cost = SPACE.cost(SPACE.at(13714))
        assert round(cost.macs / 1e6, 2) == 153.27
        assert round(cost.params / 1e6, 3) == 1.073

    def test_what_the_benchmark_states_for_all(self):
        for arch in SPACE:
            cost = SPACE.cost(arch)
            three, one = (arch.genes.count(OPS.index(f"nor_conv_{k}")) for k in ("3x3", "1x1"))
            assert abs(cost.params / 1e6 - (0.073306 + 0.24304 * three + 0.028 * one)) < 5e-7
            assert cost.macs == 7_783_040 + 35_389_440 * three + 3_932_160 * one

    @pytest.mark.parametrize("size", [8, 32, 36])
    def test_counted_at_other_sizes(self, size):
        arch, task = SMALL.arch(3, 2, 1, 3, 4, 2), Task(channels=1, size=size, classes=7)
        assert SMALL.cost(arch, task) == super(NasBench201, SMALL).cost(arch, task)

    def test_the_other_data_sets_of_the_benchmark(self):
        arch = SPACE.at(13714)
        more = SPACE.cost(arch, Task(classes=100)).params - SPACE.cost(arch).params
        assert more == 90 * 65
        assert SPACE.cost(arch, Task(size=16)).macs * 4 == pytest.approx(
            SPACE.cost(arch).macs, rel=1e-4
        )


def unique_string(genes):
    """The benchmark's name for what a cell computes, with '#' for zero.

    A node is the sorted sum of its edges: '#' for none and for operations on '#', the source
    itself for a skip, '(source)@operation' else.
    """
    nodes = ["0"]
    for node in range(1, 4):
        terms = []
        for (source, target), gene in zip(EDGES, genes, strict=True):
            if target == node:
                operation, inward = OPS[gene], nodes[source]
                if operation == "none" or inward == "#":
                    terms.append("#")
                elif operation == "skip_connect":
                    terms.append(inward)
                else:
                    terms.append(f"({inward})@{operation}")
        nodes.append("+".join(sorted(terms)))
    return nodes[-1]


@pytest.fixture(scope="module")
def classes():
    """The cells that compute the same, by their representative."""
    found = defaultdict(list)
    for genes in product(range(5), repeat=6):
        found[SPACE.canonical(SPACE.arch(*genes)).genes].append(genes)
    return found


class TestCanonical:
    def test_unique_string(self):
        assert unique_string(SPACE.parse(OFFICIAL[0]).genes) == (
            "(0)@avg_pool_3x3+(0)@avg_pool_3x3+(0)@nor_conv_1x1+(0)@nor_conv_1x1"
        )
        assert unique_string((4, 1, 0, 0, 0, 1)) == "#+#+#+0"

    def test_counts(self, classes):
        assert len(classes) == 4_930
        strings = {unique_string(genes) for genes in product(range(5), repeat=6)}
        assert len(strings) == 6_466  # of the literature

    def test_coarser_than_the_literatures(self, classes):
        owner = {}
        for representative, members in classes.items():
            for genes in members:
                assert owner.setdefault(unique_string(genes), representative) == representative

    def test_the_representative_is_the_smallest_and_has_no_dead_operation(self, classes):
        for representative, members in classes.items():
            assert representative == min(members)
            live = [edge for edge, gene in zip(EDGES, representative, strict=True) if gene]
            fed, needed = {0}, {3}
            for source, target in live:
                fed |= {target} if source in fed else set()
            for source, target in reversed(live):
                needed |= {source} if target in needed else set()
            assert all(source in fed and target in needed for source, target in live)

    def test_connected(self):
        def reaches(genes):
            fed = {0}
            for (source, target), gene in zip(EDGES, genes, strict=True):
                fed |= {target} if gene and source in fed else set()
            return 3 in fed

        found = [genes for genes in product(range(5), repeat=6) if reaches(genes)]
        assert len(found) == 15_284
        assert found == [
            genes for genes in product(range(5), repeat=6) if SPACE.connected(SPACE.arch(*genes))
        ]

    def test_members_compute_the_same_with_the_same_weights(self, classes):
        """Every operation of a kind gets the same weights, as far as their shapes are the same."""
        images = networks.batch(n=4, h=8, w=8)[0]

        def logits(genes):
            module = SMALL.build(SMALL.arch(*genes), TASK).double()
            with torch.no_grad():
                module.head[-1].bias.zero_()
                for p in module.parameters():
                    if p.ndim > 1:
                        p.copy_(torch.from_numpy(networks.wave(p.numel(), p.ndim)).view_as(p))
            return module(images).detach()

        many = sorted(c for c, members in classes.items() if len(members) > 1)
        compared = 0
        for representative in many[:: len(many) // 40]:
            expected = logits(representative)
            members = classes[representative]
            for genes in members[1 :: len(members) // 4 + 1]:
                assert torch.allclose(logits(genes), expected, rtol=1e-9, atol=1e-9), genes
                compared += 1
        assert compared > 40

    def test_members_have_the_same_scores_but_for_their_stated_cost(self, classes):
        representative = (0, 0, 0, 0, 0, 1)
        one, other = classes[SPACE.canonical(SPACE.arch(*representative)).genes][::60][:2]
        first, second = (
            evaluate(TINY.network(TINY.arch(*genes), TASK), batch(torch.float32, h=8, w=8))
            for genes in (one, other)
        )
        stated = {"params", "flops", "depth"}
        assert all(same(first[p], second[p]) for p in first.keys() - stated)


class TestNetwork:
    def test_skeleton(self):
        module = SPACE.network(SPACE.at(13714)).module
        assert sum(p.numel() for p in module.parameters()) == SPACE.cost(SPACE.at(13714)).params
        assert SPACE.blocks(module) == ("stem", *(f"body.{i}" for i in range(17)))

    def test_dead_operations_are_left_out(self):
        # The only node that is fed is the second, from which nothing leads on.
        arch = TINY.arch(0, 3, 0, 1, 0, 0)
        net = TINY.network(arch, TASK)
        assert not any("0->2" in name for name, _ in net.module.named_parameters())
        assert net.cost() == TINY.cost(arch, TASK)

    def test_disconnected(self):
        """The classifier sees zeros: logits are its bias, and every gradient before it is zero."""
        net = TINY.network(TINY.arch(0, 0, 0, 0, 0, 0), TASK)
        shown = batch(torch.float32, h=8, w=8)
        logits = net(shown.inputs)
        assert torch.equal(logits, logits[:1].expand_as(logits))
        scores = evaluate(net, shown)
        assert scores["synflow"] >= 0
        assert scores["jacob_cov"] == -math.inf
        assert "epe_nas" in scores.reasons

    @pytest.mark.parametrize("arch", [SPACE.whole, SPACE.prunable], ids=["whole", "without none"])
    def test_a_supernet_is_the_mean_of_its_operations(self, arch):
        cell = SMALL.build(arch, TASK).double().body[0]
        inputs = torch.rand(3, 2, 8, 8, dtype=torch.float64)
        found = cell(inputs)
        nodes = [inputs]
        for node in (1, 2, 3):
            total = 0
            for (source, target), options in zip(EDGES, arch.open, strict=True):
                for option in options if target == node else ():
                    if OPS[option] != "none":
                        operation = cell.mixtures[f"{source}->{target}"][OPS[option]]
                        total = total + operation(nodes[source]) / len(options)
            nodes.append(total)
        assert torch.allclose(found, nodes[3], rtol=1e-12, atol=1e-12)

    def test_activations_of_a_network_count_one_by_one(self):
        """Those of a supernet count once for all operations that leave a node."""
        for arch, times in ((SPACE.arch(*(3,) * 6), 6), (SPACE.prunable, 3)):
            codes = []
            cell = SMALL.build(arch, TASK).body[0]
            with watching_activations(codes):
                cell(torch.rand(3, 2, 8, 8))
            assert len(codes) == times

    def test_thin_is_one_cell_on_one_channel(self):
        thin = SPACE.thin(SPACE.at(0), Task())
        assert thin(torch.rand(5, 1, 3, 3)).shape == (5, 10)
        convolutions = [m for m in thin.modules() if isinstance(m, torch.nn.Conv2d)]
        assert [(c.in_channels, c.out_channels) for c in convolutions] == [(1, 1)] * 2
