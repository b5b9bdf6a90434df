import gzip

import numpy as np
import pandas as pd
import pytest

from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks import load_truth
from zeroshot.eval.tables import read_scores, read_truth


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

    def test_an_architecture_of_several_columns(self, csv, tmp_path):
        text = "matrix,ops,acc\n010,01,90\n0010,1,80\n"
        parquet = tmp_path / "t.parquet"
        table = {"matrix": ["010", "0010"], "ops": ["01", "1"], "acc": [90.0, 80.0]}
        pd.DataFrame(table).to_parquet(parquet)
        for path in (csv(text), parquet):  # the only column of numbers is the last
            truth = read_truth(path, arch="{matrix}-{ops}")
            assert truth.to_dict() == {"010-01": 90, "0010-1": 80}

    @pytest.mark.parametrize(
        ("arch", "message"),
        [
            ("arch", "names of columns in braces"),
            ("{}", "names of columns in braces"),
            ("{0}", "names of columns in braces"),
            ("{arch", "names of columns in braces"),
            ("{arch.__class__}", "names of columns in braces"),
            ("{arch!r}", "names of columns in braces"),
            ("{arch:>9}", "names of columns in braces"),
            ("{arch}{ops}", "no column 'ops', only arch, acc.*--arch"),
        ],
    )
    def test_a_spelling_of_something_else(self, csv, arch, message):
        with pytest.raises(ZeroshotError, match=message):
            read_truth(csv("arch,acc\na,90\n"), arch=arch)

    def test_losses_are_negated(self, csv):
        path = csv("arch,loss\na,0.5\nb,\n")
        assert load_truth(str(path), better="lower").fillna(7).to_dict() == {"a": -0.5, "b": 7}
        with pytest.raises(ZeroshotError, match="better 'less': expected"):
            load_truth(str(path), better="less")

    def test_an_infinite_accuracy(self, csv):
        with pytest.raises(ZeroshotError, match="-inf in column 'acc', row 2; leave"):
            read_truth(csv("arch,acc\na,90\nb,-inf\n"))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "is empty"),
            ("hash,acc\na,1\n", "no column 'arch', only hash, acc"),
            ("arch,acc\na,93.1%\n", "'93.1%' in column 'acc', row 1, is no number"),
            ("arch,note,group\na,hello,x\n", "no column of numbers"),
            ("arch,acc\na,90\nb,9", "line 3: ends in the middle"),
            ("arch,acc\na,90\nb\n", "line 3: 1 fields, expected 2"),
            ("arch,acc\na,90,1\n", "line 2: 3 fields, expected 2"),
            ('arch,acc\na,90\n"b,91\n', "line 3: unexpected end of data"),
            ("arch,acc,acc\na,90,1\n", "two columns 'acc'"),
            ("arch,acc\n,90\n", "row 1 has no arch"),
            ("arch,acc\na,90\nb,93.1%\n", "'93.1%' in column 'acc', row 2, is no number"),
            ("arch,acc,note\na,90,x\nb,abc,y\n", "'abc' in column 'acc', row 2, is no number"),
            (",arch,acc\n0,a,90\n", "column 1 has no name; .* write it with index=False"),
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
            ("arch,seed,x\na,0,1\na,b,1\n", "'b' in column 'seed', row 2, is no number"),
            ("arch,seed,x\na,0.5,1\n", "seed 0.5 in row 1: expected a whole number"),
            ("arch,seed,x\na,inf,1\n", "seed inf in row 1: expected a whole number"),
            (",arch,seed,x\n0,a,0,1\n", "column 1 has no name"),
            ("arch,seed,x,\na,0,1,2\n", "column 4 has no name"),
        ],
    )
    def test_damage(self, csv, text, message):
        with pytest.raises(ZeroshotError, match=r"t\.csv.*" + message):
            read_scores(csv(text))


@pytest.mark.parametrize("cell", ["failed", "93.10%"])
def test_a_truth_with_text_among_its_numbers_is_not_passed_over(csv, cell):
    with pytest.raises(ZeroshotError, match=r"2 columns of numbers; name one.*acc, params"):
        read_truth(csv(f"arch,acc,params\na,{cell},1\nb,90,2\n"))


def test_other_separators_are_named(csv):
    with pytest.raises(ZeroshotError, match="has semicolons; expected commas"):
        read_truth(csv("arch;acc\na;90\n"))
    with pytest.raises(ZeroshotError, match=r"has semicolons; expected commas .* points"):
        read_truth(csv("arch;acc\na;90,5\n"))
