"""Recurrent cells of language models: those of ENAS, and the recipes of NAS-Bench-NLP."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from hashlib import md5
from itertools import permutations
from typing import Any, NamedTuple, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zeroshot.core import Cost
from zeroshot.errors import Undefined, ZeroshotError, cut
from zeroshot.spaces.space import Arch, Axis, Space, Task


@dataclass(frozen=True)
class NextToken(Task):
    """Sequences of `size` tokens, of `classes` different ones, to the token that follows each.

    Networks answer logits, (n, size, classes). Tokens without data are drawn uniformly, and what
    follows as well. The loss of a sample is the mean cross-entropy of its tokens, in nats:
    the logarithm of the perplexity.
    """

    channels: int = 1  # a token is one number

    def inputs(self, count: int, generator: torch.Generator) -> Tensor:
        """Tokens, (count, size)."""
        return torch.randint(self.classes, (count, self.size), generator=generator)

    def targets(self, count: int, generator: torch.Generator) -> Tensor:
        """The tokens that follow, (count, size)."""
        return self.inputs(count, generator)

    def loss(self, answers: Tensor, targets: Tensor) -> Tensor:  # type: ignore[override]
        """Mean cross-entropy of each sequence, (n,); Undefined for answers of another shape."""
        if answers.ndim != 3 or answers.shape[:2] != targets.shape:
            raise Undefined(
                f"answers of shape {tuple(answers.shape)} are no logits for each of "
                f"{tuple(targets.shape)} tokens"
            )
        return F.cross_entropy(answers.mT, targets, reduction="none").mean(1)


# -- ENAS ----------------------------------------------------------------------------------------

FUNCTIONS = ("tanh", "relu", "identity", "sigmoid")  # as ENAS numbers them
_MODULES: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
}


@dataclass(frozen=True)
class EnasRnn(Space):
    """Recurrent cells of ENAS: a tree of gated layers, whose leaves are averaged.

    The first node reads token and state, every other node one node before it: its input s becomes
    s + c · (f(W s) − s), where c = σ(W′ s) and f is one of tanh, ReLU, identity and sigmoid. The
    mean of all nodes that no other reads is the new state and the output. Around it lie an
    embedding and a classifier, which share their weights. There are no biases.

    The published network (12 nodes, width 748) has 22.0 M parameters as the authors' script sets
    it up; the paper states 24 M. Weights are drawn uniformly from ±0.04, ±0.1 in narrow networks,
    as the authors do. Left out are dropout and, in the search, batch norm.

    Attributes:
        nodes: of the cell.
        width: of embedding and state.
        layers: cells on top of each other.
        steps: tokens of the sequences that networks are shown by default.
        vocabulary: number of different tokens by default.
    """

    nodes: int = 12
    width: int = 748
    layers: int = 1
    steps: int = 35
    vocabulary: int = 10_000

    name = "enas_rnn"
    source = "arXiv:1802.03268"

    def __post_init__(self) -> None:
        _check(self, "nodes", "width", "layers", "steps", "vocabulary")

    @property
    def axes(self) -> tuple[Axis, ...]:  # type: ignore[override]
        """The function of the first node, then input and function of each."""
        return _enas_axes(self.nodes)

    @property
    def task(self) -> Task:  # type: ignore[override]
        """Penn Treebank's number of words, on shorter sequences than texts are."""
        return NextToken(size=self.steps, classes=self.vocabulary)

    @property
    def small(self) -> "EnasRnn":
        """48 channels, 8 tokens of 500."""
        return replace(self, width=48, steps=8, vocabulary=500)

    def spell(self, arch: Arch) -> str:
        """The authors' sequence: function of the first node, then input and function of each."""
        return " ".join(map(str, arch.genes))

    def parse_native(self, text: str) -> Arch:
        """Read that sequence."""
        words = text.split()
        if len(words) != len(self.axes) or not all(
            word.isdecimal() and len(word) < 9 for word in words
        ):
            shown = cut(text)
            raise ZeroshotError(
                f"{shown!r} is no enas_rnn architecture: expected {len(self.axes)} numbers, the "
                f"function of the first node, then input and function of each of {self.nodes - 1}"
            )
        return self.arch(*map(int, words))

    def canonical(self, arch: Arch) -> Arch:
        """The tree in one order: node before its readers, equal functions and subtrees together."""
        functions, readers = _tree(arch.genes)
        codes: dict[int, Any] = {}
        for node in reversed(range(self.nodes)):
            codes[node] = (functions[node], *sorted(codes[reader] for reader in readers[node]))
        genes: list[int] = []

        def visit(node: int, source: int) -> None:
            number = (len(genes) + 1) // 2
            genes.extend((source, functions[node]))
            if number == 0:
                del genes[0]  # the first reads no node
            for reader in sorted(readers[node], key=codes.__getitem__):
                visit(reader, number)

        visit(0, 0)
        return self.arch(*genes)

    def cost(self, arch: Arch, task: Task | None = None) -> Cost:
        """Parameters, multiply-adds of a whole sequence, and weight tensors."""
        task = task or self.task
        cell = 2 * self.width**2 * (self.nodes + 1)
        words = self.width * task.classes
        macs = (self.layers * cell + words) * task.size
        return Cost(self.layers * cell + words, macs, self.layers * self.nodes + 1)

    def build(self, arch: Arch, task: Task) -> nn.Module:
        """The network, from tokens (n, size) to logits (n, size, classes)."""
        layers = [
            _Unrolled(_EnasCell(arch.genes, self.width), self.width, 1) for _ in range(self.layers)
        ]
        network = _LanguageModel(layers, self.width, task.classes, bias=False)
        bound = 0.1 if self.width <= 300 else 0.05 if self.width <= 400 else 0.04
        for parameter in network.parameters():
            nn.init.uniform_(parameter, -bound, bound)
        return network

    def blocks(self, module: nn.Module) -> tuple[str, ...]:
        """The layers."""
        return tuple(f"layers.{i}" for i in range(self.layers))


def _check(space: Space, *fields: str) -> None:
    for field in fields:
        if getattr(space, field) < 1:
            raise ZeroshotError(f"{field} {getattr(space, field)}: {space.name} needs at least 1")


@cache
def _enas_axes(nodes: int) -> tuple[Axis, ...]:
    later = (
        axis
        for node in range(1, nodes)
        for axis in (
            Axis(f"node {node} input", tuple(map(str, range(node)))),
            Axis(f"node {node} function", FUNCTIONS),
        )
    )
    return Axis("node 0 function", FUNCTIONS), *later


def _tree(genes: tuple[int, ...]) -> tuple[tuple[int, ...], list[list[int]]]:
    """The function of every node, and the nodes that read it."""
    readers: list[list[int]] = [[] for _ in genes[::2]]
    for node, source in enumerate(genes[1::2], start=1):
        readers[source].append(node)
    return genes[::2], readers


class _EnasCell(nn.Module):
    def __init__(self, genes: tuple[int, ...], width: int) -> None:
        super().__init__()
        functions, readers = _tree(genes)
        self.sources = genes[1::2]
        self.leaves = [node for node, reading in enumerate(readers) if not reading]
        self.weights = nn.ModuleList(
            nn.Linear(width if node else 2 * width, 2 * width, bias=False)
            for node in range(len(functions))
        )
        self.functions = nn.ModuleList(_MODULES[FUNCTIONS[f]]() for f in functions)
        self.gates = nn.ModuleList(nn.Sigmoid() for _ in functions)

    def forward(self, token: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        nodes: list[Tensor] = []
        before, shown = states[0], torch.cat([token, states[0]], dim=1)
        parts = zip(self.weights, self.functions, self.gates, strict=True)
        for number, (weight, function, gate) in enumerate(parts):
            if number:
                before = shown = nodes[self.sources[number - 1]]
            found, opening = weight(shown).chunk(2, dim=1)
            nodes.append(before + gate(opening) * (function(found) - before))
        return (torch.stack([nodes[leaf] for leaf in self.leaves]).mean(0),)


# -- NAS-Bench-NLP -------------------------------------------------------------------------------

# Operations of recipes, and how many nodes each reads.
OPS = (
    ("linear", 2),
    ("linear", 3),
    ("blend", 3),
    ("elementwise_prod", 2),
    ("elementwise_sum", 2),
    ("activation_tanh", 1),
    ("activation_sigm", 1),
    ("activation_leaky_relu", 1),
)
STATES = 3
SOURCES = ("x", *(f"h_prev_{state}" for state in range(STATES)))  # what nodes read beside nodes
_ANY_ORDER = ("linear", "elementwise_prod", "elementwise_sum")


@dataclass(frozen=True)
class NasBenchNlp(Space):
    """Recipes of NAS-Bench-NLP: a graph of operations that makes up to three states anew.

    A recipe says of each node its operation and what it reads: the token x, the states before,
    h_prev_0 to h_prev_2, or other nodes. The new states are nodes as well, h_new_0 to h_new_2, and
    h_new_0 is the output. The axes are those of `nodes` nodes in order, each with an operation and
    three inputs of which it reads the first one, two or three, and which nodes the new states are.
    As x is of another width linear nodes alone read it; for others its option stands for h_prev_0.
    Nodes that do not reach the output, also through states, mean nothing. So every recipe of up to
    `nodes` nodes is a point of a product space, many times, as are cells that the benchmark's
    generator would not draw: with a node that reads another twice, or that never read x. Of points
    drawn uniformly 3 in 10 are `connected`; half of them have 4 to 9 nodes that mean something.

    Around the cells lie an embedding and a classifier, which share their weights; the last layer
    is as wide as the embedding. Parameters are those of the benchmark but for nodes that do not
    reach the output, which it counts: of 1,500 recipes drawn at random 1,406 are met exactly, and
    all if nothing is left out. Weights are drawn as the authors do. Left out is dropout.

    Attributes:
        nodes: of the cell, at most.
        layers: cells on top of each other.
        hidden: width of their states.
        embedding: width of the embedding.
        steps: tokens of the sequences that networks are shown by default.
        vocabulary: number of different tokens by default.
    """

    nodes: int = 24
    layers: int = 3
    hidden: int = 600
    embedding: int = 400
    steps: int = 35
    vocabulary: int = 10_000

    name = "nasbench_nlp"
    source = "arXiv:2006.07116"

    def __post_init__(self) -> None:
        _check(self, "nodes", "layers", "hidden", "embedding", "steps", "vocabulary")

    @property
    def axes(self) -> tuple[Axis, ...]:  # type: ignore[override]
        """Operation and three inputs of each node, then the nodes that are the new states."""
        return _recipe_axes(self.nodes)

    @property
    def task(self) -> Task:  # type: ignore[override]
        """Penn Treebank's number of words, on shorter sequences than texts are."""
        return NextToken(size=self.steps, classes=self.vocabulary)

    @property
    def small(self) -> "NasBenchNlp":
        """States of 48 channels, embeddings of 32, 8 tokens of 500."""
        return replace(self, hidden=48, embedding=32, steps=8, vocabulary=500)

    # -- notation ------------------------------------------------------------------------------

    def spell(self, arch: Arch) -> str:
        """The recipe as JSON: {"node_0": {"op": "linear", "input": ["x", "h_prev_0"]}, …}.

        Architectures that are not canonical are spelled by their options, for a recipe would not
        say what was chosen for nodes that mean nothing.
        """
        if self.canonical(arch) != arch:
            return super().spell(arch)
        cell = _cell(arch.genes, self.nodes)
        names = dict(enumerate(SOURCES))
        names |= {len(SOURCES) + node: f"node_{node}" for node in range(self.nodes)}
        names |= {cell.states[state]: f"h_new_{state}" for state in cell.live()[0]}
        recipe = {
            names[node]: {"op": OPS[op][0], "input": [names[source] for source in inputs]}
            for node, (op, inputs) in cell.chosen(cell.live()[1])
        }
        return json.dumps(recipe)

    def parse_native(self, text: str) -> Arch:
        """Read a recipe; the nodes may stand in any order."""

        def wrong(expected: str) -> NoReturn:
            shown = cut(text)
            raise ZeroshotError(f"{shown!r} is no nasbench_nlp architecture: expected {expected}")

        try:
            recipe = json.loads(text)
        except (ValueError, RecursionError):
            wrong('JSON such as {"h_new_0": {"op": "linear", "input": ["x", "h_prev_0"]}}')
        if not isinstance(recipe, dict) or "h_new_0" not in recipe:
            wrong("nodes by name, among them h_new_0")
        if len(recipe) > self.nodes:
            wrong(f"at most {self.nodes} nodes, found {len(recipe)}")
        made = [name for name in recipe if name.startswith("h_new_")]
        if sorted(made) != [f"h_new_{state}" for state in range(min(len(made), STATES))]:
            wrong(f"states h_new_0 to h_new_{STATES - 1}, without gaps; found {', '.join(made)}")
        known = ("x", *(name.replace("new", "prev") for name in made))
        nodes: dict[str, tuple[int, list[str]]] = {}
        for name, node in recipe.items():
            if name in known or not isinstance(node, dict) or set(node) != {"op", "input"}:
                wrong(f"of node {name[:40]!r} its op and input")
            inputs = node["input"]
            if not isinstance(inputs, list) or (node["op"], len(inputs)) not in OPS:
                listed = ", ".join(f"{op} of {count}" for op, count in OPS)
                wrong(f"as op and number of inputs of node {name[:40]!r} one of {listed}")
            for source in inputs:
                if source not in (*known, *recipe):
                    wrong(f"inputs of node {name[:40]!r} that there are, found {source!r:.40}")
                if source == "x" and node["op"] != "linear":
                    wrong(f"x, of another width, read by linear nodes only; {name[:40]} does so")
            nodes[name] = OPS.index((node["op"], len(inputs))), inputs
        order = _order(nodes, known)
        if order is None:
            wrong("no node that reads itself through others")
        numbers = {name: number for number, name in enumerate(SOURCES)}
        numbers |= {name: len(SOURCES) + place for place, name in enumerate(order)}
        parts = [(nodes[name][0], tuple(numbers[s] for s in nodes[name][1])) for name in order]
        states = (numbers[f"h_new_{state}"] for state in range(len(made)))
        cell = _Cell(tuple(parts), tuple(states))
        return self.canonical(self.arch(*_genes(cell, self.nodes)))

    # -- what an architecture is ---------------------------------------------------------------

    def canonical(self, arch: Arch) -> Arch:
        """The recipe without what does not reach the output, in one order of nodes and states.

        States that are the same node are one state. Nodes are ordered by what they compute, inputs
        too where their order means nothing. Not all that is equal is found: neither sums of sums,
        nor cells in which different nodes look the same from what they read.
        """
        cell = _cell(arch.genes, self.nodes).merged()
        kept, _ = cell.live()
        tried = (
            _genes(cell.renamed((0, *others)).tidied(), self.nodes)
            for others in permutations(kept[1:])
        )
        return self.arch(*min(tried))

    def connected(self, arch: Arch) -> bool:
        """Whether the output depends on the tokens; products with a state that stays 0 do not.

        Of 1,500 recipes drawn at random 24 are not connected. Those that could be trained ended at
        6.52 nats or more: at best they learned how frequent words are.
        """
        return _cell(arch.genes, self.nodes).depends()

    def cost(self, arch: Arch, task: Task | None = None) -> Cost:
        """Parameters, multiply-adds of a whole sequence, and weight tensors."""
        task = task or self.task
        cell = _cell(arch.genes, self.nodes).merged()
        linear = [
            inputs for _, (op, inputs) in cell.chosen(cell.live()[1]) if OPS[op][0] == "linear"
        ]
        weights = biases = 0
        for inward, hidden in self._widths():
            weights += sum(hidden * (inward if s == 0 else hidden) for read in linear for s in read)
            biases += hidden * len(linear)
        weights += self.embedding * task.classes
        return Cost(
            weights + biases + task.classes, weights * task.size, self.layers * len(linear) + 1
        )

    # -- networks ------------------------------------------------------------------------------

    def build(self, arch: Arch, task: Task) -> nn.Module:
        """The network, from tokens (n, size) to logits (n, size, classes)."""
        cell = _cell(arch.genes, self.nodes).merged()
        layers = []
        for inward, hidden in self._widths():
            layers.append(_Unrolled(_RecipeCell(cell, inward, hidden), hidden, STATES))
            for parameter in layers[-1].parameters():
                nn.init.uniform_(parameter, -(hidden**-0.5), hidden**-0.5)
        network = _LanguageModel(layers, self.embedding, task.classes, bias=True)
        nn.init.uniform_(network.decoder.weight, -0.1, 0.1)
        nn.init.zeros_(network.decoder.bias)
        return network

    def blocks(self, module: nn.Module) -> tuple[str, ...]:
        """The layers."""
        return tuple(f"layers.{i}" for i in range(self.layers))

    def _widths(self) -> list[tuple[int, int]]:
        """What every layer reads, and the width of its states."""
        inward = [self.embedding, *[self.hidden] * (self.layers - 1)]
        return list(zip(inward, [*inward[1:], self.embedding], strict=True))


@cache
def _recipe_axes(nodes: int) -> tuple[Axis, ...]:
    names = tuple(f"node_{node}" for node in range(nodes))
    ops = tuple(f"{op} of {count}" if op == "linear" else op for op, count in OPS)
    return (
        *(
            axis
            for node, name in enumerate(names)
            for axis in (
                Axis(f"{name} op", ops),
                *(Axis(f"{name} input {i}", (*SOURCES, *names[:node])) for i in (1, 2, 3)),
            )
        ),
        *(Axis(f"h_new_{state}", names) for state in range(STATES)),
    )


_Node = tuple[int, tuple[int, ...]]  # the number of its operation, and of what it reads


class _Cell(NamedTuple):
    """A recipe in which sources have numbers: those of `SOURCES`, then the nodes in order."""

    nodes: tuple[_Node, ...]
    states: tuple[int, ...]  # the sources that are the new states

    def chosen(self, sources: list[int]) -> Iterator[tuple[int, _Node]]:
        """Some nodes with their numbers."""
        return ((source, self.nodes[source - len(SOURCES)]) for source in sources)

    def live(self) -> tuple[list[int], list[int]]:
        """The states and the nodes that reach the output, in order."""
        found: set[int] = set()
        todo = [self.states[0]]
        while todo:
            source = todo.pop()
            if source == 0 or source in found:
                continue
            found.add(source)
            if source < len(SOURCES):
                todo.append(self.states[source - 1])
            else:
                todo += self.nodes[source - len(SOURCES)][1]
        states = {0, *(source - 1 for source in found if source < len(SOURCES))}
        return sorted(states), sorted(source for source in found if source >= len(SOURCES))

    def mapped(self, sources: dict[int, int], states: tuple[int, ...]) -> "_Cell":
        """The cell with other states and, where it read some sources, others instead."""
        nodes = ((op, tuple(sources.get(s, s) for s in inputs)) for op, inputs in self.nodes)
        return _Cell(tuple(nodes), states)

    def merged(self) -> "_Cell":
        """The cell that reads but one of the states that are the same node."""
        first = {1 + i: 1 + self.states.index(node) for i, node in enumerate(self.states)}
        return self.mapped(first, self.states)

    def renamed(self, states: tuple[int, ...]) -> "_Cell":
        """The cell with these states only, numbered from 0 in this order."""
        sources = {1 + state: 1 + number for number, state in enumerate(states)}
        return self.mapped(sources, tuple(self.states[state] for state in states))

    def tidied(self) -> "_Cell":
        """The nodes that reach the output, each behind what it reads, in an order of their own."""
        labels = dict(enumerate(SOURCES))
        inputs_of: dict[int, tuple[int, ...]] = {}
        for number, (op, inputs) in enumerate(self.nodes, start=len(SOURCES)):
            if OPS[op][0] in _ANY_ORDER:
                inputs = tuple(sorted(inputs, key=labels.__getitem__))
            inputs_of[number] = inputs
            labels[number] = md5(f"{op} {[labels[s] for s in inputs]}".encode()).hexdigest()
        moved = dict(enumerate(range(len(SOURCES))))
        nodes: list[_Node] = []

        def visit(source: int) -> int:
            if source not in moved:
                op, _ = self.nodes[source - len(SOURCES)]
                inputs = tuple(visit(s) for s in inputs_of[source])
                moved[source] = len(SOURCES) + len(nodes)
                nodes.append((op, inputs))
            return moved[source]

        states = tuple(visit(source) for source in self.states)
        return _Cell(tuple(nodes), states)

    def depends(self) -> bool:
        """Whether the output depends on x, when all states are 0 at first."""
        zero, moves = [False, *[True] * STATES], [True, *[False] * STATES]
        while True:
            now_zero, now_moves = zero[: len(SOURCES)], moves[: len(SOURCES)]
            for op, inputs in self.nodes:
                zeros, moving = [now_zero[s] for s in inputs], [now_moves[s] for s in inputs]
                name = OPS[op][0]
                if name == "blend":
                    same, gate = inputs[1] == inputs[2], moving[0]
                    is_zero = (zeros[0] or zeros[1]) and zeros[2]
                    turns = gate and not same and not all(zeros[1:])
                    now_moves.append(turns or (moving[1] and not zeros[0]) or moving[2])
                else:
                    is_zero = {
                        "linear": False,
                        "elementwise_prod": any(zeros),
                        "activation_sigm": False,
                    }.get(name, all(zeros))
                    vanishes = name == "elementwise_prod" and is_zero
                    now_moves.append(any(moving) and not vanishes)
                now_zero.append(is_zero)
            next_zero = [False, *(now_zero[s] for s in self.states)]
            next_moves = [True, *(now_moves[s] for s in self.states)]
            if (next_zero, next_moves) == (zero, moves):
                return next_moves[1]
            zero, moves = next_zero, next_moves


def _cell(genes: tuple[int, ...], nodes: int) -> _Cell:
    found: list[_Node] = []
    for node in range(nodes):
        number, *inputs = genes[4 * node :][:4]
        op, count = OPS[number]
        least = 0 if op == "linear" else 1  # x is as wide as the embedding, so for these alone
        found.append((number, tuple(max(source, least) for source in inputs[:count])))
    return _Cell(tuple(found), tuple(len(SOURCES) + node for node in genes[4 * nodes :]))


def _genes(cell: _Cell, nodes: int) -> tuple[int, ...]:
    """The options of a cell, the first where it says nothing."""
    parts = [(op, *inputs, *(0,) * (3 - len(inputs))) for op, inputs in cell.nodes]
    parts += [(0,) * 4] * (nodes - len(parts))
    states = [source - len(SOURCES) for source in cell.states]
    return *(gene for part in parts for gene in part), *states, *(0,) * (STATES - len(states))


def _order(nodes: dict[str, tuple[int, list[str]]], known: tuple[str, ...]) -> list[str] | None:
    """The names with each behind all that it reads; None where there is no such order."""
    placed, left = set(known), list(nodes)
    order: list[str] = []
    while left:
        ready = [name for name in left if placed.issuperset(nodes[name][1])]
        if not ready:
            return None
        order += ready
        placed.update(ready)
        left = [name for name in left if name not in placed]
    return order


class _RecipeCell(nn.Module):
    def __init__(self, cell: _Cell, inward: int, hidden: int) -> None:
        super().__init__()
        kept, sources = cell.live()
        self.states = [cell.states[state] if state in kept else None for state in range(STATES)]
        self.nodes = [(source, OPS[op][0], inputs) for source, (op, inputs) in cell.chosen(sources)]
        self.parts = nn.ModuleDict()
        for source, op, inputs in self.nodes:
            if op == "linear":
                widths = (inward if read == 0 else hidden for read in inputs)
                self.parts[str(source)] = nn.Linear(sum(widths), hidden)
            elif op.startswith("activation_"):
                function = op.removeprefix("activation_").replace("sigm", "sigmoid")
                self.parts[str(source)] = _MODULES[function]()

    def forward(self, token: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        found = dict(enumerate((token, *states)))
        for source, op, inputs in self.nodes:
            read = [found[number] for number in inputs]
            if op == "linear":
                found[source] = self.parts[str(source)](torch.cat(read, dim=1))
            elif op == "blend":
                found[source] = read[0] * read[1] + (1 - read[0]) * read[2]
            elif op == "elementwise_prod":
                found[source] = read[0] * read[1]
            elif op == "elementwise_sum":
                found[source] = read[0] + read[1]
            else:
                found[source] = self.parts[str(source)](read[0])
        return tuple(
            before if source is None else found[source]
            for before, source in zip(states, self.states, strict=True)
        )


# -- networks ------------------------------------------------------------------------------------


class _Unrolled(nn.Module):
    """A cell along a sequence, (n, size, channels); all states are 0 at first."""

    def __init__(self, cell: nn.Module, width: int, states: int) -> None:
        super().__init__()
        self.cell, self.width, self.states = cell, width, states

    def forward(self, sequence: Tensor) -> Tensor:
        states = (sequence.new_zeros(len(sequence), self.width),) * self.states
        outputs = []
        for token in sequence.unbind(1):
            states = self.cell(token, states)
            outputs.append(states[0])
        return torch.stack(outputs, dim=1)


class _LanguageModel(nn.Module):
    def __init__(self, layers: list[_Unrolled], width: int, vocabulary: int, *, bias: bool) -> None:
        super().__init__()
        # Before the embedding: what they share counts as the weight of a linear layer.
        self.decoder = nn.Linear(width, vocabulary, bias=bias)
        self.embedding = nn.Embedding(vocabulary, width)
        self.embedding.weight = self.decoder.weight
        self.layers = nn.Sequential(*layers)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decoder(self.layers(self.embedding(tokens)))
