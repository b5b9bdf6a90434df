import gzip
import json
import os
import pickle
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks import BENCHMARKS, _load_nb201, load_truth
from zeroshot.eval.tables import read_scores, read_truth

CELL = "|avg_pool_3x3~0|+|skip_connect~0|none~1|+|nor_conv_1x1~0|avg_pool_3x3~1|nor_conv_1x1~2|"


@pytest.fixture
def csv(tmp_path):
    def write(text, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
        return path

    return write


class TestReadTruth:
    def test_csv_gz_parquet(self, csv, tmp_path):
        text = "arch,acc\nb,90.5\na,91\n"
        parquet = tmp_path / "t.parquet"
        pd.DataFrame({"arch": ["b", "a"], "acc": [90.5, 91.0]}).to_parquet(parquet)
        for path in (csv(text), csv(text, "t.csv.gz"), parquet):
            truth = load_truth(str(path))
            assert truth.to_dict() == {"b": 90.5, "a": 91.0}
            assert list(truth.index) == ["b", "a"]

    def test_architectures_are_text(self, csv):
        truth = read_truth(csv('arch,acc\n007,1\nNA,2\n"N,A",3\n\n'))
        assert truth.to_dict() == {"007": 1, "NA": 2, "N,A": 3}

    def test_an_unknown_accuracy_is_nan(self, csv):
        truth = read_truth(csv("arch,acc\na,90\nb,\nc,nan\n"))
        assert truth.isna().tolist() == [False, True, True]

    def test_column(self, csv):
        path = csv("arch,index,time,test_acc\na,0,7,90\n")
        assert load_truth(f"{path}:test_acc")["a"] == 90
        assert load_truth(str(path), "time")["a"] == 7
        with pytest.raises(ZeroshotError, match=r"2 columns.*t\.csv:test_acc.*test_acc, time$"):
            load_truth(str(path))
        with pytest.raises(ZeroshotError, match=r"no column 'test_ac'.*did you mean 'test_acc'"):
            load_truth(f"{path}:test_ac")
        with pytest.raises(ZeroshotError, match="two columns"):
            load_truth(f"{path}:test_acc", "time")

    def test_doubled_rows(self, csv):
        assert read_truth(csv("arch,acc\na,90\na,90\n")).to_dict() == {"a": 90}
        with pytest.raises(ZeroshotError, match=r"rows of a disagree on 'acc' \(90 and 91\)"):
            read_truth(csv("arch,acc\na,90\nb,1\na,91\n"))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "is empty"),
            ("hash,acc\na,1\n", "no column 'arch', only hash, acc"),
            ("arch,note\na,hello\n", "no column of numbers"),
            ("arch,acc\na,90\nb,9", "line 3: ends in the middle"),
            ("arch,acc\na,90\nb\n", "line 3: 1 fields, expected 2"),
            ("arch,acc\na,90,1\n", "line 2: 3 fields, expected 2"),
            ('arch,acc\na,90\n"b,91\n', "line 3: unexpected end of data"),
            ("arch,acc,acc\na,90,1\n", "two columns 'acc'"),
            ("arch,acc\n,90\n", "row 1 has no arch"),
        ],
    )
    def test_damage(self, csv, text, message):
        with pytest.raises(ZeroshotError, match=r"t\.csv.*" + message):
            read_truth(csv(text))

    def test_text_for_a_number(self, csv):
        with pytest.raises(ZeroshotError, match="'good' in column 'acc', row 2, is no number"):
            read_truth(csv("arch,acc\na,1\nb,good\n"), "acc")

    @pytest.mark.parametrize("keep", [5, 40])
    def test_truncated_gzip(self, csv, keep):
        path = csv("arch,acc\n" + "".join(f"n{i},{i}\n" for i in range(99)), "t.csv.gz")
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(ZeroshotError, match=r"t\.csv\.gz is truncated or corrupt"):
            read_truth(path)

    def test_no_gzip_no_text_no_parquet_no_file(self, csv, tmp_path):
        for name, content in (
            ("a.csv.gz", b"arch,acc\n"),
            ("b.csv", b"arch,acc\n\xff\xfe,1\n"),
            ("c.parquet", b"PAR1 is how it starts"),
            ("d.parquet", b""),
        ):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(ZeroshotError, match=name.replace(".", r"\.")):
                load_truth(str(tmp_path / name))
        for name in ("none.csv", "none.parquet", "none.csv:acc", "none.json"):
            with pytest.raises(ZeroshotError, match=r"there is no file .*none\.\w+; check"):
                load_truth(str(tmp_path / name))
        with pytest.raises(ZeroshotError, match="is no table"):
            read_truth(tmp_path / "x.npz")


class TestReadScores:
    def test_values(self, csv):
        scores = read_scores(csv("arch,seed,x,y\na,0,1.5,inf\nb,0,,-inf\n"))
        assert scores["x"].tolist()[0] == 1.5
        assert np.isnan(scores["x"][1])
        assert scores["y"].tolist() == [np.inf, -np.inf]

    def test_every_float_survives(self, csv):
        values = np.random.default_rng(0).normal(size=200) * 10.0 ** np.arange(-100, 100)
        rows = "".join(f"n{i},0,{value!r}\n" for i, value in enumerate(values.tolist()))
        assert read_scores(csv("arch,seed,x\n" + rows))["x"].to_numpy() == pytest.approx(
            values, rel=1e-15
        )

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("arch,x\na,1\n", "no column 'seed'"),
            ("arch,seed,x\na,0,1\na,0,1\n", "a with seed 0 has more than one row"),
            ("arch,seed,x\na,0,oops\n", "'oops' in column 'x', row 1, is no number"),
            ("arch,seed,x\na,0,1\nb,0,2\na,1,2\n", "seed 1 has scores of 1 of 2"),
            ("arch,seed,x\na,0,1.23", "line 2: ends in the middle"),
            ("arch,seed,x\na,,1\n", "row 1 of the scores has no seed"),
        ],
    )
    def test_damage(self, csv, text, message):
        with pytest.raises(ZeroshotError, match=r"t\.csv.*" + message):
            read_scores(csv(text))


class TestSpecs:
    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("nb210", "'nb210' .*did you mean 'nb201'.*nb201, torchvision, nats-tss, nbsz"),
            ("nb201/cifar11", "no data set 'cifar11'.*did you mean 'cifar10'"),
            ("nbsz", "'nbsz' needs its file"),
        ],
    )
    def test_mistakes(self, spec, message):
        with pytest.raises(ZeroshotError, match=message):
            load_truth(spec)

    def test_a_benchmark_has_no_columns(self):
        with pytest.raises(ZeroshotError, match=r"column 'acc'.*write nb201/cifar10"):
            load_truth("nb201", "acc")

    def test_distinct_names(self):
        assert len({benchmark.name for benchmark in BENCHMARKS}) == len(BENCHMARKS)


class Evil:
    def __reduce__(self):
        return (os.system, ("exit 1",))


class TestNb201:
    def test_encoding(self, tmp_path, monkeypatch):
        record = type("Architecture", (), {"__module__": "analognasbench.data"})
        stand_in = types.ModuleType("analognasbench.data")
        stand_in.Architecture = record
        thing = record()
        thing.baseline_accuracy = 88.5
        path = tmp_path / "data.anb"
        with monkeypatch.context() as patch:  # pickle wants to find what it writes
            patch.setitem(sys.modules, "analognasbench", types.ModuleType("analognasbench"))
            patch.setitem(sys.modules, "analognasbench.data", stand_in)
            path.write_bytes(pickle.dumps({(4, 0, 3, 1, 4, 3): thing}))
        assert load_truth("nb201", path=path).to_dict() == {CELL: 88.5}

    @pytest.mark.parametrize(
        "table", [{(4, 0, 3, 1, 4, 3): Evil()}, {(0,) * 6: Path("x")}, {(9,) * 6: 1}, {(0,): 1}, 7]
    )
    def test_anything_else_is_refused(self, tmp_path, table):
        path = tmp_path / "data.anb"
        path.write_bytes(pickle.dumps(table))
        with pytest.raises(ZeroshotError, match=r"data\.anb is not the data of analog-nasbench"):
            load_truth("nb201", path=path)

    def test_a_truncated_file(self, tmp_path):
        path = tmp_path / "data.anb"
        path.write_bytes(pickle.dumps({"a": [1.0] * 99})[:-40])
        with pytest.raises(ZeroshotError, match="is not the data"):
            load_truth("nb201", path=path)

    def test_not_installed(self, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(ZeroshotError, match=r"pip install 'zeroshot-nas\[nb201\]'"):
            load_truth("nb201")

    @pytest.mark.skipif(find_spec("analognasbench") is None, reason="the extra nb201 is missing")
    def test_the_package(self):
        truth = _load_nb201("cifar10", None)
        assert len(truth) == len(set(truth.index)) == 15_625
        assert truth.notna().all()
        assert "analognasbench" not in sys.modules
        best = truth.idxmax()
        assert best == (
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
            "+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"
        )
        assert truth.max() == pytest.approx(94.0664)
        assert truth["|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"] == pytest.approx(
            10, abs=0.5
        )


class TestTorchvision:
    def test_accuracies(self):
        truth = load_truth("torchvision")
        assert truth["resnet18"] == pytest.approx(69.758)
        assert truth["resnet50"] == pytest.approx(76.13)  # V1, not V2
        assert not {"vit_h_14", "regnet_y_128gf"} & set(truth.index)  # SWAG only
        assert truth.between(50, 90).all()
        assert len(truth) > 70


class TestNbsz:
    @pytest.fixture
    def file(self, tmp_path):
        entry = {"val_accuracy": 85.0, "id": 7, "snip": {"score": 1.0, "time": 0.1}}
        other = {"val_accuracy": 40.0}
        path = tmp_path / "zc_nasbench201.json"
        key = "(4, 0, 3, 1, 4, 3)"
        path.write_text(json.dumps({"cifar10": {key: entry}, "cifar100": {key: other}}))
        return path

    def test_by_file_and_by_name(self, file):
        assert load_truth(f"{file}:cifar100").to_dict() == {CELL: 40.0}
        assert load_truth("nbsz/cifar10", path=file).to_dict() == {CELL: 85.0}

    def test_other_spaces_keep_their_notation(self, file):
        other = file.with_name("zc_transbench101_micro.json")
        other.write_bytes(file.read_bytes())
        assert list(load_truth(f"{other}:cifar10").index) == ["(4, 0, 3, 1, 4, 3)"]

    def test_data_sets(self, file):
        with pytest.raises(ZeroshotError, match=r"has several; name one, .*json:cifar10"):
            load_truth(str(file))
        with pytest.raises(ZeroshotError, match=r"no data set 'svhn'.*; it has cifar10, cifar100"):
            load_truth(f"{file}:svhn")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"cifar10": {"(4, 0', "is truncated or no JSON"),
            ("[]", "is no file of NAS-Bench-Suite-Zero"),
            ('{"cifar10": {"(4, 0)": {"val_accuracy": 1}}}', r"architecture '\(4, 0\)'"),
            ('{"cifar10": {"(0, 0, 0, 0, 0, 0)": {}}}', "a val_accuracy"),
            ('{"cifar10": {"(0, 0, 0, 0, 0, -1)": {"val_accuracy": 1}}}', "cannot read"),
            ('{"cifar10": {"exit()": {"val_accuracy": 1}}}', r"'exit\(\)'"),
        ],
    )
    def test_damage(self, file, text, message):
        file.write_text(text)
        with pytest.raises(ZeroshotError, match=r"zc_nasbench201\.json.*" + message):
            load_truth(str(file))


class TestNatsTss:
    def test_missing_package(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "nats_bench", None)
        with pytest.raises(ZeroshotError, match="pip install nats-bench"):
            load_truth("nats-tss/cifar100")

    def test_through_a_stand_in(self, monkeypatch, tmp_path):
        class Api:
            def __len__(self):
                return 2

            def arch(self, index):
                return ("a", "b")[index]

            def get_more_info(self, index, dataset, hp, is_random):
                assert (hp, is_random) == ("200", False)
                return {"valid-accuracy": 1.0, "test-accuracy": {"cifar10": 90.0}[dataset] + index}

        def create(path, space, fast_mode, verbose):
            assert (path, space, fast_mode, verbose) == (str(tmp_path), "tss", True, False)
            return Api()

        monkeypatch.setitem(sys.modules, "nats_bench", types.SimpleNamespace(create=create))
        assert load_truth("nats-tss", path=tmp_path).to_dict() == {"a": 90.0, "b": 91.0}
        with pytest.raises(ZeroshotError, match="nats-bench cannot read"):
            load_truth("nats-tss/cifar100", path=tmp_path)
        with pytest.raises(ZeroshotError, match="needs its files: no path"):
            load_truth("nats-tss")
