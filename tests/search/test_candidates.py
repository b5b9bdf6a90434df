import numpy as np
import pandas as pd
import pytest

from zeroshot.errors import ZeroshotError
from zeroshot.search.candidates import Limits, choose, list_archs, read_archs
from zeroshot.spaces import NASBENCH201, TORCHVISION, NasBench201, Task

SPACE = NasBench201(channels=4, cells=1)
TASK = Task()
NO_LIMITS = Limits()
EVERY = [SPACE.at(index) for index in range(0, len(SPACE), 50)]


def rng(seed=0):
    return np.random.default_rng(seed)


def test_samples_are_different_seeded_and_random():
    chosen = choose(SPACE, TASK, sample=50, limits=NO_LIMITS, rng=rng())
    assert len(set(chosen)) == 50
    assert chosen == choose(SPACE, TASK, sample=50, limits=NO_LIMITS, rng=rng())
    assert chosen != choose(SPACE, TASK, sample=50, limits=NO_LIMITS, rng=rng(1))
    assert chosen[:20] == choose(SPACE, TASK, sample=20, limits=NO_LIMITS, rng=rng())


def test_all_in_index_order():
    chosen = choose(SPACE, TASK, sample=None, limits=NO_LIMITS, rng=rng())
    assert chosen == list(SPACE)


def test_limits():
    costs = [SPACE.cost(arch) for arch in EVERY]
    params = float(np.median([cost.params for cost in costs]))
    flops = float(np.median([cost.macs for cost in costs]))
    for limits in (Limits(params), Limits(None, flops), Limits(params, flops)):
        for arch, cost in zip(EVERY, costs, strict=True):
            fits = cost.params <= (limits.params or cost.params)
            assert (fits and cost.macs <= (limits.flops or cost.macs)) == limits.admit(
                SPACE, arch, TASK
            )
        some = choose(SPACE, TASK, sample=30, limits=limits, rng=rng())
        assert len(set(some)) == 30
        assert all(limits.admit(SPACE, arch, TASK) for arch in some)


def test_limits_count_for_the_task():
    arch = SPACE.at(0)
    limits = Limits(flops=float(SPACE.cost(arch).macs))
    assert limits.admit(SPACE, arch, TASK)
    assert not limits.admit(SPACE, arch, Task(size=64))


def test_too_few():
    with pytest.raises(ZeroshotError, match=r"sample of 20,000: .* has 15,625 architectures; ask"):
        choose(SPACE, TASK, sample=20_000, limits=NO_LIMITS, rng=rng())
    with pytest.raises(
        ZeroshotError, match="has 0 architectures with at most 3 parameters and 5 m"
    ):
        choose(SPACE, TASK, sample=1, limits=Limits(3.0, 5.0), rng=rng())
    with pytest.raises(ZeroshotError, match=r"any: .* has 0 architectures with at most 5 multiply"):
        choose(SPACE, TASK, sample=None, limits=Limits(flops=5.0), rng=rng())


@pytest.mark.parametrize("sample", [0, -3])
def test_a_sample_of_none(sample):
    with pytest.raises(ZeroshotError, match=f"a sample of {sample}; expected at least 1"):
        choose(SPACE, TASK, sample=sample, limits=NO_LIMITS, rng=rng())


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
