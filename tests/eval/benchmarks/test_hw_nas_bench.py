import numpy as np
import pytest

from tests.eval.benchmarks.hostile import Making, write
from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks import load_benchmark, load_truth
from zeroshot.eval.benchmarks.hw_nas_bench import COLUMNS, DATASETS

ARCHS = (
    "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    "|skip_connect~0|+|none~0|none~1|+|none~0|none~1|none~2|",
)


def tables(shift=0.0):
    """As the authors' file, whose columns are lists or arrays."""
    found = {name: [shift + k, shift + k + 0.5] for k, name in enumerate(COLUMNS)}
    found["fpga_energy"] = np.array(found["fpga_energy"])
    found["eyeriss_arithmetic_intensity"] = [3.0, 4.0]
    found["config"] = [{"name": "infer.tiny", "C": 16, "N": 5, "arch_str": a} for a in ARCHS]
    return found


def content(**changes):
    cells = {dataset: tables(100.0 * k) for k, dataset in enumerate(DATASETS)}
    return {"nasbench201": cells, "fbnet": {"raspi4_latency": {"FC_Cin1_Cout2": 0.1}}, **changes}


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "HW-NAS-Bench-v1_0.pickle", content())


def test_columns(file):
    table = load_benchmark("hw-nas-bench/cifar100", file)
    assert tuple(table.columns) == COLUMNS
    assert table.loc[ARCHS[1]].tolist() == [100.5 + k for k in range(len(COLUMNS))]


def test_less_is_better(file):
    assert load_truth("hw-nas-bench", path=file).to_dict() == {ARCHS[0]: 0.0, ARCHS[1]: -0.5}
    energy = load_truth("hw-nas-bench/ImageNet16-120", "fpga_energy", file)
    assert energy.to_dict() == {ARCHS[0]: -208.0, ARCHS[1]: -208.5}


def test_configurations_by_index(tmp_path):
    named = tables()
    named["config"] = dict(enumerate(named["config"]))
    path = write(tmp_path / "hw.pickle", {"nasbench201": {"cifar10": named}})
    assert list(load_truth("hw-nas-bench", path=path).index) == list(ARCHS)


def test_an_unknown_device(file):
    message = r"no column 'raspi_latency' \(did you mean 'raspi4_latency'\?\); it has edgegpu_lat"
    with pytest.raises(ZeroshotError, match=message):
        load_truth("hw-nas-bench", "raspi_latency", file)


def test_nothing_is_run(tmp_path):
    made = tmp_path / "made"
    path = write(tmp_path / "hw.pickle", content(note=Making(made)))
    with pytest.raises(ZeroshotError, match=r"hw\.pickle asks to run \w+\.mkdir"):
        load_truth("hw-nas-bench", path=path)
    assert not made.exists()
    load_truth("hw-nas-bench", path=path, trust=True)
    assert made.exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (7, "is not HW-NAS-Bench's, with nasbench201 on cifar10"),
        ({"nasbench201": {"cifar100": tables()}}, r"is not HW.*KeyError: 'cifar10'"),
        ({"nasbench201": {"cifar10": {**tables(), "config": [7, 8]}}}, "is not HW-NAS-Bench's"),
        (
            {"nasbench201": {"cifar10": {**tables(), "raspi4_latency": [1.0]}}},
            "1 values of raspi4_latency for 2 architectures",
        ),
    ],
)
def test_files_of_something_else(tmp_path, wrong, message):
    path = write(tmp_path / "hw.pickle", wrong)
    with pytest.raises(ZeroshotError, match=message):
        load_truth("hw-nas-bench", path=path)
