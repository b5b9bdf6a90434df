from dataclasses import replace

import networkx
import numpy as np
import pytest
import torch
from torch import nn

from zeroshot.core import Batch
from zeroshot.errors import ZeroshotError
from zeroshot.proxies import PROXIES
from zeroshot.scoring import evaluate
from zeroshot.spaces import RANDWIRE, RandWire, Task

TINY = RandWire(channels=4, nodes=10, resolution=32, images=32)
TASK = Task(channels=2, size=32, classes=5)
GRAPH = ((), (0,), (), (), (3,), (0,), (5,), (2, 6), (4, 6, 7), (3,))  # of WS(2,0.5), seed 3


def graph_of(reads):
    """As networkx has it, with directions forgotten."""
    graph = networkx.Graph((node, source) for node, read in enumerate(reads) for source in read)
    graph.add_nodes_from(range(len(reads)))
    return graph


class TestGraphs:
    @pytest.mark.parametrize("generator", ["ER(0.2)", "BA(1)", "WS(2,1)", "WS(4,0.75)", "ER(0.8)"])
    def test_are_connected_and_lead_forward(self, generator):
        for seed in range(5):
            graphs = RANDWIRE.graphs(RANDWIRE.parse(f"{generator}/{seed}"))
            assert len(graphs) == 3
            for reads in graphs:
                assert len(reads) == 32
                assert all(source < node for node, read in enumerate(reads) for source in read)
                assert networkx.is_connected(graph_of(reads))
            assert len(set(graphs)) == 3

    def test_have_the_edges_of_their_generator(self):
        def edges(text):
            return sum(len(read) for g in RANDWIRE.graphs(RANDWIRE.parse(text)) for read in g)

        assert edges("BA(5)/1") == 3 * 5 * (32 - 5)
        assert edges("WS(4,0.75)/1") == edges("WS(4,0.25)/7") == 3 * 4 * 32 // 2
        pairs = 3 * 32 * 31 // 2
        assert edges("ER(0.6)/1") / pairs == pytest.approx(0.6, abs=0.05)

    def test_a_ring_that_is_not_rewired(self):
        space = replace(TINY, rewired=(0.0,))
        (first, *_) = space.graphs(space.parse("WS(2,0)"))
        assert first == ((), *((node - 1,) for node in range(1, 9)), (0, 8))

    def test_seeds_draw_different_graphs(self):
        drawn = {RANDWIRE.graphs(RANDWIRE.parse(f"WS(4,0.75)/{seed}")) for seed in range(50)}
        assert len(drawn) == 50

    def test_the_same_graphs_again(self):
        """Drawn with networkx 3.6: if this fails, results of that version are of other networks."""
        assert TINY.graphs(TINY.parse("WS(2,0.5)/3"))[0] == GRAPH


class TestNotation:
    def test_of_the_paper(self):
        arch = RANDWIRE.parse("WS(4,0.75)/17")
        assert RANDWIRE.names(arch) == (("WS(4,0.75)",), ("17",))
        assert RANDWIRE.spell(arch) == "WS(4,0.75)/17"
        assert RANDWIRE.parse("WS(4, 0.75) / 17") == RANDWIRE.parse("WS(4,0.750)/17") == arch
        assert RANDWIRE.spell(RANDWIRE.parse("WS(2,1.0)")) == "WS(2,1)/0"

    def test_size(self):
        assert RANDWIRE.size == (4 + 4 + 4 * 4) * 1000

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("WS(4,0.76)/1", "one of ER(0.2), ER(0.4)"),
            ("ws(4,0.75)/1", "and a seed as in ER(0.2)/3"),
            ("WS(4,0.75)/", "and a seed as in"),
            ("WS(4,0.75)/1000", "a seed from 0 to 999, found 1000"),
            ("WS(4,0.75)/01", "a seed from 0 to 999, found 01"),
        ],
    )
    def test_refuses(self, text, words):
        with pytest.raises(ZeroshotError, match="no randwire architecture") as error:
            RANDWIRE.parse(text)
        assert words in str(error.value)


class TestCost:
    @pytest.mark.parametrize(
        ("space", "params", "macs"),
        [
            (RANDWIRE, 5.6, 583),
            (RandWire(channels=109, regime="regular"), 31.9, 4000),
            (RandWire(channels=154, regime="regular"), 61.5, 7900),
        ],
        ids=["small", "regular, C=109", "regular, C=154"],
    )
    def test_published(self, space, params, macs):
        costs = [space.cost(space.parse(f"WS(4,0.75)/{seed}")) for seed in range(20)]
        assert np.mean([c.params for c in costs]) / 1e6 == pytest.approx(params, rel=0.01)
        assert np.mean([c.macs for c in costs]) / 1e6 == pytest.approx(macs, rel=0.01)

    @pytest.mark.parametrize("regime", ["small", "regular"])
    def test_is_what_is_built(self, regime):
        space = RandWire(channels=6, nodes=18, regime=regime, resolution=32)
        arch = space.parse("WS(4,0.75)/3")
        module = space.build(arch, TASK)
        assert space.cost(arch, TASK).params == sum(p.numel() for p in module.parameters())
        assert len(space.blocks(module)) == 5

    def test_small(self):
        """Narrower networks, which cost what the full ones do."""
        arch = RANDWIRE.parse("WS(4,0.75)")
        small = RANDWIRE.small.network(arch)
        assert small.cost() == RANDWIRE.cost(arch)
        assert sum(p.numel() for p in small.module.parameters()) < RANDWIRE.cost(arch).params / 8


class TestNetwork:
    def test_a_stage_computes_what_its_graph_says(self):
        arch = TINY.parse("WS(4,0.75)/2")
        stage = TINY.network(arch, TASK).module.body[2]
        reads = TINY.graphs(arch)[0]
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for node in stage.nodes:
                if node.edges is not None:
                    node.edges.copy_(torch.randn(len(node.edges), generator=generator))
        inputs = torch.rand(3, 4, 8, 8, generator=generator)
        found = {}
        for number, (node, read) in enumerate(zip(stage.nodes, reads, strict=True)):
            if not read:
                summed = inputs
            elif len(read) == 1:
                summed = found[read[0]]
            else:
                parts = zip(node.edges, read, strict=True)
                summed = sum(found[source] / (1 + torch.exp(-edge)) for edge, source in parts)
            found[number] = node.transform(summed)
        ends = [node for node in found if not any(node in read for read in reads)]
        expected = sum(found[end] for end in ends) / len(ends)
        torch.testing.assert_close(stage(inputs), expected)
        assert expected.shape == (3, 4, 4, 4)

    def test_edge_weights_start_at_a_half(self):
        module = TINY.network(TINY.parse("ER(0.8)/2"), TASK).module
        edges = [p for name, p in module.named_parameters() if name.endswith("edges")]
        assert len(edges) > 5
        assert all((edge.sigmoid() == 0.5).all() and len(edge) > 1 for edge in edges)

    def test_no_activation_overwrites_its_input(self):
        module = TINY.network(TINY.parse("BA(3)/2"), TASK).module
        relus = [part for part in module.modules() if isinstance(part, nn.ReLU)]
        assert len(relus) == 3 * 10 + 3
        assert not any(relu.inplace for relu in relus)

    def test_proxies_of_the_default_ensemble_are_defined(self):
        generator = torch.Generator().manual_seed(0)
        shown = Batch(torch.randn(4, 2, 32, 32, generator=generator), torch.arange(4) % 5)
        wanted = ("flops", "az_expressivity", "az_progressivity", "az_trainability", "naswot")
        proxies = tuple(proxy for proxy in PROXIES if proxy.name in wanted)
        scores = evaluate(TINY.network(TINY.parse("WS(4,0.75)/2"), TASK), shown, proxies)
        assert len(scores) == len(wanted)
        assert not scores.reasons


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"channels": 1}, "channels 1: randwire needs at least 2"),
        ({"narrow": 0.0}, "narrow 0.0: randwire needs a positive number"),
        ({"regime": "large"}, "regime 'large': randwire has small and regular"),
        ({"er": (0.5, 0.0)}, "er (0.5, 0.0): randwire expects different probabilities above 0"),
        ({"er": (0.5, 0.5)}, "er (0.5, 0.5)"),
        ({"ba": (8,), "nodes": 8}, "ba (8,): randwire expects different numbers from 1 to 7"),
        ({"ws": (3,)}, "ws (3,): randwire expects different even numbers from 2 to 31"),
        ({"ws": (8,), "nodes": 16, "regime": "regular"}, "even numbers from 2 to 7"),
        ({"rewired": (1.5,)}, "rewired (1.5,): randwire expects different probabilities"),
        ({"er": (), "ba": (), "rewired": ()}, "at least two combinations"),
    ],
)
def test_refuses_shapes(options, words):
    with pytest.raises(ZeroshotError) as error:
        RandWire(**options)
    assert words in str(error.value)
