from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd
import pytest

from zeroshot.core import Cost
from zeroshot.errors import ZeroshotError
from zeroshot.searches.candidates import LEAST, STEPS, Limits, choose, list_archs, read_archs
from zeroshot.spaces import NASBENCH201, TORCHVISION, Axis, NasBench201, Space, Task
from zeroshot.spaces.mobilenet import MOBILENETV2, PROXYLESSNAS

SPACE = NasBench201(channels=4, cells=1)
TASK = Task()
NO_LIMITS = Limits()


def rng(seed=0):
    return np.random.default_rng(seed)


@dataclass(frozen=True)
class Grid(Space):
    """625 points, whose cost is told by their options."""

    name = "grid"
    axes = tuple(Axis(f"width {n}", tuple("12345")) for n in range(4))
    source = "here"

    def build(self, arch, task):
        raise AssertionError("choosing builds nothing")

    def cost(self, arch, task=None):
        params = sum(arch.genes)
        return Cost(params, params * (task or self.task).size, 1)


@dataclass(frozen=True)
class Vast(Grid):
    """5^12 points, of which hardly any are as small as limits ask."""

    name = "vast"
    axes = tuple(Axis(f"width {n}", tuple("12345")) for n in range(12))


GRID = Grid()
VAST = Vast()
EVERY = list(GRID)


def chosen_of(space, sample, limits=NO_LIMITS, seed=0):
    return list(choose(space, TASK, sample=sample, limits=limits, rng=rng(seed)).archs)


def test_samples_are_different_seeded_and_random():
    chosen = chosen_of(GRID, 50)
    assert len(set(chosen)) == 50
    assert chosen == chosen_of(GRID, 50)
    assert chosen != chosen_of(GRID, 50, seed=1)
    assert chosen[:20] == chosen_of(GRID, 20)


def test_all_in_index_order():
    assert chosen_of(GRID, None) == EVERY


@pytest.mark.parametrize("limits", [Limits(7.0), Limits(None, 250.0), Limits(9.0, 250.0)])
def test_limits(limits):
    def fits(arch):
        cost = GRID.cost(arch)
        return cost.params <= (limits.params or 99) and cost.macs <= (limits.flops or 999)

    within = chosen_of(GRID, None, limits)
    assert within == [arch for arch in EVERY if fits(arch)]
    assert 0 < len(within) < len(EVERY)
    some = chosen_of(GRID, 30, limits)
    assert len(set(some)) == 30
    assert set(some) <= set(within)


def test_limits_count_for_the_task():
    arch = GRID.at(77)
    limits = Limits(flops=float(GRID.cost(arch).macs))
    assert limits.admit(GRID, arch, TASK)
    assert not limits.admit(GRID, arch, Task(size=64))


@pytest.mark.parametrize("limits", [Limits(6.0), Limits(None, 300.0), Limits(11.0, 330.0)])
def test_where_hardly_any_are_within_the_limits(limits):
    """Costs of uniform draws are 24 ± 5."""
    found = choose(VAST, TASK, sample=40, limits=limits, rng=rng())
    assert len(set(found.archs)) == 40
    assert all(limits.admit(VAST, arch, TASK) for arch in found.archs)
    assert found == choose(VAST, TASK, sample=40, limits=limits, rng=rng())
    assert found != choose(VAST, TASK, sample=40, limits=limits, rng=rng(1))
    assert found.uniform < 40
    assert found.drawn >= LEAST
    drawn = VAST.sample(found.drawn, rng())
    uniform = [arch for arch in drawn if limits.admit(VAST, arch, TASK)]
    assert list(found.archs[: found.uniform]) == uniform


def test_a_sample_is_uniform_where_that_does():
    found = choose(VAST, TASK, sample=40, limits=Limits(20.0), rng=rng())
    assert found.uniform == 40
    fits = (arch for arch in VAST.sample(4_000, rng()) if VAST.cost(arch).params <= 20)
    assert list(found.archs) == list(islice(fits, 40))


def test_the_work_is_bounded(monkeypatch):
    counted = []
    monkeypatch.setattr(Vast, "cost", lambda *_: counted.append(1) or Cost(9, 9, 1))
    with pytest.raises(ZeroshotError, match=r"of 200 .* of vast drawn at random, 0 have at most 5"):
        chosen_of(VAST, 10, Limits(5.0))
    assert len(counted) <= 2 * LEAST + STEPS * 10


def test_of_what_is_equally_near_the_newest_is_mutated_on(monkeypatch):
    parents, mutate = [], Vast.mutate

    def spied(self, arch, rng):
        parents.append(arch)
        return mutate(self, arch, rng)

    monkeypatch.setattr(Vast, "mutate", spied)
    monkeypatch.setattr(Vast, "cost", lambda *_: Cost(9, 9, 1))
    with pytest.raises(ZeroshotError, match="drawn at random, 0 have"):
        chosen_of(VAST, 10, Limits(5.0))
    drawn = VAST.sample(LEAST * 5, rng())[:LEAST]
    assert parents[0] in drawn[-20:]
    assert set(parents[100:]).isdisjoint(drawn)


def test_not_all_of_a_vast_space():
    with pytest.raises(ZeroshotError, match="all of vast: 244,140,625 architectures are too many"):
        chosen_of(VAST, None)


def test_too_few():
    with pytest.raises(ZeroshotError, match="sample of 2,000: grid has 625 architectures; ask"):
        choose(GRID, TASK, sample=2_000, limits=NO_LIMITS, rng=rng())
    with pytest.raises(ZeroshotError, match="has 5 architectures with at most 1 parameters and 99"):
        choose(GRID, TASK, sample=6, limits=Limits(1.0, 99.0), rng=rng())
    with pytest.raises(ZeroshotError, match=r"any: grid has 0 architectures with at most -1 mu"):
        choose(GRID, TASK, sample=None, limits=Limits(flops=-1.0), rng=rng())


@pytest.mark.parametrize("sample", [0, -3, 10**20])
def test_a_sample_of_none(sample):
    with pytest.raises(ZeroshotError, match=f"a sample of {sample:,}; expected 1 to"):
        choose(GRID, TASK, sample=sample, limits=NO_LIMITS, rng=rng())


ARCHS = [SPACE.at(5), SPACE.at(77), SPACE.at(13714)]


def test_files_of_every_kind(tmp_path):
    spelled = [SPACE.spell(arch) for arch in ARCHS]
    lines = tmp_path / "archs.txt"
    lines.write_text(f"\ufeff{spelled[0]}\r\n\n  77  \nnasbench201:13714")
    assert read_archs(SPACE, lines) == (ARCHS, 0)
    for table in (pd.DataFrame({"arch": spelled, "x": 1}), pd.DataFrame({"arch": [5, 77, 13714]})):
        table.to_csv(tmp_path / "a.csv", index=False)
        table.to_csv(tmp_path / "a.csv.gz", index=False)
        table.to_parquet(tmp_path / "a.parquet")
        for name in ("a.csv", "a.csv.gz", "a.parquet"):
            assert read_archs(SPACE, tmp_path / name) == (ARCHS, 0)


def test_a_table_of_scores_with_several_seeds(tmp_path):
    spelled = [SPACE.spell(arch) for arch in ARCHS for _ in range(2)]
    table = pd.DataFrame({"arch": spelled, "seed": [0, 1] * 3, "x": 1.0})
    table.to_csv(tmp_path / "a.csv", index=False)
    assert read_archs(SPACE, tmp_path / "a.csv") == (ARCHS, 0)


def test_bad_files(tmp_path):
    file = tmp_path / "archs.txt"
    with pytest.raises(ZeroshotError, match=r"no file .*archs\.txt"):
        read_archs(SPACE, file)
    with pytest.raises(ZeroshotError, match="cannot read"):
        read_archs(SPACE, tmp_path)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ZeroshotError, match=r"archs\.txt is not UTF-8"):
        read_archs(SPACE, file)
    file.write_text("\n \n")
    with pytest.raises(ZeroshotError, match="names no architecture"):
        read_archs(SPACE, file)
    file.write_text("5\n\n|nor_conv_3x3~0|+|foo~0\n")
    with pytest.raises(ZeroshotError, match=r"archs\.txt, line 3: .*at character 19 expected"):
        read_archs(SPACE, file)
    file.write_text(f"5\n\n77\n{SPACE.spell(ARCHS[0])}\n")
    assert read_archs(SPACE, file) == (ARCHS[:2], 1)
    file.write_text("15625\n")
    with pytest.raises(ZeroshotError, match=r"line 1: .* no architecture 15625"):
        read_archs(SPACE, file)


def test_bad_tables(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("name,x\n5,1\n")
    with pytest.raises(ZeroshotError, match="no column 'arch', only name, x"):
        read_archs(SPACE, file)
    file.write_text("arch\n5\n77\n5\n5\n")
    assert read_archs(SPACE, file) == (ARCHS[:2], 2)
    file.write_text("arch\n5\nx\n")
    with pytest.raises(ZeroshotError, match="row 2: 'x'"):
        read_archs(SPACE, file)
    file.write_text("arch\n")
    with pytest.raises(ZeroshotError, match="names no architecture"):
        read_archs(SPACE, file)
    file.write_text("arch,x\n5,1\n6")
    with pytest.raises(ZeroshotError, match="truncated"):
        read_archs(SPACE, file)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(ZeroshotError, match="no readable Parquet"):
        read_archs(SPACE, tmp_path / "a.parquet")


def test_lists():
    assert list_archs(SPACE, [SPACE.spell(ARCHS[0]), 77, ARCHS[2]]) == ARCHS
    with pytest.raises(ZeroshotError, match="list of architectures is empty"):
        list_archs(SPACE, [])
    with pytest.raises(ZeroshotError, match="entry 2 is the same architecture as entry 1"):
        list_archs(SPACE, [5, "5"])
    with pytest.raises(ZeroshotError, match="entry 1: torchvision:3 is no architecture of nasb"):
        list_archs(SPACE, [TORCHVISION.at(3)])
    with pytest.raises(ZeroshotError, match=r"entry 1: mobilenet:.* is no architecture of mobilen"):
        list_archs(MOBILENETV2, [PROXYLESSNAS.at(7)])  # both are called mobilenet
    with pytest.raises(ZeroshotError, match=r"entry 1: .* is a supernet"):
        list_archs(SPACE, [NASBENCH201.whole])
    with pytest.raises(ZeroshotError, match="entry 2: 'resnet'"):
        list_archs(SPACE, [5, "resnet"])
