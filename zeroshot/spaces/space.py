"""What every search space is made of: Axis, Task, Arch, Space."""

import json
import math
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import metadata
from itertools import product
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from zeroshot.core import Cost, Loss, Net, cross_entropy
from zeroshot.edition import edition
from zeroshot.errors import ZeroshotError, whole
from zeroshot.initial import INITS
from zeroshot.restore import in_float32, seeded


class Axis(NamedTuple):
    """One decision of a space: its name and what can be chosen."""

    name: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """What a network maps: (n, channels, size, size) images to (n, classes) logits.

    A task of another kind is a frozen dataclass that inherits this and overrides what differs.

    Raises:
        ZeroshotError: for numbers below 1.
    """

    channels: int = 3
    size: int = 32
    classes: int = 10

    def __post_init__(self) -> None:
        numbers = (
            ("channels", self.channels),
            ("images of size", self.size),
            ("classes", self.classes),
        )
        for what, number in numbers:
            if whole(what, number) < 1:
                raise ZeroshotError(f"{what} {number}; expected at least 1")

    def inputs(self, count: int, generator: torch.Generator) -> Tensor:
        """What networks are shown if there is no data: standard normal images, (count, …)."""
        shape = (count, self.channels, self.size, self.size)
        return torch.randn(shape, generator=generator)

    def targets(self, count: int, generator: torch.Generator) -> Tensor:
        """What their answers are compared with then: classes in balance, (count, …)."""
        order = torch.randperm(count, generator=generator)
        return (torch.arange(count) % self.classes)[order]

    loss: ClassVar[Loss] = staticmethod(cross_entropy)  # or a method: answers, targets to (n,)


@dataclass(frozen=True, order=True)
class Arch:
    """The options still open on each axis. One everywhere: a network. More: a supernet."""

    space: str
    open: tuple[tuple[int, ...], ...]

    @property
    def is_network(self) -> bool:
        """Whether every axis is decided."""
        return all(len(options) == 1 for options in self.open)

    @property
    def genes(self) -> tuple[int, ...]:
        """The chosen option of each axis; ZeroshotError for a supernet."""
        if not self.is_network:
            undecided = sum(len(options) > 1 for options in self.open)
            raise ZeroshotError(
                f"{self} is a supernet ({undecided} of {len(self.open)} axes undecided); "
                "a single network is expected here: drop options until one is left on each axis"
            )
        return tuple(options[0] for options in self.open)

    def drop(self, axis: int, option: int) -> "Arch":
        """Close one option of one axis; ZeroshotError if it is not open or is the last one."""
        if not 0 <= axis < len(self.open):
            raise ZeroshotError(f"axis {axis}: {self} has axes 0 to {len(self.open) - 1}")
        options = self.open[axis]
        if option not in options or len(options) == 1:
            raise ZeroshotError(
                f"option {option} of axis {axis} cannot be dropped: open there are {list(options)}"
            )
        rest = tuple(o for o in options if o != option)
        return replace(self, open=(*self.open[:axis], rest, *self.open[axis + 1 :]))

    def __str__(self) -> str:
        return f"{self.space}:" + ".".join("|".join(map(str, options)) for options in self.open)


@dataclass(frozen=True)
class Space(ABC):
    """A product of axes, and how to build a point of it. Everything else is written once, here.

    A space of your own is a frozen dataclass that inherits this, names itself and its `axes`,
    and has `build`. Fields of the dataclass (widths, depths) are its network shape: numbers, words
    or tuples of these. If `build` can mix the options open on an axis (`zeroshot.spaces.Mixed`),
    say so: the space can be pruned then.
    """

    name: ClassVar[str]
    axes: ClassVar[tuple[Axis, ...]]
    source: ClassVar[str]
    task: ClassVar[Task] = Task()  # what its networks are made for, unless told otherwise
    mixable: ClassVar[bool] = False  # whether `build` makes supernets too
    channels_last: ClassVar[bool] = False  # whether its networks run in that, faster, layout
    per_round: ClassVar[int] = 1  # options that pruning takes from an axis at a time
    groups: ClassVar[tuple[tuple[int, ...], ...]] = ()  # axes of which, when pruned, only so many
    inputs: ClassVar[int] = 2  # keep an option other than the first
    shown: ClassVar[int] = 72  # samples, at most, that supernets are shown when pruned
    version: ClassVar[int] = 1  # raised whenever an architecture becomes another network
    built_by: ClassVar[tuple[str, ...]] = ()  # packages that build its networks

    def __init_subclass__(cls, **options: object) -> None:
        """Check the axes, where the class states them; see `check_axes`."""
        super().__init_subclass__(**options)
        axes = vars(cls).get("axes", ())
        if isinstance(axes, (tuple, list)):  # else a property of the instance
            check_axes(axes, cls.__name__)

    def __post_init__(self) -> None:
        """ZeroshotError for a class that lacks what every space has to state."""
        missing = [what for what in ("name", "axes") if not hasattr(type(self), what)]
        if missing:
            raise ZeroshotError(
                f"the space {type(self).__name__} has no {missing[0]}; state it in the class, "
                "beside `build`"
            )

    # -- what a space must or may say of itself ------------------------------------------------

    @abstractmethod
    def build(self, arch: Arch, task: Task) -> nn.Module:
        """The network of an architecture, freshly initialised."""

    def thin(self, arch: Arch, task: Task) -> nn.Module | None:
        """The reduced network on which TE-NAS counts linear regions, where the space has one."""
        return None

    def blocks(self, module: nn.Module) -> tuple[str, ...]:
        """Names of the submodules that count as blocks, in forward order."""
        return ()

    def canonical(self, arch: Arch) -> Arch:
        """The representative of all that compute the same function at initialisation."""
        return arch

    def connected(self, arch: Arch) -> bool:
        """Whether the input reaches the output."""
        return True

    def spell(self, arch: Arch) -> str:
        """The architecture in the benchmark's own notation; `parse` reads it back."""
        return ".".join(map(str, arch.genes))

    def cost(self, arch: Arch, task: Task | None = None) -> Cost:
        """Parameters, multiply-adds and weight tensors, as the space's benchmark counts them."""
        from zeroshot.passes import census

        task = task or self.task
        try:
            with torch.device("meta"):
                module = self.build(arch, task)
        except (RuntimeError, TypeError):  # the builder reads tensors, which meta ones forbid
            with seeded(0, torch.device("cpu")):
                module = self.build(arch, task).to("meta")
        return census(Net(module), task.inputs(1, torch.Generator()).to("meta"))

    @property
    def prunable(self) -> Arch:
        """The supernet that pruning starts from."""
        return self.whole

    @property
    def searched(self) -> "Space":
        """The network shape in which supernets are measured."""
        return self

    @property
    def small(self) -> "Space":
        """A network shape that ranks almost as well at a fraction of the cost."""
        return self

    # -- what every space has ---------------------------------------------------------------------

    @property
    def whole(self) -> Arch:
        """The supernet with everything open."""
        return Arch(self.name, tuple(tuple(range(len(axis.options))) for axis in self.axes))

    @property
    def size(self) -> int:
        """How many architectures there are; `len` can say it only up to `sys.maxsize`."""
        return self.count(self.whole)

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Arch]:
        """All architectures, in index order."""
        return (self.at(index) for index in range(self.size))

    def arch(self, *genes: int) -> Arch:
        """The architecture with these options; ZeroshotError where the space has no such point."""
        if len(genes) != len(self.axes):
            raise ZeroshotError(
                f"{self.name} has {len(self.axes)} axes, got {len(genes)} genes: {list(genes)}"
            )
        for gene, axis in zip(genes, self.axes, strict=True):
            if not 0 <= gene < len(axis.options):
                raise ZeroshotError(
                    f"option {gene} of axis {axis.name}: {self.name} has options 0 to "
                    f"{len(axis.options) - 1} there ({', '.join(axis.options[:8])})"
                )
        return Arch(self.name, tuple((gene,) for gene in genes))

    def check(self, arch: Arch) -> None:
        """ZeroshotError for an architecture of another space, or of one with other options."""
        sizes = [len(axis.options) for axis in self.axes]
        pairs = zip(arch.open, sizes, strict=False)
        fits = len(arch.open) == len(sizes) and all(
            options and 0 <= min(options) <= max(options) < size for options, size in pairs
        )
        if arch.space != self.name or not fits:
            axes = f"{len(sizes)} axes of {', '.join(map(str, sizes[:8]))}"
            more = " …" if len(sizes) > 8 else ""
            raise ZeroshotError(
                f"{arch} is no architecture of {self.name}, which has {axes}{more} options"
            )

    def genes(self, arch: Arch) -> tuple[int, ...]:
        """The chosen option of each axis; ZeroshotError for a supernet, or of another space."""
        self.check(arch)
        return arch.genes

    def at(self, index: int) -> Arch:
        """The architecture of an index; ZeroshotError outside 0 … size - 1."""
        self._check_index(index)
        genes: list[int] = []
        for axis in reversed(self.axes):
            index, gene = divmod(index, len(axis.options))
            genes.append(gene)
        return self.arch(*reversed(genes))

    def index(self, arch: Arch) -> int:
        """The index of an architecture: the inverse of `at`."""
        index = 0
        for gene, axis in zip(self.genes(arch), self.axes, strict=True):
            index = index * len(axis.options) + gene
        return index

    def parse(self, text: str) -> Arch:
        """Read an index, genes ('3.1.0') or the space's own notation; ZeroshotError otherwise."""
        text = text.strip().removeprefix(f"{self.name}:")
        if text.isdecimal():
            return self.at(int(text))
        parts = text.split(".")
        if len(parts) == len(self.axes) and all(part.isdecimal() for part in parts):
            return self.arch(*map(int, parts))
        return self.parse_native(text)

    def parse_native(self, text: str) -> Arch:
        """Read the space's own notation; overridden where `spell` is."""
        raise ZeroshotError(
            f"{text!r} is no architecture of {self.name}: expected an index below {self.size:,} "
            f"or {len(self.axes)} options such as '{'.'.join('0' for _ in self.axes)}'"
        )

    def sample(self, count: int, rng: np.random.Generator) -> list[Arch]:
        """`count` different architectures, uniformly; ZeroshotError if there are not that many."""
        size = self.size
        if not 0 < count <= size:
            raise ZeroshotError(f"a sample of {count}: {self.name} has {size:,} architectures")
        if size <= 1_000_000:
            return [self.at(int(index)) for index in rng.permutation(size)[:count]]
        chosen: dict[int, None] = {}  # far too many to shuffle, so far too many to collide often
        width = size.bit_length() // 8 + 8  # so many bytes that the remainder is as good as uniform
        while len(chosen) < count:
            chosen[int.from_bytes(rng.bytes(width), "little") % size] = None
        return [self.at(index) for index in chosen]

    def neighbours(self, arch: Arch) -> list[Arch]:
        """All architectures that differ on exactly one axis."""
        return [self.arch(*genes) for genes in self._one_changed(arch)]

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """A neighbour at random: an axis, then another option of it; ZeroshotError without one."""
        genes = list(self.genes(arch))
        movable = [i for i, axis in enumerate(self.axes) if len(axis.options) > 1]
        if not movable:
            raise ZeroshotError(
                f"{arch} has no neighbours: {self.name} has one option on each axis"
            )
        position = movable[int(rng.integers(len(movable)))]
        shift = 1 + int(rng.integers(len(self.axes[position].options) - 1))
        genes[position] = (genes[position] + shift) % len(self.axes[position].options)
        return self.arch(*genes)

    def cross(self, one: Arch, other: Arch, rng: np.random.Generator) -> Arch:
        """A child that takes each axis from either parent."""
        pairs = zip(self.genes(one), self.genes(other), strict=True)
        return self.arch(*(pair[int(rng.integers(2))] for pair in pairs))

    def code(self, *others: Any) -> str:
        """What tells its code, and other code, from an earlier state of it.

        See `zeroshot.edition`; besides, the versions of the packages that build its networks.
        """
        versions = (f"{package} {metadata.version(package)}" for package in self.built_by)
        return " ".join((edition(self.version, type(self), *others), *versions))

    def encode(self, arch: Arch) -> Float64[np.ndarray, " options"]:
        """The chosen options as a vector, for models that predict from architectures.

        One-hot: of each axis in order as many numbers as it has options, a 1 where the chosen one
        is and 0 elsewhere. Different architectures have different vectors, those that compute the
        same too; encode `canonical(arch)` to make these alike. ZeroshotError for a supernet.
        """
        sizes = [len(axis.options) for axis in self.axes]
        vector = np.zeros(sum(sizes))
        vector[np.cumsum([0, *sizes[:-1]]) + np.array(self.genes(arch))] = 1
        return vector

    def names(self, arch: Arch) -> tuple[tuple[str, ...], ...]:
        """The names of the options open on each axis."""
        self.check(arch)
        pairs = zip(self.axes, arch.open, strict=True)
        return tuple(tuple(axis.options[option] for option in options) for axis, options in pairs)

    def count(self, arch: Arch) -> int:
        """How many networks a supernet still holds."""
        return math.prod(len(options) for options in arch.open)

    def subspace(self, arch: Arch) -> Iterator[Arch]:
        """The networks that a supernet still holds."""
        return (self.arch(*genes) for genes in product(*arch.open))

    def network(
        self,
        arch: Arch,
        task: Task | None = None,
        *,
        init: str = "default",
        seed: int = 0,
        device: str | torch.device = "cpu",
        like: Net | None = None,
        as_given: bool = False,
    ) -> Net:
        """The canonical network of an architecture at initialisation.

        Drawn on the CPU in float32 from the seed alone and then moved: the same numbers on every
        device, and the global random state stays as it was.

        Args:
            arch: the architecture.
            task: what it must accept and answer; the space's own by default.
            init: a name of `zeroshot.initial.INITS`.
            seed: of the weights, and of every random draw that a proxy makes for this network.
            device: where the network is put.
            like: a network of a supernet that holds this one. The two share their weights, so
                that they differ in nothing but what was dropped.
            as_given: build this very architecture rather than its canonical form, as is done of
                supernets and with `like`: what is dropped from it finds its weights by name.

        Raises:
            ZeroshotError: for an architecture of another space, an unknown initialisation, or a
                `build` that gives no module.
        """
        if init not in INITS:
            raise ZeroshotError(f"unknown initialisation {init!r}; there are {', '.join(INITS)}")
        self.check(arch)
        task = task or self.task
        own = as_given or like is not None or not arch.is_network
        canonical = arch if own else self.canonical(arch)

        def draw(
            build: "type[nn.Module] | object", purpose: str, source: nn.Module | None
        ) -> nn.Module | None:
            start = seed ^ zlib.crc32(purpose.encode())
            with in_float32(), seeded(start, torch.device("cpu")):
                module = build(canonical, task)  # type: ignore[operator]
            if module is None:
                return None
            if source is not None:
                return _shared(module, source)
            generator = torch.Generator().manual_seed(start)
            INITS[init](module, generator)
            layout = torch.channels_last if self.channels_last else torch.preserve_format
            return module.to(device, memory_format=layout)  # type: ignore[call-overload]

        @cache  # for as many supernets as there are that take over its weights
        def thin() -> nn.Module | None:
            return draw(self.thin, "thin", like.thin() if like and like.thin else None)

        module = draw(self.build, "network", like.module if like else None)
        if module is None:
            raise ZeroshotError(
                f"{self.name}: build gave None for {arch}; expected a torch.nn.Module"
            )
        return Net(
            module,
            blocks=self.blocks(module),
            seed=seed,
            cost=(lambda: self.cost(arch, task)) if arch.is_network else None,
            thin=thin,
        )

    def _one_changed(self, arch: Arch) -> Iterator[tuple[int, ...]]:
        """Genes that differ from an architecture's on exactly one axis."""
        genes = self.genes(arch)
        return (
            (*genes[:position], option, *genes[position + 1 :])
            for position, axis in enumerate(self.axes)
            for option in range(len(axis.options))
            if option != genes[position]
        )

    def _check_index(self, index: int) -> None:
        if not 0 <= index < self.size:
            raise ZeroshotError(
                f"{self.name} has no architecture {index}: expected 0 to {self.size - 1:,}"
            )


def check_fields(what: str, held: object) -> None:
    """Refuse a space or task with settings that are no fields: by these alone it is told apart.

    Raises:
        ZeroshotError: if its class lacks the decorator of a dataclass, but has settings.
    """
    kind = type(held)
    told = {field.name for field in fields(held)}  # type: ignore[arg-type]
    others = [name for name in vars(held) if name not in told]
    if others and "__dataclass_fields__" not in vars(kind):
        raise ZeroshotError(
            f"the {what} {kind.__name__} sets {others[0]!r}, but is no dataclass of its own, so "
            f"that two which differ in it would share scores: write @dataclass(frozen=True) above "
            f"the class, and `{others[0]}: … = …` in it instead of an __init__"
        )


def check_axes(axes: Sequence[Any], owner: str) -> None:
    """Refuse axes that are none or of one name, without options, or with one twice.

    Raises:
        ZeroshotError: with the name of the space or class, `owner`.
    """
    for axis in axes:
        if not isinstance(axis, Axis):
            raise ZeroshotError(f"{owner} has axis {axis!r}; expected Axis(name, options)")
        if isinstance(axis.options, str) or not axis.options:
            raise ZeroshotError(
                f"axis {axis.name} of {owner} has options {axis.options!r}; "
                "expected a tuple of at least one name"
            )
        _check_different(f"axis {axis.name} of {owner} has option", axis.options)
    _check_different(f"{owner} has axis", [axis.name for axis in axes])


def _check_different(what: str, names: Sequence[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ZeroshotError(f"{what} {twice!r} more than once; expected different names")


def shape_of(space: Space) -> dict[str, Any]:
    """The fields of a space as JSON can hold them; `with_shape` reads them back.

    What JSON cannot hold is left out where it is the default of its field.

    Raises:
        ZeroshotError: for a field with another value that JSON cannot hold.
    """
    shape: dict[str, Any] = {}
    for field in fields(space):
        value = getattr(space, field.name)
        try:
            if _tuples(json.loads(json.dumps(value))) == value:
                shape[field.name] = value
                continue
        except (TypeError, ValueError):  # no JSON
            pass
        if value is not field.default:
            raise ZeroshotError(
                f"{space.name}: the field {field.name} is {value!r}, which architecture.json "
                "cannot hold; expected a number, a word or a tuple of these"
            )
    return shape


def with_shape(space: Space, shape: Mapping[str, Any]) -> Space:
    """A space with the fields that `shape_of` told, read from JSON.

    Raises:
        TypeError: for fields that it has not.
    """
    return replace(space, **{name: _tuples(value) for name, value in shape.items()})


def _tuples(value: Any) -> Any:
    """JSON's lists as tuples: a space is hashed, so its fields hold no lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _shared(module: nn.Module, source: nn.Module) -> nn.Module:
    """Give a module the tensors that have the same names in another: no copies of them."""
    parts = dict(source.named_modules(remove_duplicate=False))
    for name, part in module.named_modules():
        if name not in parts:
            if any(True for _ in (*part.parameters(), *part.buffers())):
                raise ZeroshotError(
                    f"{name} has weights, but is no part of the supernet that it is taken from: "
                    "what an axis falls back to when all its options are dropped, its first, has "
                    "to do without"
                )
            continue
        for own, there in (
            (part._parameters, parts[name]._parameters),
            (part._buffers, parts[name]._buffers),
        ):
            own.update({key: there[key] for key, tensor in own.items() if tensor is not None})  # type: ignore[arg-type]
    return module


def tupled(text: str) -> str:
    """The digits of a tuple such as '(1, 0, 2)', which is how NASLib writes many; '' if none."""
    found = re.fullmatch(r"\((\d(?:, ?\d)*),?\)", text, re.ASCII)
    return re.sub(r"[, ]", "", found[1]) if found else ""
