"""What holds for every space."""

import dataclasses
import itertools
import math
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.checks import TINY
from zeroshot import spaces
from zeroshot.core import Batch, Net
from zeroshot.errors import ZeroshotError
from zeroshot.passes import census
from zeroshot.spaces.layers import Conv2d
from zeroshot.spaces.mobilenet import MNASNET
from zeroshot.spaces.space import Arch, Axis, Space, Task

TINIES = {
    TINY.name: TINY,
    "nasbench101": spaces.NasBench101(channels=4, stacks=2, modules=1),
    "natsbench_size": spaces.NatsBenchSize(divisor=8),
    "transnasbench101_micro": spaces.TransNasBench101Micro(channels=4, cells=1),
    "transnasbench101_macro": spaces.TransNasBench101Macro(channels=4, cells=1),
    "darts": spaces.Darts(channels=2, layers=3, stem_multiplier=1),
    "mobilenet": spaces.MobileNet(stages=MNASNET[:4], width=0.25, resolution=16),
    "autoformer": spaces.AutoFormer(
        hidden=(12, 16), depths=(1, 2, 3), head_dim=4, patch=4, resolution=8
    ),
    "chain": spaces.Chain(layers=5, widths=(4, 8), dense=(8, 16)),
    "nasnet": spaces.NasNet(filters=8, repeats=1, stem_multiplier=1),
    "randwire": spaces.RandWire(channels=4, nodes=6, ba=(1, 3), ws=(2, 4), seeds=20, resolution=16),
    "enas_rnn": spaces.EnasRnn(nodes=4, width=6),
    "nasbench_nlp": spaces.NasBenchNlp(nodes=5, layers=2, hidden=6, embedding=4),
}
SPACES = tuple(
    TINIES.get(space.name, space)
    for space in spaces.SPACES
    if space != spaces.TIMM or find_spec("timm")
)
SMALL = {
    "torchvision": ("shufflenet_v2_x0_5", "squeezenet1_1"),  # the rest takes too long to build
    "timm": ("test_efficientnet", "test_vit"),
    "nasnet": ("19357741121724863464698603558533427528287",),  # drawn at random
    "nasbench_nlp": (  # others have weights for states that stay 0
        '{"h_new_0": {"op": "linear", "input": ["x", "h_prev_0"]}}',
        '{"a": {"op": "linear", "input": ["h_prev_0", "h_prev_1", "x"]}, "b": {"op": '
        '"activation_sigm", "input": ["a"]}, "h_new_0": {"op": "blend", "input": ["b", "a", '
        '"h_prev_1"]}, "h_new_1": {"op": "activation_tanh", "input": ["a"]}}',
    ),
}
TASKS = {
    "torchvision": Task(size=64, classes=5),
    "timm": Task(size=32, classes=5),
    "transnasbench101_micro": Task(channels=2, size=32, classes=5),  # else maps of one pixel
    "mobilenet": Task(channels=2, size=16, classes=5),
    "randwire": Task(channels=2, size=16, classes=5),
    "enas_rnn": spaces.NextToken(size=4, classes=5),
    "nasbench_nlp": spaces.NextToken(size=6, classes=5),
}
ids = [space.name for space in SPACES]


def is_product(space: Space) -> bool:
    """Whether every combination of options is an architecture."""
    return type(space).count is Space.count


def rng(seed=0):
    return np.random.default_rng(seed)


def shown(task: Task, count: int) -> Tensor:
    return task.inputs(count, torch.Generator().manual_seed(0))


def some(space: Space, count: int = 40) -> list[Arch]:
    return space.sample(min(count, space.size), rng())


BUILT = [
    (space, arch, TASKS.get(space.name, Task(channels=2, size=8, classes=5)))
    for space in SPACES
    for arch in (
        [space.parse(text) for text in SMALL[space.name]] if space.name in SMALL else some(space, 4)
    )
]
built = pytest.mark.parametrize(
    ("space", "arch", "task"), BUILT, ids=[f"{s.name}-{s.index(a)}" for s, a, _ in BUILT]
)


def test_names_are_unique():
    assert len({space.name for space in spaces.SPACES}) == len(spaces.SPACES)


@pytest.mark.parametrize("space", SPACES, ids=ids)
class TestEverySpace:
    def test_is_a_value(self, space):
        assert dataclasses.replace(space) == space
        assert hash(dataclasses.replace(space)) == hash(space)
        assert type(space).__doc__
        assert space.source
        assert len({axis.name for axis in space.axes}) == len(space.axes)
        assert all(len(set(axis.options)) == len(axis.options) > 0 for axis in space.axes)

    def test_reads_what_it_writes(self, space):
        for arch in some(space):
            genes = ".".join(map(str, arch.genes))
            for text in (space.spell(arch), str(arch), str(space.index(arch)), genes):
                assert space.parse(text) == arch
                assert space.parse(f" {text}\n") == arch
                assert space.parse(f"{space.name}:{text.removeprefix(space.name + ':')}") == arch

    def test_spells_every_architecture_differently(self, space):
        archs = some(space)
        assert len({space.spell(arch) for arch in archs}) == len(archs)

    def test_index(self, space):
        assert all(space.at(space.index(arch)) == arch for arch in some(space))
        assert all(space.index(space.at(i)) == i for i in range(min(40, space.size)))
        first = list(itertools.islice(space, 5))
        assert first == [space.at(i) for i in range(5)]
        if is_product(space):
            assert space.size == math.prod(len(axis.options) for axis in space.axes)
        assert space.size == space.count(space.whole) > 1

    def test_sample(self, space):
        count = min(30, space.size)
        drawn = space.sample(count, rng(1))
        assert len(set(drawn)) == count
        assert drawn == space.sample(count, rng(1))
        assert drawn != space.sample(count, rng(2))
        assert all(arch.is_network for arch in drawn)
        if space.size < 20_000:
            assert len(set(space.sample(space.size, rng()))) == space.size

    def test_neighbours(self, space):
        for arch in some(space, 3):
            around = space.neighbours(arch)
            assert len(set(around)) == len(around) > 0
            assert arch not in around
            assert all(space.parse(space.spell(other)) == other for other in around)
            if is_product(space):
                assert len(around) == sum(len(axis.options) - 1 for axis in space.axes)
                pairs = [zip(arch.genes, other.genes, strict=True) for other in around]
                assert all(sum(a != b for a, b in pair) == 1 for pair in pairs)
            assert all(arch in space.neighbours(other) for other in around[:5])

    def test_mutate(self, space):
        random = rng()
        for arch in some(space, 3):
            around = set(space.neighbours(arch))
            drawn = [space.mutate(arch, random) for _ in range(20)]
            assert set(drawn) <= around
            assert len(set(drawn)) > 1
        assert space.mutate(arch, rng(5)) == space.mutate(arch, rng(5))

    def test_architectures_of_another_space_are_refused(self, space):
        other = next(one for one in SPACES if one.name != space.name)
        arch, own = other.at(0), space.at(0)
        for call in (
            lambda: space.network(arch),
            lambda: space.index(arch),
            lambda: space.names(arch),
            lambda: space.encode(arch),
            lambda: space.mutate(arch, np.random.default_rng(0)),
            lambda: space.neighbours(arch),
            lambda: space.cross(own, arch, np.random.default_rng(0)),
        ):
            with pytest.raises(ZeroshotError, match=f"is no architecture of {space.name}"):
                call()

    def test_cross(self, space):
        random = rng()
        for one, other in itertools.pairwise(some(space, 5)):
            child = space.cross(one, other, random)
            pairs = zip(child.genes, one.genes, other.genes, strict=True)
            assert all(gene in (a, b) for gene, a, b in pairs)
            assert space.cross(one, one, random) == one

    def test_children_take_after_both(self, space):
        random = rng()
        children = mixed = 0
        for one, other in itertools.pairwise(some(space, 5)):
            if sum(a != b for a, b in zip(one.genes, other.genes, strict=True)) < 3:
                continue
            drawn = {space.cross(one, other, random) for _ in range(20)}
            children += len(drawn)
            mixed += len(drawn - {one, other})
        assert mixed > 0 or not children

    def test_encode(self, space):
        sizes = [len(axis.options) for axis in space.axes]
        for arch in some(space):
            vector = space.encode(arch)
            assert vector.shape == (sum(sizes),)
            assert np.isin(vector, (0, 1)).all()
            assert vector.sum() == len(sizes)
            parts = np.split(vector, np.cumsum(sizes)[:-1])
            assert tuple(part.argmax() for part in parts) == arch.genes

    def test_canonical(self, space):
        for arch in some(space):
            once = space.canonical(arch)
            assert once.is_network
            assert space.canonical(once) == once
            assert space.connected(once) == space.connected(arch)

    def test_whole(self, space):
        whole = space.whole
        assert not whole.is_network
        assert len(whole.open) == len(space.axes)
        arch = some(space, 1)[0]
        narrow = whole
        for axis, gene in enumerate(arch.genes):
            for option in range(len(space.axes[axis].options)):
                if option != gene:
                    narrow = narrow.drop(axis, option)
        assert narrow == arch
        assert narrow.is_network
        assert list(space.subspace(arch)) == [arch]
        assert space.count(arch) == 1
        first = next(space.subspace(whole))
        assert space.at(space.index(first)) == first

    def test_a_supernet_is_no_network(self, space):
        alone = () if space.mixable else (space.network,)
        for call in (space.index, space.spell, space.encode, space.neighbours, *alone):
            with pytest.raises(ZeroshotError, match="supernet") as error:
                call(space.whole)
            assert "\n" not in str(error.value)

    @pytest.mark.parametrize(
        "text", ["", "nonsense", "-1", "1e3", "²", "0.0.0.0.0.0.0.0.0.0", "9" * 60]
    )
    def test_refuses(self, space, text):
        with pytest.raises(ZeroshotError) as error:
            space.parse(text)
        assert "\n" not in str(error.value)
        assert space.name in str(error.value)

    def test_refuses_numbers(self, space):
        for call in (
            lambda: space.at(space.size),
            lambda: space.at(-1),
            lambda: space.sample(space.size + 1, rng()),
            lambda: space.sample(0, rng()),
            lambda: space.arch(*(0,) * (len(space.axes) + 1)),
            lambda: space.arch(*(-1,) * len(space.axes)),
            lambda: space.arch(*(len(axis.options) for axis in space.axes)),
        ):
            with pytest.raises(ZeroshotError, match=space.name):
                call()

    def test_refuses_initialisations(self, space):
        arch = some(space, 1)[0]
        with pytest.raises(ZeroshotError, match="'oops'; there are default, "):
            space.network(arch, init="oops")


@built
class TestEveryNetwork:
    def test_depends_on_the_seed_alone(self, space, arch, task, monkeypatch):
        monkeypatch.setattr(torch, "manual_seed", lambda seed: pytest.fail("it seeds all devices"))
        state = torch.get_rng_state()
        one = space.network(arch, task, seed=3)
        assert torch.equal(torch.get_rng_state(), state)
        torch.rand(7)
        twin, other = space.network(arch, task, seed=3), space.network(arch, task, seed=4)
        pairs = [(t, twin.module.state_dict()[key]) for key, t in one.module.state_dict().items()]
        assert all(torch.equal(a, b) for a, b in pairs)
        weights = zip(one.weights().values(), other.weights().values(), strict=True)
        assert not any(torch.equal(a, b) for a, b in weights)
        assert (one.seed, other.seed) == (3, 4)
        assert one.module.training

    def test_answers_the_task(self, space, arch, task):
        net = space.network(arch, task)
        answers = net(shown(task, 4))
        assert answers.shape[-1] == task.classes
        assert task.loss(answers, task.targets(4, torch.Generator())).shape == (4,)

    def test_backward_reaches_every_weight(self, space, arch, task):
        net = space.network(arch, task)
        net.module(shown(task, 4)).square().sum().backward()
        assert all(p.grad is not None for p in net.module.parameters())
        if space.connected(arch):
            named = net.module.named_parameters()
            assert all(bool(p.grad.any()) for name, p in named if p.ndim > 1)

    def test_pytorchs_strided_convolution_of_few_channels_is_not_used(self, space, arch, task):
        """It overwrites foreign memory; see `zeroshot.spaces.layers.Conv2d`."""
        for module in space.network(arch, task).module.modules():
            if isinstance(module, nn.Conv2d) and not isinstance(module, Conv2d):
                few = module.in_channels // module.groups in range(2, 8)
                assert not few or module.kernel_size != (1, 1) or module.stride == (1, 1)

    def test_cost_is_what_a_trace_counts(self, space, arch, task):
        canonical = space.canonical(arch)
        module = space.network(canonical, task).module
        traced = census(Net(module), shown(task, 1))
        assert space.cost(canonical, task) == traced
        assert space.network(arch, task).cost() == space.cost(arch, task)
        assert Space.cost(space, canonical, task) == traced

    def test_blocks_are_submodules(self, space, arch, task):
        net = space.network(arch, task)
        assert set(net.blocks) <= {name for name, _ in net.module.named_modules()}

    def test_members_of_a_class_are_one_network(self, space, arch, task):
        one, other = (space.network(a, task) for a in (arch, space.canonical(arch)))
        assert torch.equal(one(shown(task, 2)), other(shown(task, 2)))

    def test_thin_network(self, space, arch, task):
        net = space.network(arch, task)
        thin = net.thin()
        if thin is not None:
            state = torch.get_rng_state()
            again = net.thin()
            assert torch.equal(torch.get_rng_state(), state)
            pairs = zip(thin.parameters(), again.parameters(), strict=True)
            assert all(torch.equal(a, b) for a, b in pairs)
            assert thin(torch.rand(5, 1, 3, 3)).shape[0] == 5


class TestArch:
    ARCH = Arch("toy", ((0, 1, 2), (4,)))

    def test_drop(self):
        assert self.ARCH.drop(0, 1) == Arch("toy", ((0, 2), (4,)))
        assert self.ARCH.drop(0, 1).drop(0, 0).genes == (2, 4)

    @pytest.mark.parametrize(("axis", "option"), [(0, 3), (1, 4), (1, 0), (2, 0), (-1, 4)])
    def test_drop_refuses(self, axis, option):
        with pytest.raises(ZeroshotError, match=str(axis)):
            self.ARCH.drop(axis, option)

    def test_text(self):
        assert str(self.ARCH) == "toy:0|1|2.4"

    def test_order_and_identity(self):
        assert Arch("toy", ((0,),)) < Arch("toy", ((1,),))
        assert len({Arch("toy", ((0,),)), Arch("toy", ((0,),))}) == 1

    def test_genes_of_a_supernet(self):
        with pytest.raises(ZeroshotError, match="1 of 2 axes undecided"):
            _ = self.ARCH.genes


@dataclasses.dataclass(frozen=True)
class Toy(Space):
    """A space of one's own: nothing but a name, axes and a network."""

    width: int = 3

    name = "toy"
    source = "here"
    axes = (Axis("layers", ("one", "two")), Axis("unit", ("relu", "gelu", "tanh")))

    def build(self, arch, task):
        layers, unit = arch.genes
        units = (torch.nn.ReLU, torch.nn.GELU, torch.nn.Tanh)
        inward = task.channels * task.size**2
        body = [torch.nn.Linear(inward, self.width), units[unit]()] + layers * [
            torch.nn.Linear(self.width, self.width),
            units[unit](),
        ]
        return torch.nn.Sequential(
            torch.nn.Flatten(), *body, torch.nn.Linear(self.width, task.classes)
        )


def test_a_space_of_your_own():
    toy = Toy(width=4)
    assert [toy.spell(arch) for arch in toy] == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]
    arch = toy.parse("1.2")
    assert toy.index(arch) == 5
    assert toy.canonical(arch) == arch
    task = Task(1, 2, 3)
    assert toy.cost(arch, task) == ((4 * 4 + 4) + (4 * 4 + 4) + (4 * 3 + 3), 16 + 16 + 12, 3)
    shown = Batch(torch.rand(5, 1, 2, 2), torch.arange(5) % 3)
    assert toy.network(arch, task)(shown.inputs).shape == (5, 3)
    with pytest.raises(ZeroshotError, match="'three' is no architecture of toy"):
        toy.parse("three")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), r"axis unit of Wrong has options \(\); expected a tuple of at least one name"),
        (("a", "b", "a"), "axis unit of Wrong has option 'a' more than once"),
    ],
)
def test_axes_that_leave_no_choice_or_the_same_twice(options, message):
    with pytest.raises(ZeroshotError, match=message):
        type("Wrong", (Toy,), {"axes": (Axis("layers", ("one",)), Axis("unit", options))})


def test_axes_of_one_name():
    with pytest.raises(ZeroshotError, match="Wrong has axis 'unit' more than once; expected diff"):
        type("Wrong", (Toy,), {"axes": (Axis("unit", ("a", "b")),) * 2})


def test_a_space_has_a_name_and_axes():
    for what in ("name", "axes"):
        stated = {"name": "wrong", "axes": Toy.axes, "build": Toy.build}
        stated.pop(what)
        with pytest.raises(ZeroshotError, match=f"the space Wrong has no {what}; state it"):
            type("Wrong", (Space,), stated)()


def test_nothing_to_mutate():
    alone = type("Alone", (Toy,), {"axes": (Axis("layers", ("one",)), Axis("unit", ("relu",)))})()
    with pytest.raises(ZeroshotError, match=r"toy:0.0 has no neighbours: toy has one option on"):
        alone.mutate(alone.at(0), np.random.default_rng(0))


@dataclasses.dataclass(frozen=True)
class Vast(Toy):
    """Too many to shuffle."""

    name = "vast"
    axes = tuple(Axis(str(i), ("a", "b", "c", "d")) for i in range(20))


def test_a_vast_space():
    vast = Vast()
    assert len(vast) == 4**20
    drawn = vast.sample(100, rng())
    assert len(set(drawn)) == 100
    assert drawn == vast.sample(100, rng())
    assert all(vast.at(vast.index(arch)) == arch for arch in drawn)


@dataclasses.dataclass(frozen=True)
class Endless(Toy):
    """More than `len` can say."""

    name = "endless"
    axes = tuple(Axis(str(i), tuple("abcdefgh")) for i in range(28))


def test_a_space_that_len_cannot_count():
    endless = Endless()
    assert endless.size == 8**28 > sys.maxsize
    drawn = endless.sample(100, rng())
    assert len(set(drawn)) == 100
    assert all(endless.at(endless.index(arch)) == arch for arch in drawn)
    assert endless.at(endless.size - 1).genes == (7,) * 28
    with pytest.raises(ZeroshotError, match="endless has no architecture"):
        endless.at(endless.size)
