import re
import sys

import numpy as np
import pandas as pd
import pytest

from zeroshot.errors import ZeroshotError
from zeroshot.eval.plots import heat_map, scatter
from zeroshot.eval.report import COLUMNS, write_report
from zeroshot.eval.validate import rank_correlations, validate
from zeroshot.ranking import Ensemble, rank_sum

MINE = Ensemble("mine", ("plain", "synflow"), rank_sum, "here")
BETTER = {"plain": "lower"}


@pytest.fixture(scope="module")
def run():
    rng = np.random.default_rng(0)
    truth = pd.Series(95 - rng.exponential(4, size=60), index=[f"net{i}" for i in range(60)])
    truth.iloc[:4] = 10.0
    scores = pd.DataFrame({"arch": truth.index, "seed": 0})
    scores["synflow"] = 10.0 ** (truth.to_numpy() / 3 + rng.normal(size=60))
    scores["plain"] = rng.normal(size=60)
    scores.loc[7, "plain"] = np.inf
    scores["params"] = rng.integers(1, 5, size=60)
    scores["<b>&$x"] = 1.0
    table = validate(scores, truth, better=BETTER, ensembles=(MINE,), resamples=20)
    return table, scores, truth


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "new" / "folder"
    record = {"command": "zeroshot validate <scores>", "seconds per pass": {"Forward()": 0.123456}}
    assert write_report(folder, *run, record, better=BETTER, ensembles=(MINE,)).is_file()
    return folder


def test_files(run, folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "plots",
        "report.html",
        "validation.csv",
    ]
    plots = {path.name: path.read_bytes() for path in (folder / "plots").iterdir()}
    assert set(plots) == {
        "heat-map.png",
        "scatter-synflow.png",
        "scatter-plain.png",
        "scatter-params.png",
        "scatter-_b___x.png",
        "scatter-mine.png",
    }
    assert all(image.startswith(b"\x89PNG") for image in plots.values())


def test_csv_is_the_table(run, folder):
    found = pd.read_csv(folder / "validation.csv")
    expected = run[0].sort_values("kendall", ascending=False, kind="stable", ignore_index=True)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_page_is_whole_and_escaped(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 6
    assert not re.search(r'(src|href)=(?!"data:)|url\(|@import|<script', page)
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    assert "<b>&$x" not in page
    assert "&lt;b&gt;&amp;$x" in page
    assert "zeroshot validate &lt;scores&gt;" in page
    assert "Forward(): 0.1235" in page
    assert re.findall(r"<tr class=(\w+)>", page).count("baseline") == 1
    assert all(heading in page and meaning in page for _, heading, meaning in COLUMNS)


def test_writing_again_replaces(run, folder):
    before = (folder / "report.html").read_bytes()
    write_report(folder, *run, {}, better=BETTER, ensembles=(MINE,))
    assert (folder / "report.html").read_bytes() != before
    assert not list(folder.rglob(".*"))


def test_unwritable_folder(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ZeroshotError, match=r"cannot write .*file"):
        write_report(tmp_path / "file", *run, {}, better=BETTER, ensembles=(MINE,))


def axes_of(run, name, **options):
    table, scores, truth = run
    return scatter(scores, truth, table.set_index("name", drop=False).loc[name], **options).axes[0]


def test_scatter_scales(run):
    assert axes_of(run, "synflow").get_xscale() == "log"
    assert axes_of(run, "params").get_xscale() == "linear"
    assert axes_of(run, "plain").get_xlabel() == "plain, rank"  # of an infinite score
    assert "4 below" in axes_of(run, "params").texts[0].get_text()


def test_better_is_on_the_right(run):
    low, high = axes_of(run, "params", better="lower").get_xlim()
    assert low > high


def test_scatter_of_several_seeds_and_of_nothing(run):
    table, scores, truth = run
    row = table.set_index("name", drop=False).loc["params"]
    twice = pd.concat([scores, scores.assign(seed=1)])
    assert scatter(twice, truth, row).axes[0].get_xlabel() == "params, mean rank"
    scatter(scores.assign(params=np.nan), truth, row)


def test_heat_map_is_ordered_and_pyplot_is_not_used(run):
    _, scores, truth = run
    had = "matplotlib.pyplot" in sys.modules
    axes = heat_map(rank_correlations(scores, truth, better=BETTER, ensembles=(MINE,))).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] in ("synflow", "mine")
    assert labels[-1] == "accuracy"
    assert ("matplotlib.pyplot" in sys.modules) == had
