import json

import pandas as pd
import pytest

from zeroshot import commands
from zeroshot.errors import ZeroshotError
from zeroshot.eval.recorded import read_recorded
from zeroshot.eval.tables import EXACT

ARCHS = [13714, 5, 1000, 77]


def ranked(folder, name, **options):
    path = folder / f"{name}.csv"
    usual = {"archs": ARCHS, "small": True, "batch_size": 4, "workers": 1}
    commands.rank("nasbench201", out=path, **usual | options)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two proxies, another one of fewer architectures, and a second seed of the first two."""
    folder = tmp_path_factory.mktemp("runs")
    return (
        ranked(folder, "one", proxies="params,snip"),
        ranked(folder, "two", proxies="synflow", archs=ARCHS[:3]),
        ranked(folder, "three", proxies="params,snip", repeats=2),
    )


def test_other_proxies_and_architectures(files):
    scores, record = read_recorded(files[:2])
    one, two = (pd.read_csv(path, index_col=["arch", "seed"], **EXACT) for path in files[:2])
    found = scores.set_index(["arch", "seed"])
    assert list(found.columns) == ["params", "snip", "synflow"]
    assert found[["params", "snip"]].equals(one)
    assert found.loc[two.index, "synflow"].equals(two["synflow"])
    assert found["synflow"].isna().sum() == 1
    assert set(record["run"]["proxies"]) == {"params", "snip", "synflow"}
    assert "seconds per pass" not in record  # of 4 networks and of 3


def test_another_seed(files):
    """What both have is there once; costs are told, for as many networks were scored."""
    scores, record = read_recorded([files[2], files[0]])
    assert scores.equals(pd.read_csv(files[2], **EXACT))
    assert record["run"]["seeds"] == [0, 1]


def test_costs_of_as_many_networks(files, tmp_path):
    other = ranked(tmp_path, "other", proxies="synflow")
    _, record = read_recorded([files[0], other])
    mine, theirs = (
        json.loads(path.with_name(f"{path.name}.json").read_text()) for path in (files[0], other)
    )
    assert record["networks scored"] == 4
    assert record["seconds per pass"] == theirs["seconds per pass"] | mine["seconds per pass"]
    assert record["passes"] == mine["passes"] | theirs["passes"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 8}, "is of the batch 8 .*, .*one.csv of 4 .*cannot be compared"),
        ({"data": "digits"}, "is of the data digits, .* of noise"),
        ({"small": False, "channels": 4, "cells": 1}, "is of the space NasBench201.*cells=1"),
        ({"init": "kaiming_normal"}, "is of the init kaiming_normal, .* of default"),
    ],
)
def test_runs_that_cannot_be_compared(files, tmp_path, options, message):
    other = ranked(tmp_path, "other", proxies="synflow", **options)
    with pytest.raises(ZeroshotError, match=message):
        read_recorded([files[0], other])


def test_a_file_without_a_record(files, tmp_path):
    bare = tmp_path / "bare.csv"
    bare.write_bytes(files[1].read_bytes())
    assert read_recorded([bare])[1] == {}
    with pytest.raises(ZeroshotError, match=r"bare\.csv has no record that tells its space"):
        read_recorded([files[0], bare])
    with pytest.raises(ZeroshotError, match=r"bare\.csv has no .* beside those of .*one\.csv"):
        read_recorded([bare, files[0]])


def test_runs_mixed_by_hand(files, tmp_path):
    """More rows than the record tells of."""
    path = tmp_path / "mixed.csv"
    path.write_text(files[1].read_text() + "9,0,1.0\n")
    (tmp_path / "mixed.csv.json").write_text(files[1].with_name("two.csv.json").read_text())
    with pytest.raises(ZeroshotError, match=r"mixed\.csv has 4 rows, its record .* of 3: runs"):
        read_recorded([path])


@pytest.mark.parametrize(
    ("field", "message"), [("formula", "is edition 7"), ("score", "two scores")]
)
def test_what_differs(files, tmp_path, field, message):
    path = tmp_path / "other.csv"
    scores = pd.read_csv(files[0])
    record = json.loads(files[0].with_name("one.csv.json").read_text())
    if field == "formula":
        record["run"]["formulas"]["snip"] = "7"
    else:
        scores.loc[1, "snip"] += 1
    scores.to_csv(path, index=False)
    path.with_name("other.csv.json").write_text(json.dumps(record))
    with pytest.raises(ZeroshotError, match=message):
        read_recorded([files[0], path])


def test_a_damaged_record(files, tmp_path):
    """What it does not tell as it should is not told; the scores are put together all the same."""
    path = tmp_path / "other.csv"
    path.write_bytes(files[1].read_bytes())
    record = json.loads(files[1].with_name("two.csv.json").read_text())
    record["run"] |= {"formulas": 5, "better": ["x"], "proxies": None, "seeds": "0"}
    path.with_name("other.csv.json").write_text(json.dumps(record | {"networks scored": [3]}))
    scores, whole = read_recorded([files[0], path])
    assert scores["synflow"].notna().sum() == 3
    assert set(whole["run"]["better"]) == {"params", "snip"}


def test_validate_files_and_formulas(files, tmp_path):
    truth = pd.Series({arch: 1.0 + i for i, arch in enumerate(pd.read_csv(files[1])["arch"])})
    saved = tmp_path / "mine.txt"
    saved.write_text("log(snip) +\nlog(synflow)")
    by = ["log(snip)", str(saved)]
    found = commands.validate(list(files[:2]), truth, by=by, resamples=100, out=tmp_path / "report")
    assert {"log(snip)", "mine", "synflow"} <= set(found.table["name"])
    with pytest.raises(ZeroshotError, match="cannot rank by 'snop': did you mean 'snip'"):
        commands.validate(files[0], truth, by="snop")
    with pytest.raises(ZeroshotError, match="expected a ranking, its table or its files"):
        commands.validate([], truth)


@pytest.mark.parametrize(
    ("name", "members"), [("snip", "synflow"), ("vote", "snip"), ("mine", "synflow")]
)
def test_a_formula_with_the_name_of_another(files, tmp_path, name, members):
    """It would be dropped, or take the place of what users know by that name."""
    truth = pd.Series({arch: 1.0 + i for i, arch in enumerate(pd.read_csv(files[1])["arch"])})
    saved, other = tmp_path / f"{name}.txt", tmp_path / "other" / "mine.txt"
    other.parent.mkdir()
    for path in (saved, other):
        path.write_text(f"log({members})")
    with pytest.raises(ZeroshotError, match=f"a proxy or an ensemble '{name}' already; rename"):
        commands.validate(list(files[:2]), truth, by=[str(saved), str(other)])
    twice = commands.validate(
        list(files[:2]), truth, by=["snip", str(other), str(other)], resamples=100
    )
    assert twice.table["name"].tolist().count("mine") == 1


def test_files_of_unequal_seeds(files):
    """A proxy that has one of two seeds is rated on this one."""
    truth = pd.Series({arch: 1.0 + i for i, arch in enumerate(pd.read_csv(files[0])["arch"])})
    found = commands.validate([files[2], files[1]], truth, resamples=100).table.set_index("name")
    assert found.loc["synflow", ["n", "seeds"]].tolist() == [3, 1]
    assert found.loc["snip", ["n", "seeds"]].tolist() == [4, 2]


@pytest.mark.parametrize("text", ["[" * 5000, "{"])
def test_a_record_that_is_no_json(files, tmp_path, text):
    path = tmp_path / "one.csv"
    path.write_bytes(files[0].read_bytes())
    path.with_name("one.csv.json").write_text(text)
    with pytest.raises(ZeroshotError, match=r"run record .* is damaged"):
        read_recorded([path])
