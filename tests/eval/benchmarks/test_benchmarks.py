import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.eval.benchmarks.hostile import Making, write
from zeroshot import cli, commands
from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks import BENCHMARKS, Query, load_benchmark, load_truth
from zeroshot.eval.benchmarks.benchmark import tabulate


class TestSpecs:
    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("nb210", "'nb210' .*did you mean 'nb201'.*nb101, nb201, nats-tss, .*torchvision"),
            ("nb201/cifar11", "no data set 'cifar11'.*did you mean 'cifar10'"),
            ("nbsz", "'nbsz' needs its file"),
            ("nats-sss", "'nats-sss' needs its files"),
        ],
    )
    def test_mistakes(self, spec, message):
        for load in (load_truth, load_benchmark):
            with pytest.raises(ZeroshotError, match=message):
                load(spec)

    def test_columns(self):
        with pytest.raises(
            ZeroshotError, match=r"'torchvision' has no column 'acc' \(did you mean"
        ):
            load_truth("torchvision", "acc")

    def test_a_benchmarks_file_is_no_table(self, tmp_path):
        path = write(tmp_path / "transnas.pth", 7)
        with pytest.raises(ZeroshotError, match=r"pth is no table .*name the benchmark.*-path"):
            load_truth(str(path))

    def test_a_file_of_no_use_is_not_read(self, tmp_path):
        path = write(tmp_path / "x.pickle", 7)
        with pytest.raises(ZeroshotError, match="'nats-tss' has no data set 'svhn'"):
            load_truth("nats-tss/svhn", path=path)


class TestList:
    def test_distinct_names(self):
        assert len({benchmark.name for benchmark in BENCHMARKS}) == len(BENCHMARKS)

    @pytest.mark.parametrize("benchmark", BENCHMARKS, ids=str)
    def test_says_what_it_needs(self, benchmark):
        assert benchmark.file
        assert benchmark.better in ("higher", "lower")
        with pytest.raises(FrozenInstanceError):
            benchmark.name = "other"

    @pytest.mark.parametrize("benchmark", BENCHMARKS, ids=str)
    def test_a_folder_of_something_else(self, benchmark, tmp_path):
        """Whatever is there, the answer is one line, or the accuracies of who needs no files."""
        (tmp_path / "readme.txt").write_text("hello")
        for path in (tmp_path, tmp_path / "readme.txt", tmp_path / "nowhere"):
            query = Query(benchmark.datasets[0] if benchmark.datasets else "cifar10", path)
            if benchmark.file == "none":
                assert len(benchmark.load(query))
                continue
            with pytest.raises(ZeroshotError) as error:
                benchmark.load(query)
            assert "\n" not in str(error.value)


class TestTabulate:
    def test_rows_that_agree_are_one(self):
        rows = [
            ("b", {"x": 1.0}),
            ("a", {"x": np.nan, "y": 2.0}),
            ("a", {"y": 2.0}),
            ("b", {"x": 1.0}),
        ]
        table = tabulate(rows, "here")
        assert list(table.index) == ["b", "a"]
        assert table.index.name == "arch"
        expected = pd.DataFrame({"x": [1.0, np.nan], "y": [np.nan, 2.0]}, index=table.index)
        pd.testing.assert_frame_equal(table, expected)

    @pytest.mark.parametrize("other", [{"x": 2.0}, {"x": 1.0, "y": 0.0}, {}])
    def test_rows_that_disagree(self, other):
        with pytest.raises(ZeroshotError, match=r"here: rows of a disagree on '[xy]' \("):
            tabulate([("a", {"x": 1.0}), ("a", other)], "here")

    def test_no_rows(self):
        with pytest.raises(ZeroshotError, match="here holds no architectures"):
            tabulate([], "here")


class TestTorchvision:
    def test_accuracies(self):
        truth = load_truth("torchvision")
        assert truth["resnet18"] == pytest.approx(69.758)
        assert truth["resnet50"] == pytest.approx(76.13)  # V1, not V2
        assert not {"vit_h_14", "regnet_y_128gf"} & set(truth.index)  # SWAG only
        assert truth.between(50, 90).all()
        assert len(truth) > 70


ARCHS = [f"64-41414-{a}_00_003" for a in range(4)]


class TestCommands:
    @pytest.fixture
    def files(self, tmp_path):
        results = {
            arch: {"class_scene": {"metrics": {"valid_top1": [10.0, 40.0 + index]}}}
            for index, arch in enumerate(ARCHS)
        }
        write(tmp_path / "t.pth", {"data": {"micro": results}, "note": Making(tmp_path / "made")})
        scores = pd.DataFrame({"arch": ARCHS, "seed": 0, "snip": [1.0, 2.0, 4.0, 3.0]})
        scores.to_csv(tmp_path / "scores.csv", index=False)
        return tmp_path

    def test_validate(self, files):
        asked = {"benchmark_path": files / "t.pth", "resamples": 100}
        with pytest.raises(ZeroshotError, match=r"t\.pth asks to run"):
            commands.validate(files / "scores.csv", "tnb101-micro", **asked)
        assert not (files / "made").exists()
        found = commands.validate(files / "scores.csv", "tnb101-micro", trust=True, **asked)
        row = found.table.set_index("name").loc["snip"]
        assert (row["n"], row["best"]) == (4, 43.0)
        assert row["kendall"] == pytest.approx(2 / 3)

    def test_the_command_line(self, files, monkeypatch, capsys):
        words = ["zeroshot", "validate", "scores.csv", "--truth", "tnb101-micro"]
        words += ["--benchmark-path", "t.pth", "--resamples", "100"]
        monkeypatch.chdir(files)
        monkeypatch.setattr("sys.argv", words)
        with pytest.raises(SystemExit, match="2"):
            cli.main()
        said = capsys.readouterr().err
        assert said.startswith("error: t.pth asks to run ")
        assert said.count("\n") == 1
        monkeypatch.setattr("sys.argv", [*words, "--trust"])
        with pytest.raises(SystemExit, match="0"):
            cli.main()
        assert "Against 4 measured architectures, the best" in capsys.readouterr().out

    def test_a_surrogate_is_told_the_architectures(self, files, monkeypatch):
        asked = []

        def load(query):
            asked.append(query)
            return pd.DataFrame({"accuracy": range(4)}, index=query.archs, dtype=float)

        stand_in = type(BENCHMARKS[0])("mine", "any", ("one",), "none", "here", load)
        monkeypatch.setattr("zeroshot.eval.benchmarks.BENCHMARKS", (stand_in,))
        found = commands.validate(files / "scores.csv", "mine", resamples=100)
        assert asked == [Query("one", None, False, tuple(ARCHS))]
        assert found.table["n"].unique().tolist() == [4]

    def test_prune(self, files):
        """Refused before anything is measured."""
        with pytest.raises(ZeroshotError, match=r"t\.pth asks to run"):
            commands.prune("nasbench201", truth="tnb101-micro", benchmark_path=files / "t.pth")


def test_json_of_a_file_and_by_name(tmp_path):
    path = tmp_path / "zc_darts.json"
    path.write_text(json.dumps({"cifar10": {"(1, 2)": {"val_accuracy": 90.0}}}))
    assert load_truth(str(path)).equals(load_truth("nbsz", path=Path(path)))
