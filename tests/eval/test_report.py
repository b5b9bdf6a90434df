import html
import re
import shutil
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from zeroshot.errors import ZeroshotError
from zeroshot.eval.advise import advise
from zeroshot.eval.columns import ADVICE, BESIDES, DIFFERENCES, STATISTICS
from zeroshot.eval.compare import clusters, correlations
from zeroshot.eval.correlate import kendall
from zeroshot.eval.plots import heat_map, pareto, scatter, short_names
from zeroshot.eval.report import write_advice, write_report
from zeroshot.eval.validate import rank_correlations, validate
from zeroshot.eval.verdict import advice, verdict
from zeroshot.ranking import Ensemble, expression, rank_sum

MINE = Ensemble("mine", ("plain", "synflow"), rank_sum, "here")
BETTER = {"plain": "lower"}
RECORD = {
    "command": "zeroshot validate <scores>",
    "passes": {"plain": ["Forward()"], "synflow": ["Synflow()"], "params": []},
    "seconds per pass": {"Forward()": 0.123456, "Synflow()": 7.0},
    "networks scored": 60,
    "not a number": {"plain": {"<none>": 1}},
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


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
    table = validate(scores, truth, better=BETTER, ensembles=(MINE,), resamples=100, record=RECORD)
    return table, scores, truth


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "new" / "folder"
    assert write_report(folder, *run, RECORD, better=BETTER, ensembles=(MINE,)).is_file()
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
        "pareto.png",
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


def test_page_is_whole_and_escaped(run, folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 7
    assert not re.search(r'(src|href)=(?!"data:)|url\(|@import|<script', page)
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    assert "<b>&$x" not in page
    assert "&lt;b&gt;&amp;$x" in page
    assert "zeroshot validate &lt;scores&gt;" in page
    assert "Forward(): 0.1235" in page
    assert re.findall(r"<tr class=(\w+)>", page).count("baseline") == 3
    columns = (*STATISTICS, *DIFFERENCES, *BESIDES)
    assert all(column.heading in page and column.meaning in page for column in columns)
    assert all(html.escape(words) in page for words in verdict(run[0]))


def test_writing_again_replaces(run, folder):
    before = (folder / "report.html").read_bytes()
    write_report(folder, *run, {}, better=BETTER, ensembles=(MINE,))
    assert (folder / "report.html").read_bytes() != before
    assert not list(folder.rglob("*.tmp"))


def test_unwritable_folder(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ZeroshotError, match=r"file.* is a file, or lies in one"):
        write_report(tmp_path / "file", *run, {}, better=BETTER, ensembles=(MINE,))


def test_without_a_record_there_is_no_picture_of_costs(run, tmp_path):
    _, scores, truth = run
    scores = scores[["arch", "seed", "synflow"]]
    page = write_report(tmp_path, validate(scores, truth, resamples=100), scores, truth, {})
    assert not (tmp_path / "plots" / "pareto.png").exists()
    assert "no run record that tells passes and seconds" in page.read_text(encoding="utf-8")


NAN, INF = float("nan"), float("inf")
N = 24
GOOD = np.arange(N) + np.sin(np.arange(N)) * 4
DEGENERATE = {
    "one proxy": {"x": GOOD},
    "all ties": {"x": np.ones(N), "y": np.zeros(N)},
    "a constant column": {"x": GOOD, "params": np.ones(N)},
    "NaN and inf": {"x": np.where(GOOD > 9, NAN, GOOD), "y": np.where(GOOD > 9, INF, -INF)},
    "nothing but NaN": {"x": np.full(N, NAN), "y": GOOD},
    "no proxy but a baseline": {"params": GOOD},
    "no architecture in common": {"x": [*GOOD[:12], *[NAN] * 12], "y": [*[NAN] * 12, *GOOD[12:]]},
    "three architectures": {"x": [1.0, 3, 2], "y": [1.0, 2, 3], "depth": [1.0, 1, 2]},
}


def degenerate(case, seeds):
    columns = DEGENERATE[case]
    archs = [f"net{i}" for i in range(len(next(iter(columns.values()))))]
    truth = pd.Series(np.arange(len(archs)), index=archs, dtype=float)
    parts = [pd.DataFrame({"arch": archs, "seed": seed} | columns) for seed in range(seeds)]
    return pd.concat(parts), truth


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_tables_have_words(case, seeds):
    scores, truth = degenerate(case, seeds)
    words = verdict(validate(scores, truth, resamples=100))
    assert any("one seed" in sentence for sentence in words) == (seeds == 1)
    assert not any(
        re.search(r"\bnan\b", sentence) for sentence in (*words, *advice(advise(scores)))
    )


@pytest.mark.parametrize("case", ["one proxy", "all ties", "nothing but NaN", "NaN and inf"])
def test_degenerate_tables_have_pages(case, tmp_path):
    scores, truth = degenerate(case, 1)
    table, told = validate(scores, truth, resamples=100), advise(scores)
    page = write_report(tmp_path, table, scores, truth, {}).read_text(encoding="utf-8")
    assert all(html.escape(sentence) in page for sentence in verdict(table))
    advised = write_advice(tmp_path, told, scores, {}).read_text(encoding="utf-8")
    assert all(html.escape(sentence) in advised for sentence in advice(told))


def test_advice_page(run, tmp_path):
    _, scores, _ = run
    table = advise(scores, better=BETTER, record=RECORD)
    path = write_advice(tmp_path / "new", table, scores, RECORD, better=BETTER)
    assert sorted(found.name for found in path.parent.iterdir()) == ["advice.csv", "advice.html"]
    found = pd.read_csv(path.with_suffix(".csv"), keep_default_na=False, na_values={"ties": [""]})
    assert found["name"].tolist() == table["name"].tolist()
    assert found["findings"].tolist() == table["findings"].tolist()
    page = path.read_text(encoding="utf-8")
    assert not re.search(r'(src|href)=(?!"data:)|url\(|@import|<script', page)
    assert "<b>&$x" not in page
    assert "<none>" not in page
    assert "<small>&lt;none&gt;</small>" in page
    assert all(column.heading in page and column.meaning in page for column in ADVICE)


@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="there is no browser")
def test_pages_fit_a_phone_and_ask_the_network_for_nothing(run, folder, tmp_path):
    _, scores, _ = run
    table = advise(scores, better=BETTER, record=RECORD)
    pages = folder / "report.html", write_advice(tmp_path, table, scores, RECORD, better=BETTER)
    frames = "".join(
        f'<iframe width=390 height=844 srcdoc="{html.escape(page.read_text(encoding="utf-8"))}">'
        "</iframe>"
        for page in pages
    )
    script = """<script>onload = () => { document.title = [...document.querySelectorAll("iframe")]
      .map(({contentWindow: page}) => [
        page.innerWidth, page.document.documentElement.scrollWidth,
        [...page.document.images].every(image => image.complete && image.naturalWidth > 0
          && image.getBoundingClientRect().right <= page.innerWidth),
        page.performance.getEntriesByType("resource").filter(it => !/^data:/.test(it.name)).length
      ].join(" ")).join("; ") }</script>"""
    (tmp_path / "phone.html").write_text(f"<!doctype html>{frames}{script}", encoding="utf-8")
    browser = next(path for path in map(shutil.which, BROWSERS) if path)
    flags = (
        "--headless --no-sandbox --disable-gpu --hide-scrollbars --disable-background-networking"
    )
    found = subprocess.run(
        [
            *(browser, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}"),
            *("--virtual-time-budget=5000", "--dump-dom", (tmp_path / "phone.html").as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    title = re.search("<title>(.*?)</title>", found.stdout)
    assert title, found.stderr
    assert title[1] == "390 390 true 0; 390 390 true 0"


def axes_of(run, name, **options):
    table, scores, truth = run
    return scatter(scores, truth, table.set_index("name", drop=False).loc[name], **options).axes[0]


def test_scatter_scales(run):
    assert axes_of(run, "synflow").get_xscale() == "log"
    assert axes_of(run, "params").get_xscale() == "linear"
    assert axes_of(run, "plain").get_xlabel() == "plain, rank"  # of an infinite score
    assert "4 below" in axes_of(run, "params").texts[0].get_text()


def test_better_is_on_the_right(run):
    low, high = axes_of(run, "params", better={"params": "lower"}).get_xlim()
    assert low > high


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("name", ["cost", "rare", "both", "log(cost)"])
def test_what_is_drawn_is_what_was_judged(name, seeds):
    """Whatever the directions; `rare` is infinite once."""
    rng = np.random.default_rng(0)
    truth = pd.Series(rng.normal(size=40), [f"net{i}" for i in range(40)])
    parts = [
        pd.DataFrame({"arch": truth.index, "seed": seed, "x": rng.normal(size=40)}).assign(
            cost=1 + (truth.to_numpy() + rng.normal(size=40)) ** 2,
            rare=[-np.inf, *(-truth.to_numpy()[1:] + rng.normal(size=39))],
        )
        for seed in range(seeds)
    ]
    scores, better = pd.concat(parts), {"cost": "lower", "rare": "lower"}
    own = Ensemble("both", ("cost", "x"), rank_sum, ""), expression("log(cost)")
    table = validate(scores, truth, better=better, ensembles=own, resamples=100)
    row = table.set_index("name", drop=False).loc[name]
    by = {str(each): each for each in own}.get(name)
    axes = scatter(scores, truth, row, by=by, better=better).axes[0]
    x, y = np.concatenate([points.get_offsets() for points in axes.collections]).T
    left, right = axes.get_xlim()
    assert kendall(np.sign(right - left) * x, y) == pytest.approx(row["kendall"])


def test_losses_are_drawn_as_measured():
    """In their own unit, the better ones at the top."""
    loss = pd.Series(np.geomspace(1e-4, 5e-3, 40), [f"net{i}" for i in range(40)], name="ms")
    loss.iloc[-1] = 3.0
    scores = pd.DataFrame({"arch": loss.index, "seed": 0, "x": range(40)})
    table = validate(scores, -loss, resamples=100, lower_is_better=True)
    axes = scatter(scores, -loss, table.iloc[0], lower_is_better=True).axes[0]
    assert axes.get_ylabel() == "ms (lower is better)"
    bottom, top = axes.get_ylim()
    assert 0.005 < bottom < 0.02
    assert top < 2e-4
    assert re.fullmatch(r"▾ 1 above 0\.0\d+", axes.texts[0].get_text())


def test_long_names_are_short_and_distinct(run, tmp_path):
    _, scores, truth = run
    terms = " + ".join(["log(synflow)"] * 20)
    own = tuple(expression(f"{terms} + {number}*params + 0*log(plain)") for number in (2, 3))
    given = {"better": BETTER, "ensembles": own}
    table = validate(scores, truth, resamples=100, **given)
    labels = list(short_names(table["name"]).values())
    assert labels[-2:] == ["log(synflow) + …g(plain)", "log(synflow…g(plain) (2)"]
    assert max(map(len, labels)) == 24
    axes = heat_map(rank_correlations(scores, truth, **given)).axes[0]
    assert {label.get_text() for label in axes.get_xticklabels()} == {*labels, "accuracy"}
    axes = scatter(scores, truth, table.iloc[-1], by=own[-1]).axes[0]
    assert axes.get_xlabel() == "log(synflow) + …g(plain), combined ranks"
    axes = pareto(table.assign(seconds=1.0)).axes[0]
    assert {text.get_text() for text in axes.texts} <= set(labels)


def test_ticks_of_costs_do_not_overlap():
    cost = [0.0, 5e-4, 0.02, 0.3, 5.0]
    table = pd.DataFrame({"name": list("abcde"), "kind": "proxy", "kendall": [0.1, 0.2, 0, 0.4, 0]})
    figure = pareto(table.assign(seconds=cost, pareto=False))
    axes = figure.axes[0]
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert len(boxes) == 5
    assert all(one.x1 < two.x0 for one, two in pairwise(boxes))
    assert axes.get_legend().get_window_extent().y0 >= axes.bbox.y1


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


def test_heat_map_puts_clusters_side_by_side_in_frames():
    rng = np.random.default_rng(0)
    a, b, accuracy = rng.normal(size=(3, 50))
    rated = pd.DataFrame({"a": a, "b": b, "a too": -a, "good": accuracy, "accuracy": accuracy})
    among = correlations(rated)
    groups = clusters(among.drop(index="accuracy", columns="accuracy"))
    axes = heat_map(among, groups).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert (labels[0], labels[-1]) == ("good", "accuracy")
    place = min(labels.index("a"), labels.index("a too"))
    assert {labels[place], labels[place + 1]} == {"a", "a too"}
    (frame,) = axes.patches
    assert frame.get_bbox().bounds == (place - 0.5, place - 0.5, 2, 2)
    without = heat_map(among.iloc[:4, :4], groups, accuracy=False).axes[0]
    shown = [label.get_text() for label in without.get_yticklabels()]
    assert shown == ["a", "a too", "b", "good"]


def test_pareto_joins_the_front_and_names_it(run):
    table, _, _ = run
    axes = pareto(table).axes[0]
    front = table[table["pareto"]]
    (line,) = axes.lines
    assert sorted(line.get_ydata()) == sorted(front["kendall"])
    named = {text.get_text() for text in axes.texts}
    assert set(front["name"]) <= named <= set(table["name"])
    drawn = sum(len(points.get_offsets()) for points in axes.collections)
    assert drawn == (table["kendall"].notna() & table["seconds"].notna()).sum()
    assert axes.get_xticklabels()[0].get_text() == "0"


@pytest.mark.parametrize("cost", [[0.0, 0.0], [0.02, 0.02], [1e-9, 1e6]])
def test_pareto_of_any_costs(cost):
    table = pd.DataFrame({"name": ["a" * 40, "$b"], "kind": "proxy", "kendall": [0.5, 0.5]})
    axes = pareto(table.assign(seconds=cost, pareto=[True, False])).axes[0]
    low, high = axes.get_xlim()
    assert all(low < x < high for points in axes.collections for x, _ in points.get_offsets())
