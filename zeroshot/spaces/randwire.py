"""RandWire: stages wired at random, by the generators of Erdős-Rényi, Barabási and Watts."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import product
from typing import NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from zeroshot.core import Cost
from zeroshot.errors import ZeroshotError, cut
from zeroshot.spaces.space import Arch, Axis, Space, Task

# What each node reads: earlier nodes. One that reads none reads what comes into the stage.
Graph = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class RandWire(Space):
    """Networks whose stages are random graphs: an axis for the generator, one for its seed.

    A node sums what it reads, with a weight between 0 and 1 for each edge, and applies ReLU, a
    separable 3×3 convolution and batch norm. Edges lead from lower to higher node numbers: along
    the ring of Watts and Strogatz, WS(k,p); in the order in which Barabási and Albert add nodes,
    BA(m); in any order for Erdős and Rényi, ER(p). Nodes that read none read the stage's input with
    stride 2; those that none reads are averaged to its output. Graphs are drawn by networkx until
    one is connected, for every stage another from the same seed; two seeds may draw the same.

    Parameters and multiply-adds are those of the network that is meant, of full width and on images
    of `resolution` pixels; what is built to rank it may be narrower and is shown smaller images.
    Over its first 20 seeds WS(4,0.75) has 5.62 M parameters and 579 M multiply-adds on average;
    published are 5.6 M and 583 M. In the regular regime it has 32.1 M and 3.98 G with 109 channels
    (published 31.9 M, 4.0 G), 61.8 M and 7.83 G with 154 (61.5 M, 7.9 G).
    Edge weights start at 1/2; a node with one edge has none. Left out are dropout and DropPath.

    Attributes:
        channels: C of the paper.
        nodes: of a stage; half as many in the first stage of the regular regime.
        regime: 'small', three random stages behind two convolutions, or 'regular', four behind one.
        er: options of p, the probability of an edge.
        ba: options of m, the edges of a node that is added.
        ws: options of k, the neighbours along the ring, an even number.
        rewired: options of p, the probability with which Watts and Strogatz rewire an edge.
        seeds: number of options of the seed.
        resolution: size of the images that the cost is counted for.
        images: size of the images that the networks are shown by default.
        narrow: multiplies the channels of what is built, not of what is counted.
    """

    channels: int = 78
    nodes: int = 32
    regime: str = "small"
    er: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8)
    ba: tuple[int, ...] = (1, 3, 5, 7)
    ws: tuple[int, ...] = (2, 4, 6, 8)
    rewired: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    seeds: int = 1000
    resolution: int = 224
    images: int = 64
    narrow: float = 1.0

    name = "randwire"
    source = "arXiv:1904.01569"
    channels_last = True

    def __post_init__(self) -> None:
        for field in ("resolution", "images", "narrow"):
            if getattr(self, field) <= 0:
                raise ZeroshotError(
                    f"{field} {getattr(self, field)}: randwire needs a positive number"
                )
        for field, least in (("channels", 2), ("nodes", 4), ("seeds", 1)):
            if getattr(self, field) < least:
                raise ZeroshotError(
                    f"{field} {getattr(self, field)}: randwire needs at least {least}"
                )
        if self.regime not in ("small", "regular"):
            raise ZeroshotError(f"regime {self.regime!r}: randwire has small and regular")
        least = self.nodes // 2 if self.regime == "regular" else self.nodes
        for field, good, expected in (
            ("er", lambda p: 0 < p <= 1, "probabilities above 0"),
            ("ba", lambda m: 1 <= m < least, f"numbers from 1 to {least - 1}"),
            ("ws", lambda k: 2 <= k < least and k % 2 == 0, f"even numbers from 2 to {least - 1}"),
            ("rewired", lambda p: 0 <= p <= 1, "probabilities"),
        ):
            options = getattr(self, field)
            if not all(map(good, options)) or len(set(options)) < len(options):
                raise ZeroshotError(f"{field} {options}: randwire expects different {expected}")
        if len(self.axes[0].options) * self.seeds < 2:
            raise ZeroshotError("randwire needs at least two combinations of generator and seed")

    @property
    def axes(self) -> tuple[Axis, ...]:  # type: ignore[override]
        """The generator with its parameters, and the seed."""
        return _axes(self.er, self.ba, self.ws, self.rewired, self.seeds)

    @property
    def task(self) -> Task:  # type: ignore[override]
        """ImageNet's classes, on smaller images."""
        return Task(size=self.images, classes=1000)

    @property
    def small(self) -> "RandWire":
        """Networks a quarter as wide."""
        return replace(self, narrow=self.narrow / 4)

    # -- notation ------------------------------------------------------------------------------

    def spell(self, arch: Arch) -> str:
        """The generator as the paper writes it, then the seed, as in WS(4,0.75)/17."""
        return "/".join(
            axis.options[gene] for axis, gene in zip(self.axes, arch.genes, strict=True)
        )

    def parse_native(self, text: str) -> Arch:
        """Read that, with or without blanks and with the seed 0 if there is none."""

        def wrong(expected: str) -> NoReturn:
            shown = cut(text)
            raise ZeroshotError(f"{shown!r} is no randwire architecture: expected {expected}")

        short = re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):g}", re.sub(r"\s", "", text))
        found = re.fullmatch(r"([A-Z]+\([\d.,]+\))(?:/(\d+))?", short, re.ASCII)
        generators, seeds = (axis.options for axis in self.axes)
        if not found or found[1] not in generators:
            wrong(f"one of {', '.join(generators)}, and a seed as in {generators[0]}/3")
        seed = found[2] or "0"
        if seed not in seeds:
            wrong(f"a seed from 0 to {self.seeds - 1}, found {seed[:20]}")
        return self.arch(generators.index(found[1]), seeds.index(seed))

    # -- what an architecture is ---------------------------------------------------------------

    def graphs(self, arch: Arch) -> tuple[Graph, ...]:
        """The graph of every stage: what each node reads, sorted."""
        generator, seed = arch.genes
        stages = self._stages(1)
        return tuple(
            _graph(self.axes[0].options[generator], stage.nodes, seed * len(stages) + number)
            for number, stage in enumerate(stages)
        )

    def cost(self, arch: Arch, task: Task | None = None) -> Cost:
        """Parameters, multiply-adds and weight tensors, for images of `resolution` pixels."""
        task = task or self.task
        stem, stages = self._stem(1), self._stages(1)
        size, inward = self.resolution, task.channels
        params = macs = tensors = 0
        for width in stem:
            size = (size + 1) // 2
            weights = 9 * inward * width
            params, macs, tensors = (
                params + weights + 2 * width,
                macs + weights * size**2,
                tensors + 1,
            )
            inward = width
        for graph, stage in zip(self.graphs(arch), stages, strict=True):
            size = (size + 1) // 2
            for reads in graph:
                before = stage.width if reads else inward
                weights = 9 * before + before * stage.width
                params += weights + 2 * stage.width + (len(reads) if len(reads) > 1 else 0)
                macs += weights * size**2
                tensors += 2
            inward = stage.width
        weights = inward * LAST
        params += weights + 2 * LAST + (LAST + 1) * task.classes
        return Cost(params, macs + weights * size**2 + LAST * task.classes, tensors + 2)

    # -- networks ------------------------------------------------------------------------------

    def build(self, arch: Arch, task: Task) -> nn.Module:
        """The network, for images of any size."""
        last = max(round(LAST * self.narrow), 1)
        wired = zip(self.graphs(arch), self._stages(self.narrow), strict=True)
        return _Network(self._stem(self.narrow), list(wired), last, task)

    def blocks(self, module: nn.Module) -> tuple[str, ...]:
        """The stem's convolutions and the stages."""
        assert isinstance(module, _Network)
        return tuple(f"body.{i}" for i in range(len(module.body)))

    def _stem(self, narrow: float | int) -> list[int]:
        """The channels of the first convolutions."""
        widths = [self.channels // 2, self.channels][: 2 if self.regime == "small" else 1]
        return [max(round(width * narrow), 1) for width in widths]

    def _stages(self, narrow: float | int) -> list["_Stage"]:
        """The random stages in numbers."""
        nodes = [self.nodes] * 3
        if self.regime == "regular":
            nodes.insert(0, self.nodes // 2)
        return [
            _Stage(count, max(round(self.channels * 2**number * narrow), 1))
            for number, count in enumerate(nodes)
        ]


LAST = 1280  # channels before the classifier


class _Stage(NamedTuple):
    nodes: int
    width: int


@cache
def _axes(
    er: tuple[float, ...],
    ba: tuple[int, ...],
    ws: tuple[int, ...],
    rewired: tuple[float, ...],
    seeds: int,
) -> tuple[Axis, ...]:
    generators = (
        *(f"ER({p:g})" for p in er),
        *(f"BA({m})" for m in ba),
        *(f"WS({k},{p:g})" for k, p in product(ws, rewired)),
    )
    return Axis("generator", generators), Axis("seed", tuple(map(str, range(seeds))))


@lru_cache(maxsize=4096)
def _graph(generator: str, nodes: int, seed: int) -> Graph:
    """The first connected graph that a generator draws."""
    import networkx

    chance = random.Random(seed)
    kind, numbers = generator[:2], generator[3:-1].split(",")

    def drawn() -> Iterator["networkx.Graph"]:
        while True:
            if kind == "ER":
                yield networkx.gnp_random_graph(nodes, float(numbers[0]), seed=chance)
            elif kind == "BA":
                yield networkx.barabasi_albert_graph(nodes, int(numbers[0]), seed=chance)
            else:
                k, p = int(numbers[0]), float(numbers[1])
                yield networkx.watts_strogatz_graph(nodes, k, p, seed=chance)

    graph = next(graph for graph in drawn() if networkx.is_connected(graph))
    return tuple(tuple(sorted(n for n in graph[node] if n < node)) for node in range(nodes))


# -- networks ------------------------------------------------------------------------------------


class _Node(nn.Module):
    """A weighted sum, ReLU, a separable 3×3 convolution, batch norm."""

    def __init__(self, edges: int, inward: int, outward: int, stride: int) -> None:
        super().__init__()
        self.edges = nn.Parameter(torch.zeros(edges)) if edges > 1 else None
        self.transform = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(inward, inward, 3, stride, padding=1, groups=inward, bias=False),
            nn.Conv2d(inward, outward, 1, bias=False),
            nn.BatchNorm2d(outward),
        )

    def forward(self, inputs: list[Tensor]) -> Tensor:
        if self.edges is None:
            return self.transform(inputs[0])
        weights = self.edges.sigmoid()
        return self.transform(sum(w * part for w, part in zip(weights, inputs, strict=True)))


class _Wired(nn.Module):
    """A stage: half the size."""

    def __init__(self, graph: Graph, inward: int, outward: int) -> None:
        super().__init__()
        self.graph = graph
        read = {source for reads in graph for source in reads}
        self.ends = [node for node in range(len(graph)) if node not in read]
        self.nodes = nn.ModuleList(
            _Node(len(reads), outward if reads else inward, outward, 1 if reads else 2)
            for reads in graph
        )

    def forward(self, inputs: Tensor) -> Tensor:
        found: list[Tensor] = []
        for node, reads in zip(self.nodes, self.graph, strict=True):
            found.append(node([found[source] for source in reads] if reads else [inputs]))
        return torch.stack([found[end] for end in self.ends]).mean(0)


class _Network(nn.Module):
    def __init__(
        self, stem: list[int], stages: list[tuple[Graph, _Stage]], last: int, task: Task
    ) -> None:
        super().__init__()
        body: list[nn.Module] = []
        inward = task.channels
        for number, width in enumerate(stem):
            relu = [nn.ReLU()] if number else []  # the first convolution sees the image itself
            conv = nn.Conv2d(inward, width, 3, stride=2, padding=1, bias=False)
            body.append(nn.Sequential(*relu, conv, nn.BatchNorm2d(width)))
            inward = width
        for graph, stage in stages:
            body.append(_Wired(graph, inward, stage.width))
            inward = stage.width
        self.body = nn.Sequential(*body)
        self.head = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(inward, last, 1, bias=False),
            nn.BatchNorm2d(last),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(last, task.classes),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.body(inputs))
