"""AutoFormer: vision transformers of a hidden size and depth, each layer with MLP and heads."""

import json
import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from zeroshot.core import Cost
from zeroshot.errors import ZeroshotError, cut
from zeroshot.spaces.space import Arch, Axis, Space, Task

REACH = 14  # relative positions further away than that, in patches, are as if they were at that


@dataclass(frozen=True)
class AutoFormer(Space):
    """Patches and a class token, encoder layers, layer norm, mean over the patches, classifier.

    Encoder layers are pre-norm; heads have 64 channels each, whatever the hidden size, and see
    relative positions. By default the space is AutoFormer-Tiny; 'small' and 'base' differ in the
    options only: hidden=(320, 384, 448), ratios=(3, 3.5, 4), heads=(5, 6, 7) and
    hidden=(528, 576, 624), ratios=(3, 3.5, 4), heads=(8, 9, 10), depths=(14, 15, 16).

    Every layer that there can be has its axes, so that the space is a product. Its size counts
    those labelled points: 2,415,919,104 in AutoFormer-Tiny. Choices for layers beyond the depth
    mean nothing; `canonical` makes 1,056,964,608 different networks of the points.

    Parameters and multiply-adds are those of the network that is meant, of full width and on images
    of `resolution` pixels. What is built to rank it may be narrower and is shown smaller images.
    The published 5.7 M parameters of the network found in AutoFormer-Tiny leave out its tables of
    relative positions, which add 7,680 per layer.

    Weights are drawn as the authors do: truncated normal of deviation 0.02, biases zero. Left out
    are dropout and stochastic depth, which only matter in training.

    Attributes:
        hidden: options of the hidden size.
        depths: options of the number of layers, in ascending order.
        ratios: options of a layer's MLP: its width divided by the hidden size.
        heads: options of a layer's number of heads.
        head_dim: channels of a head.
        patch: pixels along the side of a patch.
        relative_position: whether attention sees how far patches lie apart.
        resolution: size of the images that the cost is counted for.
        images: size of the images that the networks are shown by default.
        narrow: multiplies hidden size and head_dim of what is built, not of what is counted.
    """

    hidden: tuple[int, ...] = (192, 216, 240)
    depths: tuple[int, ...] = (12, 13, 14)
    ratios: tuple[float | int, ...] = (3.5, 4.0)
    heads: tuple[int, ...] = (3, 4)
    head_dim: int = 64
    patch: int = 16
    relative_position: bool = True
    resolution: int = 224
    images: int = 64
    narrow: float = 1.0

    name = "autoformer"
    source = "arXiv:2107.00651"

    def __post_init__(self) -> None:
        for field in ("head_dim", "patch", "resolution", "images", "narrow"):
            if getattr(self, field) <= 0:
                raise ZeroshotError(
                    f"{field} {getattr(self, field)}: autoformer needs a positive number"
                )
        for field in ("hidden", "depths", "ratios", "heads"):
            options = getattr(self, field)
            if not options or min(options) <= 0 or len(set(options)) < len(options):
                raise ZeroshotError(
                    f"{field} {options}: autoformer needs different positive numbers to choose from"
                )

    @property
    def axes(self) -> tuple[Axis, ...]:  # type: ignore[override]
        """Hidden size and depth, then MLP ratio and heads of each layer."""
        return _axes(self.hidden, self.depths, self.ratios, self.heads)

    @property
    def task(self) -> Task:  # type: ignore[override]
        """ImageNet's classes, on smaller images."""
        return Task(size=self.images, classes=1000)

    @property
    def small(self) -> "AutoFormer":
        """Networks a quarter as wide."""
        return replace(self, narrow=self.narrow / 4)

    # -- notation ------------------------------------------------------------------------------

    def spell(self, arch: Arch) -> str:
        """Hidden size, then ratio m and heads n of each layer, as in h192/m3.5n3/m4n4/….

        Choices for absent layers follow in parentheses if one is not the first.
        """
        hidden, _, *layers = (
            axis.options[gene] for axis, gene in zip(self.axes, arch.genes, strict=True)
        )
        words = [f"m{m}n{n}" for m, n in zip(layers[::2], layers[1::2], strict=True)]
        depth = self._depth(arch)
        absent = [f"({word})" for word in words[depth:]] if any(arch.genes[2 + 2 * depth :]) else []
        return "/".join((f"h{hidden}", *words[:depth], *absent))

    def parse_native(self, text: str) -> Arch:
        """Read that, or the JSON of ViT-Bench-101.

        The latter is '{"hidden_dim": 192, "mlp_ratio": [3.5, …], "depth": 12, "num_heads": [3, …]}'
        with lists as long as the depth. Absent layers that are not mentioned take the first
        options.
        """
        absent: list[tuple[str, str]] = []
        if text.startswith("{"):
            hidden, layers = self._read_json(text)
        else:
            first, *words = text.split("/")
            found = [_LAYER.fullmatch(word) for word in words]
            if not (first[:1] == "h" and words) or None in found:
                self._wrong(text, "something like 'h192/m3.5n3/m4n4/…', or JSON")
            hidden = first[1:]
            parts = [match for match in found if match]
            layers = [(match["m"], match["n"]) for match in parts if not match["absent"]]
            absent = [(match["m"], match["n"]) for match in parts if match["absent"]]
            marks = [bool(match["absent"]) for match in parts]
            if marks != sorted(marks):
                self._wrong(text, "absent layers, in parentheses, at the end")
        longest = (len(self.axes) - 2) // 2
        if absent and len(layers) + len(absent) != longest:
            self._wrong(text, f"{longest} layers in all, if absent ones are mentioned")
        firsts = [(self.axes[2].options[0], self.axes[3].options[0])] * longest
        chosen = (*layers, *absent, *firsts[len(layers) + len(absent) :])
        values = [hidden, str(len(layers)), *(value for layer in chosen for value in layer)]
        genes = []
        for axis, value in zip(self.axes, values, strict=False):
            if value not in axis.options:
                self._wrong(text, f"{axis.name} {' or '.join(axis.options)}, found {value[:40]}")
            genes.append(axis.options.index(value))
        return self.arch(*genes)

    def _read_json(self, text: str) -> tuple[str, list[tuple[str, str]]]:
        """Hidden size, and ratio and heads of each layer."""
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            self._wrong(text, "JSON that is whole")
        keys = ("hidden_dim", "mlp_ratio", "depth", "num_heads")
        if not isinstance(found, dict) or set(found) != set(keys):
            self._wrong(text, f"JSON with {', '.join(keys)}")
        lists = [found["mlp_ratio"], found["num_heads"]]
        if not all(isinstance(part, list) and len(part) == found["depth"] for part in lists):
            self._wrong(text, "lists mlp_ratio and num_heads that are as long as the depth")
        layers = [(_number(m), _number(n)) for m, n in zip(*lists, strict=True)]
        return _number(found["hidden_dim"]), layers

    @staticmethod
    def _wrong(text: str, expected: str) -> NoReturn:
        shown = cut(text)
        raise ZeroshotError(f"{shown!r} is no autoformer architecture: expected {expected}")

    # -- what an architecture is ---------------------------------------------------------------

    def canonical(self, arch: Arch) -> Arch:
        """Absent layers take the first options."""
        present = 2 + 2 * self._depth(arch)
        return self.arch(*arch.genes[:present], *(0,) * (len(self.axes) - present))

    def cost(self, arch: Arch, task: Task | None = None) -> Cost:
        """Parameters, multiply-adds and weight tensors, for images of `resolution` pixels."""
        task = task or self.task
        width, head_dim, layers = self._plan(arch, 1)
        patches = self._patches(self.resolution)
        tokens = patches + 1
        distances = 2 * (2 * REACH + 2) if self.relative_position else 0
        embedding = task.channels * self.patch**2 * width
        params = embedding + width + (tokens + 1) * width
        macs = embedding * patches
        for ratio, heads in layers:
            inner, within = heads * head_dim, int(width * ratio)
            weights = 4 * width * inner + 2 * width * within
            params += weights + 3 * inner + within + 6 * width  # biases, and two layer norms
            params += 2 * distances * head_dim
            macs += weights * tokens + 2 * tokens**2 * inner + 2 * tokens * distances * inner
        params += 2 * width + (width + 1) * task.classes
        return Cost(params, macs + width * task.classes, 4 * len(layers) + 2)

    # -- networks ------------------------------------------------------------------------------

    def build(self, arch: Arch, task: Task) -> nn.Module:
        """The network; ZeroshotError for images that are not cut into whole patches."""
        return _Network(self, arch, task)

    def blocks(self, module: nn.Module) -> tuple[str, ...]:
        """The encoder layers."""
        assert isinstance(module, _Network)
        return tuple(f"layers.{i}" for i in range(len(module.layers)))

    def _depth(self, arch: Arch) -> int:
        return self.depths[arch.genes[1]]

    def _plan(
        self, arch: Arch, narrow: float | int
    ) -> tuple[int, int, list[tuple[float | int, int]]]:
        """Hidden size, channels of a head, and ratio and heads of each layer."""
        genes = arch.genes[2 : 2 + 2 * self._depth(arch)]
        pairs = zip(genes[::2], genes[1::2], strict=True)
        layers = [(self.ratios[ratio], self.heads[heads]) for ratio, heads in pairs]
        hidden = self.hidden[arch.genes[0]]
        width, head_dim = (max(round(size * narrow), 1) for size in (hidden, self.head_dim))
        return width, head_dim, layers

    def _patches(self, size: int) -> int:
        if size % self.patch:
            raise ZeroshotError(
                f"images of {size} pixels: autoformer cuts them into patches of {self.patch}; "
                "expected a multiple of that"
            )
        return (size // self.patch) ** 2


_LAYER = re.compile(r"(?P<absent>\()?m(?P<m>[\d.]+)n(?P<n>\d+)(?(absent)\))", re.ASCII)


@cache
def _axes(
    hidden: tuple[int, ...],
    depths: tuple[int, ...],
    ratios: tuple[float | int, ...],
    heads: tuple[int, ...],
) -> tuple[Axis, ...]:
    named: list[tuple[str, tuple[Any, ...]]] = [("hidden_dim", hidden), ("depth", depths)]
    for layer in range(1, max(depths) + 1):
        named += [(f"layer {layer} mlp_ratio", ratios), (f"layer {layer} num_heads", heads)]
    return tuple(Axis(name, tuple(map(_number, options))) for name, options in named)


def _number(value: Any) -> str:
    """A number as the axes write it: 4.0 as 4. What is none, as it is."""
    return f"{value:g}" if isinstance(value, float) else repr(value)


# -- networks ------------------------------------------------------------------------------------


class _Distances(nn.Module):
    """A learned vector for each distance between patches, along rows and along columns.

    `distances`, of shape (2, tokens, tokens), says which of the vectors belongs to two tokens.
    """

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.tables = nn.Parameter(torch.empty(2, 2 * REACH + 2, head_dim))
        nn.init.trunc_normal_(self.tables, std=0.02)

    def scores(self, queries: Tensor, distances: Tensor) -> Tensor:
        """Products of each query with the vectors of its distances to all tokens."""
        products = queries @ self.tables[:, None, None].transpose(3, 4)
        index = distances[:, None, None].expand(*products.shape[:-1], -1)
        return products.gather(4, index).sum(0)

    def mean(self, weights: Tensor, distances: Tensor) -> Tensor:
        """The vectors of each token's distances to all tokens, by the weights of these."""
        index = distances[:, None, None].expand(2, *weights.shape)
        empty = weights.new_zeros(*index.shape[:-1], self.tables.shape[1])
        shares = empty.scatter_add(4, index, weights.expand_as(index))
        return (shares @ self.tables[:, None, None]).sum(0)


class _Attention(nn.Module):
    """Heads of a fixed size, with relative positions for keys and for values (arXiv:1803.02155)."""

    def __init__(self, width: int, heads: int, head_dim: int, *, relative: bool) -> None:
        super().__init__()
        self.heads, self.scale = heads, head_dim**-0.5
        self.qkv = nn.Linear(width, 3 * heads * head_dim)
        self.keys = _Distances(head_dim) if relative else None
        self.values = _Distances(head_dim) if relative else None
        self.proj = nn.Linear(heads * head_dim, width)

    def forward(self, inputs: Tensor, distances: Tensor) -> Tensor:
        queries, keys, values = self.qkv(inputs).unflatten(2, (3, self.heads, -1)).unbind(2)
        queries, keys, values = (part.transpose(1, 2) for part in (queries, keys, values))
        scores = queries @ keys.transpose(2, 3)
        if self.keys is not None:
            scores = scores + self.keys.scores(queries, distances)
        weights = (scores * self.scale).softmax(3)
        found = weights @ values
        if self.values is not None:
            found = found + self.values.mean(weights, distances)
        return self.proj(found.transpose(1, 2).flatten(2))


class _Layer(nn.Module):
    """Attention and MLP, each behind a layer norm and beside a shortcut."""

    def __init__(self, width: int, attention: _Attention, within: int) -> None:
        super().__init__()
        self.first_norm, self.attention = nn.LayerNorm(width), attention
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, within), nn.GELU(), nn.Linear(within, width)
        )

    def forward(self, inputs: Tensor, distances: Tensor) -> Tensor:
        attended = inputs + self.attention(self.first_norm(inputs), distances)
        return attended + self.mlp(attended)


class _Network(nn.Module):
    def __init__(self, space: AutoFormer, arch: Arch, task: Task) -> None:
        super().__init__()
        width, head_dim, layers = space._plan(arch, space.narrow)
        patches = space._patches(task.size)
        self.patches = nn.Conv2d(task.channels, width, space.patch, space.patch)
        self.class_token = nn.Parameter(torch.empty(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, patches + 1, width))
        self.register_buffer("distances", _distances(task.size // space.patch))
        self.layers = nn.ModuleList(
            _Layer(
                width,
                _Attention(width, heads, head_dim, relative=space.relative_position),
                int(width * ratio),
            )
            for ratio, heads in layers
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, task.classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for parameter in (self.class_token, self.positions):
            nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, inputs: Tensor) -> Tensor:
        patches = self.patches(inputs).flatten(2).transpose(1, 2)
        # `len` would be a plain number to an exporter, and fix how many images there are.
        first = self.class_token.expand(patches.shape[0], -1, -1)
        tokens = torch.cat([first, patches], dim=1)
        tokens = tokens + self.positions
        for layer in self.layers:
            tokens = layer(tokens, self.distances)
        return self.head(self.norm(tokens)[:, 1:].mean(1))


def _distances(side: int) -> Tensor:
    """Along rows and columns, from 1 to 2 · REACH + 1; to and from the class token they are 0."""
    place = torch.arange(side**2)
    found = []
    for position in (place // side, place % side):
        steps = (position[None] - position[:, None]).clamp(-REACH, REACH) + REACH + 1
        found.append(nn.functional.pad(steps, (1, 0, 1, 0)))
    return torch.stack(found)
