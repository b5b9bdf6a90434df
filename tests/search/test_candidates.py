from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from zeroshot.core import Cost
from zeroshot.errors import ZeroshotError
from zeroshot.search.candidates import Limits, choose, list_archs, read_archs
from zeroshot.spaces import NASBENCH201, TORCHVISION, Axis, NasBench201, Space, Task

SPACE = NasBench201(channels=4, cells=1)
TASK = Task()
NO_LIMITS = Limits()


def rng(seed=0):
    return np.random.default_rng(seed)


@dataclass(frozen=True)
class Grid(Space):
    """625 points, whose cost is told by their options."""

    name = "grid"
    axes = (Axis("width", tuple("12345")),) * 4
    source = "here"

    def build(self, arch, task):
        raise AssertionError("choosing builds nothing")

    def cost(self, arch, task=None):
        params = sum(arch.genes)
        return Cost(params, params * (task or self.task).size, 1)


GRID = Grid()
EVERY = list(GRID)


def test_samples_are_different_seeded_and_random():
    chosen = choose(GRID, TASK, sample=50, limits=NO_LIMITS, rng=rng())
    assert len(set(chosen)) == 50
    assert chosen == choose(GRID, TASK, sample=50, limits=NO_LIMITS, rng=rng())
    assert chosen != choose(GRID, TASK, sample=50, limits=NO_LIMITS, rng=rng(1))
    assert chosen[:20] == choose(GRID, TASK, sample=20, limits=NO_LIMITS, rng=rng())


def test_all_in_index_order():
    assert choose(GRID, TASK, sample=None, limits=NO_LIMITS, rng=rng()) == EVERY


@pytest.mark.parametrize("limits", [Limits(7.0), Limits(None, 250.0), Limits(9.0, 250.0)])
def test_limits(limits):
    def fits(arch):
        cost = GRID.cost(arch)
        return cost.params <= (limits.params or 99) and cost.macs <= (limits.flops or 999)

    within = choose(GRID, TASK, sample=None, limits=limits, rng=rng())
    assert within == [arch for arch in EVERY if fits(arch)]
    assert 0 < len(within) < len(EVERY)
    some = choose(GRID, TASK, sample=30, limits=limits, rng=rng())
    assert len(set(some)) == 30
    assert set(some) <= set(within)


def test_limits_count_for_the_task():
    arch = GRID.at(77)
    limits = Limits(flops=float(GRID.cost(arch).macs))
    assert limits.admit(GRID, arch, TASK)
    assert not limits.admit(GRID, arch, Task(size=64))


def test_too_few():
    with pytest.raises(ZeroshotError, match="sample of 2,000: grid has 625 architectures; ask"):
        choose(GRID, TASK, sample=2_000, limits=NO_LIMITS, rng=rng())
    with pytest.raises(ZeroshotError, match="has 5 architectures with at most 1 parameters and 99"):
        choose(GRID, TASK, sample=6, limits=Limits(1.0, 99.0), rng=rng())
    with pytest.raises(ZeroshotError, match=r"any: grid has 0 architectures with at most -1 mu"):
        choose(GRID, TASK, sample=None, limits=Limits(flops=-1.0), rng=rng())


@pytest.mark.parametrize("sample", [0, -3])
def test_a_sample_of_none(sample):
    with pytest.raises(ZeroshotError, match=f"a sample of {sample}; expected at least 1"):
        choose(GRID, TASK, sample=sample, limits=NO_LIMITS, rng=rng())


ARCHS = [SPACE.at(5), SPACE.at(77), SPACE.at(13714)]


def test_files_of_every_kind(tmp_path):
    spelled = [SPACE.spell(arch) for arch in ARCHS]
    lines = tmp_path / "archs.txt"
    lines.write_text(f"\ufeff{spelled[0]}\r\n\n  77  \nnasbench201:13714")
    assert read_archs(SPACE, lines) == ARCHS
    for table in (pd.DataFrame({"arch": spelled, "x": 1}), pd.DataFrame({"arch": [5, 77, 13714]})):
        table.to_csv(tmp_path / "a.csv", index=False)
        table.to_csv(tmp_path / "a.csv.gz", index=False)
        table.to_parquet(tmp_path / "a.parquet")
        for name in ("a.csv", "a.csv.gz", "a.parquet"):
            assert read_archs(SPACE, tmp_path / name) == ARCHS


def test_a_table_of_scores_with_several_seeds(tmp_path):
    spelled = [SPACE.spell(arch) for arch in ARCHS for _ in range(2)]
    table = pd.DataFrame({"arch": spelled, "seed": [0, 1] * 3, "x": 1.0})
    table.to_csv(tmp_path / "a.csv", index=False)
    assert read_archs(SPACE, tmp_path / "a.csv") == ARCHS


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
    with pytest.raises(ZeroshotError, match="line 4 is the same architecture as line 1"):
        read_archs(SPACE, file)
    file.write_text("15625\n")
    with pytest.raises(ZeroshotError, match=r"line 1: .* no architecture 15625"):
        read_archs(SPACE, file)


def test_bad_tables(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("name,x\n5,1\n")
    with pytest.raises(ZeroshotError, match="no column 'arch', only name, x"):
        read_archs(SPACE, file)
    file.write_text("arch\n5\n6\n5\n")
    with pytest.raises(ZeroshotError, match="row 3 is the same architecture as row 1"):
        read_archs(SPACE, file)
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
    with pytest.raises(ZeroshotError, match=r"entry 1: .* is a supernet"):
        list_archs(SPACE, [NASBENCH201.whole])
    with pytest.raises(ZeroshotError, match="entry 2: 'resnet'"):
        list_archs(SPACE, [5, "resnet"])
