import shutil
from collections import OrderedDict

import numpy as np
import pytest

from tests.eval.benchmarks.hostile import Making, write
from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks import load_benchmark, load_truth

ARCHS = ["8:8:8:8:8", "8:8:8:8:16", "8:8:8:8:24"]
LAST = 3  # epochs of the longest training here; the files say 90 or 200
SETS = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}


def accuracy(index, dataset, seed, measured, epoch):
    """Any number that tells the five apart."""
    return 10 * index + len(dataset) + seed / 1000 + len(measured) / 10 + epoch / 100


def trial(index, dataset, seed):
    """As the authors' ResultsCount keeps it, where `cifar100` has `x-test` at the end only."""
    accuracies = {
        f"{measured}@{epoch}": np.float64(accuracy(index, dataset, seed, measured, epoch))
        for measured in SETS[dataset]
        for epoch in range(LAST)
        if measured != "x-test" or epoch == LAST - 1
    }
    return {
        "name": dataset,
        "train_times": OrderedDict((epoch, 2.0 + seed / 1000) for epoch in range(LAST)),
        "params": np.float64(0.05),
        "seed": f"{seed:04d}",
        "epochs": LAST,
        "eval_names": list(SETS[dataset]),
        "eval_acc1es": accuracies,
        "net_state_dict": None,
    }


def results(index, arch, epochs, seeds=(777, 888)):
    """As the authors' ArchResults, by the number of epochs."""
    short = {"dataset_seed": {}, "all_results": {}, "arch_str": arch}
    long = {
        "arch_index": index,
        "arch_str": arch,
        "dataset_seed": {dataset: list(seeds) for dataset in SETS},
        "all_results": {(d, seed): trial(index, d, seed) for d in SETS for seed in seeds},
        "clear_net_done": True,
    }
    return OrderedDict([("12", short), (epochs, long)])


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "NATS-sss-v1_0-50262-simple"
    folder.mkdir()
    meta = {"meta_archs": ARCHS, "total_archs": 3, "arch2infos": None, "evaluated_indexes": set()}
    write(folder / "meta.pickle.pbz2", meta)
    for index, arch in enumerate(ARCHS):
        write(folder / f"{index:06d}.pickle.pbz2", results(index, arch, "90"))
    return folder


class TestTable:
    @pytest.mark.parametrize(
        ("dataset", "measured"),
        [
            ("cifar10", "ori-test"),
            ("cifar10-valid", "x-valid"),
            ("cifar100", "x-test"),
            ("ImageNet16-120", "x-test"),
        ],
    )
    def test_means_over_seeds(self, folder, dataset, measured):
        table = load_benchmark(f"nats-sss/{dataset}", folder)
        assert list(table.index) == ARCHS
        for index, arch in enumerate(ARCHS):
            both = [accuracy(index, dataset, seed, measured, LAST - 1) for seed in (777, 888)]
            assert table["accuracy"][arch] == pytest.approx(np.mean(both), rel=1e-12)
            assert table["seconds"][arch] == pytest.approx(np.mean([6 + 2.331, 6 + 2.664]))
        epochs = [3] if measured == "x-test" else [1, 2, 3]
        assert list(table.columns) == ["accuracy", "seconds", *(f"epoch_{n}" for n in epochs)]
        assert table["epoch_3"].equals(table["accuracy"].rename("epoch_3"))

    def test_the_curve(self, folder):
        second = load_truth("nats-sss", "epoch_2", folder)
        both = [accuracy(1, "cifar10", seed, "ori-test", 1) for seed in (777, 888)]
        assert second["8:8:8:8:16"] == pytest.approx(np.mean(both), rel=1e-12)

    def test_less_time_is_better(self, folder):
        table = load_benchmark("nats-sss", folder)
        assert load_truth("nats-sss", "seconds", folder).equals(-table["seconds"])

    def test_one_file_with_everything(self, folder, tmp_path):
        whole = {
            "meta_archs": ARCHS,
            "arch2infos": {index: results(index, arch, "90") for index, arch in enumerate(ARCHS)},
            "evaluated_indexes": {0, 1, 2},
        }
        path = write(tmp_path / "NATS-sss-v1_0-50262.pickle.pbz2", whole)
        assert load_benchmark("nats-sss", path).equals(load_benchmark("nats-sss", folder))

    def test_topology(self, tmp_path):
        cell = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
        write(tmp_path / "meta.pickle.pbz2", {"meta_archs": [cell]})
        write(tmp_path / "000000.pickle.pbz2", results(0, cell, "200", seeds=(111,)))
        truth = load_truth("nats-tss/cifar10-valid", path=tmp_path)
        expected = accuracy(0, "cifar10-valid", 111, "x-valid", LAST - 1)
        assert truth.to_dict() == {cell: pytest.approx(expected)}

    def test_unknown_times(self, folder):
        content = results(0, ARCHS[0], "90")
        for one in content["90"]["all_results"].values():
            one["train_times"] = None
        write(folder / "000000.pickle.pbz2", content)
        assert load_benchmark("nats-sss", folder)["seconds"].isna().tolist() == [True, False, False]


class TestRefused:
    def test_nothing_is_run(self, folder, tmp_path):
        made = tmp_path / "made"
        content = results(1, ARCHS[1], "90")
        content["90"]["note"] = Making(made)
        write(folder / "000001.pickle.pbz2", content)
        with pytest.raises(ZeroshotError, match=r"000001\.pickle\.pbz2 asks to run \w+\.mkdir"):
            load_truth("nats-sss", path=folder)
        assert not made.exists()
        assert len(load_truth("nats-sss", path=folder, trust=True)) == 3
        assert made.exists()

    def test_missing_files(self, folder):
        (folder / "000001.pickle.pbz2").unlink()
        with pytest.raises(ZeroshotError, match=r"lacks 1 of 3 files, the first 000001\.pickle"):
            load_truth("nats-sss", path=folder)
        (folder / "meta.pickle.pbz2").unlink()
        with pytest.raises(ZeroshotError, match=r"there is no file .*meta\.pickle\.pbz2"):
            load_truth("nats-sss", path=folder)

    def test_files_of_two_downloads(self, folder):
        shutil.copy(folder / "000000.pickle.pbz2", folder / "000002.pickle.pbz2")
        message = r"000002\S* is of 8:8:8:8:8, but by meta\.pickle\.pbz2 it is 8:8:8:8:24"
        with pytest.raises(ZeroshotError, match=message):
            load_truth("nats-sss", path=folder)

    def test_an_architecture_twice(self, folder):
        write(folder / "meta.pickle.pbz2", {"meta_archs": [ARCHS[0], ARCHS[0], ARCHS[2]]})
        write(folder / "000001.pickle.pbz2", results(1, ARCHS[0], "90"))
        with pytest.raises(ZeroshotError, match=r"rows of 8:8:8:8:8 disagree on 'accuracy' \(8.65"):
            load_truth("nats-sss", path=folder)

    @pytest.mark.parametrize(
        "content",
        [7, {}, {"90": 7}, {"90": {"arch_str": ARCHS[0], "dataset_seed": {"cifar10": []}}}, "90"],
    )
    def test_files_of_something_else(self, folder, content):
        write(folder / "000000.pickle.pbz2", content)
        with pytest.raises(ZeroshotError, match=r"000000\S* is not NATS-Bench's, with cifar10 aft"):
            load_truth("nats-sss", path=folder)
        write(folder / "meta.pickle.pbz2", content)
        with pytest.raises(ZeroshotError, match=r"meta\S* is not NATS-Bench's"):
            load_truth("nats-sss", path=folder)

    def test_the_other_space(self, folder):
        with pytest.raises(ZeroshotError, match=r"is not NATS-Bench's, with cifar10 after 200"):
            load_truth("nats-tss", path=folder)

    def test_truncated(self, folder):
        path = folder / "000002.pickle.pbz2"
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(ZeroshotError, match=r"000002\S* is truncated or no pickle"):
            load_truth("nats-sss", path=folder)

    def test_no_path(self, tmp_path):
        with pytest.raises(ZeroshotError, match=r"'nats-tss' needs its files: no path .*-simple"):
            load_truth("nats-tss")
        with pytest.raises(ZeroshotError, match=r"needs its files: there is nothing at .*nowhere"):
            load_truth("nats-tss", path=tmp_path / "nowhere")
