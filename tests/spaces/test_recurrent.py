import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import zeroshot
from zeroshot.errors import Undefined, ZeroshotError
from zeroshot.proxies import PROXIES
from zeroshot.spaces import ENAS_RNN, NASBENCH_NLP, EnasRnn, NasBenchNlp, NextToken
from zeroshot.spaces.recurrent import SOURCES, STATES, _Cell, _cell, _genes

TASK = NextToken(size=5, classes=7)
ENAS = EnasRnn(nodes=4, width=6)
NLP = NasBenchNlp(nodes=13, layers=2, hidden=6, embedding=4)

# The cell of ENAS' paper, as its authors' README writes it.
PUBLISHED = "0 0 0 1 1 2 1 2 0 2 0 5 1 1 0 6 1 8 1 8 1 8 1"


def recipe(**nodes):
    """h_new_0="linear x h_prev_0" and so on, as JSON."""
    parts = {name: text.split() for name, text in nodes.items()}
    return json.dumps({name: {"op": op, "input": read} for name, (op, *read) in parts.items()})


LSTM = recipe(
    node_0="linear x h_prev_0",
    node_1="linear x h_prev_0",
    node_2="linear x h_prev_0",
    node_3="linear x h_prev_0",
    node_4="activation_sigm node_0",
    node_5="activation_sigm node_1",
    node_6="activation_tanh node_2",
    node_7="activation_sigm node_3",
    node_8="elementwise_prod node_5 h_prev_1",
    node_9="elementwise_prod node_4 node_6",
    node_10="activation_tanh h_new_1",
    h_new_0="elementwise_prod node_7 node_10",
    h_new_1="elementwise_sum node_8 node_9",
)
CONSTANT = recipe(h_new_0="elementwise_prod h_prev_0 node_0", node_0="linear x h_prev_0")

# Recipes of NAS-Bench-NLP with their number of parameters (Apache-2.0).
ROWS = (
    (
        recipe(
            node_0="linear x h_prev_0",
            node_1="activation_leaky_relu node_0",
            node_6="linear node_1 x",
            h_new_0="activation_sigm node_6",
        ),
        7453200,
    ),
    (
        recipe(
            node_3="linear h_prev_0 h_prev_2",
            node_6="linear h_prev_0 x h_prev_1",
            node_9="linear h_prev_2 x h_new_1",
            h_new_0="elementwise_sum h_new_2 node_9",
            h_new_1="activation_tanh node_6",
            h_new_2="activation_leaky_relu node_3",
        ),
        10974800,
    ),
)


class TestNextToken:
    def test_tokens(self):
        batch, task = zeroshot.load_batch(batch_size=4, task=TASK, seed=1)
        assert task is TASK
        assert batch.inputs.shape == batch.targets.shape == (4, 5)
        assert not torch.equal(batch.inputs, batch.targets)
        assert set(batch.inputs.unique().tolist()) <= set(range(7))

    def test_loss_is_the_mean_over_tokens(self):
        generator = torch.Generator().manual_seed(0)
        answers, targets = torch.randn(3, 5, 7, generator=generator), TASK.targets(3, generator)
        chosen = answers.log_softmax(2).gather(2, targets[..., None])[..., 0]
        torch.testing.assert_close(TASK.loss(answers, targets), -chosen.mean(1))

    @pytest.mark.parametrize("shape", [(3, 7), (3, 4, 7), (5, 3, 7), (3, 5, 7, 1)])
    def test_answers_of_another_shape(self, shape):
        with pytest.raises(Undefined, match="no logits for each"):
            TASK.loss(torch.zeros(shape), torch.zeros(3, 5, dtype=torch.long))


class TestEnas:
    def test_published(self):
        arch = ENAS_RNN.parse(PUBLISHED)
        assert ENAS_RNN.spell(arch) == PUBLISHED
        assert ENAS_RNN.names(arch)[:3] == (("tanh",), ("0",), ("tanh",))
        width = 748
        weights = 10_000 * width + 2 * width * 2 * width + 11 * width * 2 * width
        assert ENAS_RNN.cost(arch) == (weights, 35 * weights, 13)
        assert round(weights / 1e6, 1) == 22.0  # as the docstring says

    @pytest.mark.parametrize("text", ["0 0", PUBLISHED + " 0", "a" + PUBLISHED[1:], "0,0"])
    def test_refuses(self, text):
        with pytest.raises(ZeroshotError, match="expected 23 numbers"):
            ENAS_RNN.parse(text)

    def test_refuses_later_nodes(self):
        with pytest.raises(ZeroshotError, match="option 2 of axis node 2 input"):
            ENAS.parse("0 0 0 2 0 0 0")

    def test_classes_are_trees(self):
        """Rooted trees whose nodes have one of four colours: 4, 16 and 104 of them."""
        for nodes, trees in ((1, 4), (2, 16), (3, 64 + 4 * 10)):
            space = EnasRnn(nodes=nodes)
            assert len({space.canonical(arch) for arch in space}) == trees

    def test_nodes_in_another_order(self):
        one, other = ENAS.parse("0 0 1 0 2 1 3"), ENAS.parse("0 0 2 0 1 2 3")
        assert one != other
        assert ENAS.canonical(one) == ENAS.canonical(other)
        assert ENAS.canonical(one) != ENAS.canonical(ENAS.parse("0 0 2 0 1 1 3"))

    def test_computes_what_the_paper_says(self):
        module = replace(ENAS, layers=2).build(ENAS.parse("0 0 1 0 2 1 3"), TASK)
        tokens = TASK.inputs(3, torch.Generator().manual_seed(0))
        shown = module.embedding.weight[tokens]
        for layer in module.layers:
            weights, state, found = [part.weight for part in layer.cell.weights], None, []
            state = torch.zeros(3, 6)
            for token in shown.unbind(1):

                def node(before, weight, function, read=None):
                    value, gate = ((before if read is None else read) @ weight.T).split(6, dim=1)
                    opened = torch.sigmoid(gate)
                    return opened * function(value) + (1 - opened) * before

                first = node(state, weights[0], torch.tanh, torch.cat([token, state], 1))
                second = node(first, weights[1], torch.relu)
                third = node(first, weights[2], lambda value: value)
                fourth = node(second, weights[3], torch.sigmoid)
                state = (third + fourth) / 2
                found.append(state)
            shown = torch.stack(found, 1)
        torch.testing.assert_close(module(tokens), shown @ module.embedding.weight.T)

    def test_weights_are_the_authors(self):
        space = EnasRnn(nodes=2, width=350, vocabulary=500)
        module = space.network(space.at(0)).module
        largest = max(float(p.detach().abs().max()) for p in module.parameters())
        assert 0.0499 < largest <= 0.05


class TestRecipes:
    @pytest.mark.parametrize(("text", "params"), ROWS)
    def test_parameters_are_those_of_the_benchmark(self, text, params):
        assert NASBENCH_NLP.cost(NASBENCH_NLP.parse(text)).params == params

    def test_what_reaches_no_output_is_left_out(self):
        more = json.loads(ROWS[0][0])
        more["node_9"] = {"op": "linear", "input": ["x", "h_prev_1"]}
        more["h_new_1"] = {"op": "activation_tanh", "input": ["node_9"]}
        assert NASBENCH_NLP.parse(json.dumps(more)) == NASBENCH_NLP.parse(ROWS[0][0])

    def test_spelling(self):
        arch = NLP.parse(recipe(h_new_0="linear node_7 x", node_7="activation_tanh h_prev_0"))
        assert NLP.spell(arch) == (
            '{"node_0": {"op": "activation_tanh", "input": ["h_prev_0"]}, '
            '"h_new_0": {"op": "linear", "input": ["node_0", "x"]}}'
        )
        genes = list(arch.genes)
        genes[-5] = 1
        other = NLP.arch(*genes)
        assert NLP.spell(other) == ".".join(map(str, genes))
        assert NLP.canonical(other) == arch

    def test_lstm(self):
        space = replace(NLP, layers=1, hidden=4)
        arch = space.parse(LSTM)
        module = space.build(arch, TASK)
        twin = nn.LSTM(4, 4, batch_first=True)
        cell = module.layers[0].cell
        with torch.no_grad():
            for part, source in enumerate(_gates(cell)):
                linear = cell.parts[str(source)]
                (inputs,) = [read for node, _, read in cell.nodes if node == source]
                halves = dict(zip(inputs, linear.weight.split(4, dim=1), strict=True))
                twin.weight_ih_l0[4 * part :][:4] = halves[SOURCES.index("x")]
                twin.weight_hh_l0[4 * part :][:4] = halves[SOURCES.index("h_prev_0")]
                twin.bias_ih_l0[4 * part :][:4] = linear.bias
                twin.bias_hh_l0[4 * part :][:4] = 0
        tokens = TASK.inputs(3, torch.Generator().manual_seed(0))
        expected, _ = twin(module.embedding(tokens))
        torch.testing.assert_close(module(tokens), module.decoder(expected))

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("{", "JSON such as"),
            ("[" * 100_000, "JSON such as"),
            ("[]", "among them h_new_0"),
            (recipe(h_new_1="linear x h_prev_1"), "among them h_new_0"),
            (recipe(h_new_0="linear x x", h_new_2="linear x x"), "without gaps; found h_new_0, h"),
            (recipe(h_new_0="linear x x", h_new_00="linear x x"), "without gaps"),
            (recipe(**{f"h_new_{i}": "linear x x" for i in range(4)}), "h_new_0 to h_new_2"),
            (recipe(**{f"n{i}": "linear x x" for i in range(13)}, h_new_0="linear x x"), "13 node"),
            (recipe(h_new_0="linear x x", x="linear x x"), "of node 'x' its op and input"),
            ('{"h_new_0": {"op": "linear"}}', "of node 'h_new_0' its op and input"),
            (recipe(h_new_0="linear x"), "op and number of inputs of node 'h_new_0' one of linear"),
            (recipe(h_new_0="relu h_prev_0"), "activation_tanh of 1"),
            ('{"h_new_0": {"op": ["linear"], "input": ["x", "x"]}}', "op and number of inputs"),
            (recipe(h_new_0="linear x h_prev_1"), "that there are, found 'h_prev_1'"),
            ('{"h_new_0": {"op": "linear", "input": ["x", [1]]}}', "that there are, found [1]"),
            (recipe(h_new_0="activation_tanh x"), "read by linear nodes only; h_new_0 does so"),
            (recipe(h_new_0="linear x a", a="linear x h_new_0"), "reads itself"),
        ],
    )
    def test_refuses(self, text, words):
        with pytest.raises(ZeroshotError, match="no nasbench_nlp architecture") as error:
            NLP.parse(text)
        assert words in str(error.value)
        assert "\n" not in str(error.value)


def _gates(cell):
    """The linear nodes of an LSTM's gates, in the order of PyTorch: input, forget, cell, output."""
    nodes = {source: (op, inputs) for source, op, inputs in cell.nodes}
    output, new = cell.states[:2]

    def product_of(source):
        return {nodes[read][0]: read for read in nodes[source][1] if read in nodes}

    def below(source):
        return nodes[source][1][0]

    kept, added = sorted(nodes[new][1], key=lambda part: len(product_of(part)))
    outer, inner = product_of(output), product_of(added)
    forget = product_of(kept)["activation_sigm"]
    parts = inner["activation_sigm"], forget, inner["activation_tanh"], outer["activation_sigm"]
    return [below(part) for part in parts]


def shuffled(cell, random):
    """The same cell with nodes, states 1 and 2, and inputs whose order means nothing shuffled."""
    count, base = len(cell.nodes), len(SOURCES)
    placed, order = set(range(base)), []
    while len(order) < count:
        ready = [
            node
            for node, (_, inputs) in enumerate(cell.nodes, start=base)
            if node not in placed and placed.issuperset(inputs)
        ]
        node = ready[int(random.integers(len(ready)))]
        placed.add(node)
        order.append(node)
    swapped = {1: 1, 2: 3, 3: 2} if random.integers(2) else {1: 1, 2: 2, 3: 3}
    name = {0: 0, **swapped, **{node: base + place for place, node in enumerate(order)}}
    nodes = []
    for op, inputs in (cell.nodes[node - base] for node in order):
        moved = [name[source] for source in inputs]
        nodes.append((op, tuple(random.permutation(moved) if op in (0, 1, 3, 4) else moved)))
    states = [0] * STATES
    for state, node in enumerate(cell.states):
        states[swapped[state + 1] - 1] = name[node]
    return _Cell(tuple((op, tuple(map(int, inputs))) for op, inputs in nodes), tuple(states))


def with_equal_weights(module):
    """Fresh weights say nothing of their order: networks that differ in it alone answer alike."""
    module.double()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.fill_(0.03 if name.endswith("weight") else 0.2)
        words = torch.linspace(-1, 1, TASK.classes, dtype=torch.double)
        module.embedding.weight += words[:, None]
    return module


@pytest.mark.parametrize("space", [ENAS, NLP], ids=["enas", "nlp"])
def test_canonical_cells_compute_the_same(space):
    tokens = TASK.inputs(3, torch.Generator().manual_seed(0))
    others = 0
    for arch in space.sample(40, np.random.default_rng(3)):
        canonical = space.canonical(arch)
        one, other = (with_equal_weights(space.build(a, TASK)) for a in (arch, canonical))
        torch.testing.assert_close(one(tokens), other(tokens), rtol=1e-10, atol=1e-12)
        others += canonical != arch
    assert others > 10


class TestCells:
    def test_order_means_nothing(self):
        random = np.random.default_rng(0)
        same = 0
        for arch in NLP.sample(40, random):
            other = NLP.arch(*_genes(shuffled(_cell(arch.genes, NLP.nodes), random), NLP.nodes))
            assert NLP.canonical(other) == NLP.canonical(arch)
            same += other == arch
        assert same < 5

    def test_states_that_are_one_node_are_one_state(self):
        twice = recipe(
            node_0="linear x h_prev_0 h_prev_1",
            h_new_0="activation_tanh node_0",
            h_new_1="activation_tanh node_0",
        )
        genes = list(NLP.parse(twice).genes)
        genes[-2] = genes[-3]  # both are the first tanh
        once = recipe(node_0="linear x h_prev_0 h_prev_0", h_new_0="activation_tanh node_0")
        assert NLP.canonical(NLP.arch(*genes)) == NLP.parse(once)

    def test_connected_networks_are_those_that_answer_differently(self):
        task, answers = NextToken(size=6, classes=7), []
        tokens = task.inputs(4, torch.Generator().manual_seed(1))
        archs = [NLP.parse(CONSTANT), *NLP.sample(60, np.random.default_rng(1))]
        for arch in archs:
            net = NLP.network(arch, task)
            net.module.double()
            found = net(tokens)
            varied = not torch.allclose(found, found[:1].expand_as(found), rtol=1e-13, atol=0)
            answers.append(NLP.connected(arch))
            assert varied == answers[-1], NLP.spell(NLP.canonical(arch))
        assert 5 < sum(answers) < 55
        assert not answers[0]

    def test_cost_is_what_is_built(self):
        for arch in NLP.sample(10, np.random.default_rng(2)):
            built = NLP.build(arch, TASK)  # as it is, not its canonical form
            assert NLP.cost(arch, TASK).params == sum(p.numel() for p in built.parameters())
            assert NLP.cost(arch, TASK) == NLP.cost(NLP.canonical(arch), TASK)

    def test_weights_are_the_authors(self):
        net = replace(NLP, hidden=25, embedding=16).network(NLP.parse(LSTM), TASK)
        first, second = (next(layer.parameters()).detach() for layer in net.module.layers)
        assert 0.19 < float(first.abs().max()) <= 0.2
        assert 0.24 < float(second.abs().max()) <= 0.25
        assert float(net.module.decoder.weight.detach().abs().max()) <= 0.1


@pytest.mark.parametrize("space", [ENAS_RNN.small, NASBENCH_NLP.small], ids=["enas", "nlp"])
def test_proxies_of_sequences(space):
    arch = space.parse(ROWS[0][0]) if space.name == "nasbench_nlp" else space.parse(PUBLISHED)
    batch, _ = zeroshot.load_batch(batch_size=4, task=space.task)
    wanted = ("params", "flops", "grad_norm", "snip", "zico", "naswot", "az_expressivity")
    proxies = tuple(proxy for proxy in PROXIES if proxy.name in wanted)
    scores = zeroshot.evaluate(space.network(arch), batch, proxies)
    assert len(scores) == len(wanted)
    assert not scores.reasons
    assert scores["params"] == space.cost(arch).params


@pytest.mark.parametrize(
    ("space", "field"),
    [(EnasRnn, "nodes"), (EnasRnn, "vocabulary"), (NasBenchNlp, "layers"), (NasBenchNlp, "steps")],
)
def test_refuses_shapes(space, field):
    with pytest.raises(ZeroshotError, match=f"{field} 0: {space.name} needs at least 1"):
        space(**{field: 0})
