"""What every benchmark has to do, on a small file in its format."""

import json
import pickle
import re
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.eval.benchmarks import (
    test_hw_nas_bench,
    test_nasbench101,
    test_nasbench301,
    test_natsbench,
    test_transnasbench101,
)
from tests.eval.benchmarks.hostile import write
from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks import BENCHMARKS, Query, load_truth
from zeroshot.spaces import SPACES

CELLS = (
    "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    "|skip_connect~0|+|none~0|none~1|+|none~0|none~1|none~2|",
)
COLUMN = re.compile(r"[a-z][a-z0-9_]*")


def nb101(folder, patch):
    records = map(test_nasbench101.payload, test_nasbench101.ROWS)
    return Query(path=test_nasbench101.write(folder, *records))


def nb201(folder, patch):
    record = type("Architecture", (), {"__module__": "analognasbench.data"})
    stand_in = types.ModuleType("analognasbench.data")
    stand_in.Architecture = record
    things = {}
    for number in range(2):
        things[(number,) * 6] = thing = record()
        thing.baseline_accuracy = 80.0 + number
    path = folder / "data.anb"
    with patch.context() as within:  # pickle wants to find what it writes
        within.setitem(sys.modules, "analognasbench", types.ModuleType("analognasbench"))
        within.setitem(sys.modules, "analognasbench.data", stand_in)
        path.write_bytes(pickle.dumps(things))
    return Query(path=path)


def nats(folder, name, archs, epochs):
    files = folder / name
    files.mkdir()
    meta = {"meta_archs": list(archs), "total_archs": len(archs), "evaluated_indexes": set()}
    write(files / "meta.pickle.pbz2", {**meta, "arch2infos": None})
    for index, arch in enumerate(archs):
        content = test_natsbench.results(index, arch, epochs)
        write(files / f"{index:06d}.pickle.pbz2", content)
    return Query(path=files)


def nb301(folder, patch):
    files = test_nasbench301.folder.__wrapped__(folder)
    test_nasbench301.package.__wrapped__(patch)
    return Query(path=files, trust=True, archs=tuple(test_nasbench301.ARCHS))


def tnb101(folder, patch):
    return Query(path=write(folder / "transnas.pth", test_transnasbench101.database()))


def nbsz(folder, patch):
    path = folder / "zc_nasbench201.json"
    accuracies = {str((op,) * 6): {"val_accuracy": 80.0 + op} for op in range(5)}
    path.write_text(json.dumps({"cifar10": accuracies, "cifar100": accuracies}))
    return Query(path=path)


MADE = {
    "nb101": nb101,
    "nb201": nb201,
    "nats-tss": lambda folder, patch: nats(folder, "NATS-tss-v1_0-3ffb9-simple", CELLS, "200"),
    "nats-sss": lambda folder, patch: nats(
        folder, "NATS-sss-v1_0-50262-simple", test_natsbench.ARCHS, "90"
    ),
    "nb301": nb301,
    "tnb101-micro": tnb101,
    "tnb101-macro": tnb101,
    "nbsz": nbsz,
    "hw-nas-bench": lambda folder, patch: Query(
        path=write(folder / "hw.pickle", test_hw_nas_bench.content())
    ),
    "torchvision": lambda folder, patch: Query(),
}


# Those that read a file themselves: torchvision has none, nb301 leaves its own to a package.
READING = [each for each in BENCHMARKS if each.file != "none" and each.name != "nb301"]


@pytest.fixture(params=BENCHMARKS, ids=str)
def benchmark(request):
    return request.param


@pytest.fixture
def query(benchmark, tmp_path, monkeypatch):
    return MADE[benchmark.name](tmp_path, monkeypatch)


def datasets(benchmark):
    return benchmark.datasets or ("cifar10", "cifar100")


def test_every_data_set_is_a_table(benchmark, query):
    """Architectures once, columns of known names, finite numbers or NaN, the curve in order."""
    for dataset in datasets(benchmark):
        table = benchmark.load(replace(query, dataset=dataset))
        assert len(table)
        assert table.index.name == "arch"
        assert table.index.is_unique
        assert {type(arch) for arch in table.index} == {str}
        assert set(table.dtypes) == {np.dtype(np.float64)}
        assert not np.isinf(table.to_numpy()).any()
        assert table.columns.is_unique
        assert all(COLUMN.fullmatch(name) for name in table.columns), list(table.columns)
        if benchmark.better == "higher":
            assert table.columns[0] == "accuracy"
            assert (table["accuracy"] <= 100).all()  # a measure of TransNAS-Bench-101 is negative
        epochs = [int(name[6:]) for name in table.columns if name.startswith("epoch_")]
        assert epochs == sorted(epochs)


def test_its_space_reads_every_architecture(benchmark, query):
    spaces = {space.name: space for space in SPACES} | {"as the file": SPACES[0]}
    space = spaces[benchmark.space]
    table = benchmark.load(replace(query, dataset=datasets(benchmark)[0]))
    for arch in table.index:
        assert space.spell(space.parse(arch)) == arch


def test_more_is_better_in_what_is_loaded(benchmark, query):
    dataset = datasets(benchmark)[0]
    table = benchmark.load(replace(query, dataset=dataset))
    for column in table.columns:
        given = {"path": query.path, "trust": query.trust, "archs": query.archs}
        truth = load_truth(f"{benchmark.name}/{dataset}", column, **given)
        lower = benchmark.better == "lower" or column == "seconds"
        assert truth.equals(-table[column] if lower else table[column])


def test_again_the_same_and_nothing_drawn(benchmark, query):
    query = replace(query, dataset=datasets(benchmark)[0])
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert benchmark.load(query).equals(benchmark.load(query))
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("benchmark", READING, ids=str)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
def test_truncated(benchmark, query, share):
    """The files that it reads, cut off anywhere: one line that names the file."""
    files = [query.path] if query.path.is_file() else sorted(query.path.iterdir())
    for file in files:
        content = file.read_bytes()
        file.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ZeroshotError) as error:
            benchmark.load(replace(query, dataset=datasets(benchmark)[0]))
        assert file.name in str(error.value)
        assert "\n" not in str(error.value)
        file.write_bytes(content)
