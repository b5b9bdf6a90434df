"""The command line as users meet it: words, defaults, exit codes."""

import inspect
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import typer
from rich.console import Console

import zeroshot
from zeroshot import cli, commands, supernets
from zeroshot.cli import screen
from zeroshot.searches.search import SEARCHES
from zeroshot.spaces import MOBILENET, NasBench201
from zeroshot.spaces.mobilenet import PROXYLESSNAS

ROOT = Path(__file__).parents[1]
SPACE = NasBench201(channels=4, cells=1)
ARCHS = [SPACE.spell(SPACE.at(index)) for index in range(0, 15_000, 1000)]
SMALL = [
    "--channels",
    "4",
    "--cells",
    "1",
    "--batch-size",
    "4",
    "--workers",
    "1",
    "--device",
    "cpu",
]


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run `zeroshot …` in an empty folder: its exit code and what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def call(*args):
        monkeypatch.setattr(sys, "argv", ["zeroshot", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return SimpleNamespace(code=end.value.code or 0, out=said.out, err=said.err)

    return call


@pytest.fixture
def ranked(run):
    Path("archs.txt").write_text("\n".join(ARCHS))
    made = run(
        "rank",
        "nasbench201",
        "--archs",
        "archs.txt",
        "--proxies",
        "naswot",
        *SMALL,
        "--out",
        "a.csv",
    )
    assert made.code == 0, made.err
    return made


# -- the commands ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["score", "rank", "search", "validate", "advise", "prune"])
def test_flags_are_the_librarys_with_its_defaults(name):
    library = inspect.signature(getattr(commands, name)).parameters
    (flags,) = (
        inspect.signature(command.callback).parameters
        for command in cli.app.registered_commands
        if command.callback and command.callback.__name__ == name
    )
    # of the command line
    own = {
        "rank": {"top", "all_", "no_store"},
        "search": {"top", "no_store"},
        "advise": {"no_store"},
        "prune": {"finetune", "no_store"},
    }.get(name, set())
    assert set(flags) - own == set(library) - {"progress", "plan"}  # `search` makes a plan
    for flag in set(flags) - own - ({"sample"} if name == "rank" else set()):
        assert flags[flag].default == library[flag].default, flag


def test_the_flags_of_finetune_are_the_librarys_and_its_recipes():
    library = inspect.signature(zeroshot.finetune).parameters
    recipe = {field.name: field.default for field in fields(zeroshot.Recipe)}
    flags = inspect.signature(cli.prune.finetune).parameters
    assert set(flags) == (set(library) | set(recipe)) - {"recipe", "progress"}
    for flag in flags:
        expected = recipe[flag] if flag in recipe else library[flag].default
        assert flags[flag].default == expected, flag


def test_prune_and_finetune(run, tmp_path, monkeypatch):

    how = supernets.FIDELITIES["fast"]
    crops = replace(how.patterns, samples=40, together=20)
    quick = replace(how, batch_size=4, repeats=1, patterns=crops)
    monkeypatch.setitem(supernets.FIDELITIES, "fast", quick)
    found = run("prune", "nasbench201", "--out", str(tmp_path / "p"))
    assert found.code == 0
    assert found.out.startswith("|")
    record = (tmp_path / "p" / "record.json").read_bytes()
    again = run(
        "prune", "nasbench201", "--out", str(tmp_path / "p")
    )  # as `rank` does, and `finetune`
    assert (again.code, again.out) == (0, found.out)
    assert (tmp_path / "p" / "record.json").read_bytes() == record
    other = run("prune", "nasbench201", "--out", str(tmp_path / "p"), "--seed", "1")
    assert other.code == 2
    assert "holds a run already" in other.err
    small = ("--channels", "2", "--cells", "1", "--size", "8", "--epochs", "1")
    found = run("finetune", str(tmp_path / "p"), *small)
    assert found.code == 0
    assert "test accuracy" in found.out


def test_prune_checks_the_training_first(run, tmp_path, monkeypatch):
    from zeroshot import commands
    from zeroshot.spaces import Task
    from zeroshot.train import short_recipe

    monkeypatch.setattr(commands, "prune", lambda *_, **__: pytest.fail("pruned"))
    np.savez(tmp_path / "one.npz", x_train=np.zeros((3, 8, 8)), y_train=np.arange(3))
    np.savez(tmp_path / "few.npz", x_train=np.zeros((75, 8, 8)), y_train=np.arange(75) % 5)
    for epochs, data, words in (
        ("-1", "digits", "--finetune -1: expected a number of epochs, or 0 for none"),
        ("200000", "digits", "--epochs 200000: expected 1 to 100,000"),
        ("200000", "noise", "--epochs 200000: expected 1 to 100,000"),
        ("1", f"npz:{tmp_path}/one.npz", "none is left to test on"),
        ("1", f"npz:{tmp_path}/none.npz", "none.npz cannot be read"),
    ):
        given = ("--out", str(tmp_path / "p"), "--data", data, "--finetune", epochs)
        found = run("prune", "nasbench201", *given)
        assert found.code == 2
        assert words in found.err
    assert short_recipe(2, f"npz:{tmp_path}/few.npz", Task(size=8), 0).batch_size == 60


def test_every_help_is_a_sentence_and_the_same_wherever_the_option_is():
    app = typer.main.get_command(cli.app)
    said: dict[str, set[str]] = {}
    for command in (*app.commands.values(), *app.commands["store"].commands.values()):
        assert re.match(r"[A-Z].*\.$", command.help, re.MULTILINE), command.name
        for option in command.params:
            assert re.fullmatch(r"[A-Z].*\.", option.help), (command.name, option.name)
            said.setdefault(option.name, set()).add(option.help)
    # what means something else elsewhere
    own = {"out", "seed", "sample", "by", "space", "proxies", "arch", "repeats", "batch_size"}
    own |= {"method"}
    assert {name for name, words in said.items() if len(words) > 1} <= own


def test_help_names_every_command(run):
    found = run("--help")
    assert found.code == 0
    ours = ("list", "score", "rank", "search", "validate", "advise", "prune", "finetune", "store")
    for name in ours:
        assert name in found.out
        assert run(name, "-h").code == 0


@pytest.mark.parametrize("what", list(cli.lists.What))
def test_every_list(run, what):
    found = run("list", what.value)
    assert (found.code, found.err) == (0, "")
    from zeroshot import data, initial

    names = {
        "proxies": [proxy.name for proxy in zeroshot.PROXIES],
        "ensembles": [ensemble.name for ensemble in zeroshot.ENSEMBLES],
        "spaces": [space.name for space in zeroshot.SPACES],
        "benchmarks": [benchmark.name for benchmark in zeroshot.BENCHMARKS],
        "data": list(data.DATA),
        "inits": list(initial.INITS),
        "searches": [method.name for method in SEARCHES],
    }[what.value]
    lines = found.out.splitlines()
    for name in names:
        assert any(line.strip().startswith(name) for line in lines), name


def test_score(run):
    found = run(
        "score", "nasbench201:3", "nasbench201:9", "--batch-size", "4", "--proxies", "flops,naswot"
    )
    assert found.code == 0, found.err
    assert "2/2" in found.err
    assert "nasbench201:3" in found.out
    cost = NasBench201().cost(NasBench201().at(9))
    assert f"{cost.macs:,}" in found.out


def test_score_into_a_file(run):
    given = ("score", "nasbench201:3", "--batch-size", "4", "--proxies", "flops,naswot")
    found = run(*given, "--out", "a.csv")
    assert (found.code, found.err) == (0, "")
    table = pd.read_csv("a.csv")
    assert list(table.columns) == ["model", "flops", "naswot"]
    assert table["model"].tolist() == ["nasbench201:3"]
    assert table["flops"].item() == NasBench201().cost(NasBench201().at(3)).macs
    before = Path("a.csv").read_bytes()
    again = run(*given, "--out", "a.csv")
    assert (again.code, again.out) == (2, "")
    assert "the file exists" in again.err
    assert Path("a.csv").read_bytes() == before


def test_scores_of_many_networks_in_a_narrow_terminal(run, monkeypatch):
    monkeypatch.setattr("zeroshot.cli.rank.new_console", lambda: Console(width=60))
    models = [f"nasbench201:{number}" for number in range(2000, 2005)]
    found = run("score", *models, "--batch-size", "4", "--proxies", "flops,params")
    for model in models:
        assert found.out.count(model) == 1
    assert found.out.count("flops") == 3 == found.out.count("params")
    assert "…" not in found.out


def test_score_says_why_there_is_no_number(run):
    Path("mine_flat.py").write_text(
        "from torch import nn\ndef net(): return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))\n"
        "net2 = net\n"
    )
    found = run("score", "mine_flat:net", "--batch-size", "4", "--proxies", "naswot,params")
    assert found.code == 0, found.err
    assert "30,730" in found.out
    assert "naswot of mine_flat:net is not a number: " in found.out
    twice = ("mine_flat:net", "mine_flat:net2", "nasbench201:3")
    found = run("score", *twice, "--batch-size", "4", "--proxies", "naswot,swap,params")
    lines = [line for line in found.out.splitlines() if "not a number" in line]
    assert len(lines) == 1
    assert lines[0].startswith("naswot and swap of mine_flat:net and mine_flat:net2 are not a numb")
    found = run("score", *twice[:2], "--batch-size", "4", "--proxies", "naswot,swap,params")
    assert "naswot and swap of all 2 networks are not a number: " in found.out


def test_rank_tells_what_it_ranks_by_if_nobody_said(run):
    flags = ("--sample", "3", "--proxies", "params,naswot", "--no-store", *SMALL)
    words = "ranked by params, the first of --proxies; --by chooses"
    assert words in run("rank", "nasbench201", *flags).out
    assert words not in run("rank", "nasbench201", *flags, "--by", "params").out


def test_rank_shows_the_best_and_writes_all(ranked):
    table = pd.read_csv("a.csv")
    assert table["arch"].tolist() == ARCHS
    best = table.sort_values("naswot", ascending=False)["arch"].tolist()
    lines = [line for line in ranked.out.splitlines() if "|" in line]
    assert [line.split()[1] for line in lines] == best[:10]
    assert "Best 10 of 15 by naswot" in ranked.out
    assert "15 rows in a.csv, the run record in a.csv.json" in ranked.out
    assert "a.order.csv" not in ranked.out  # proxies alone ask for a table
    assert json.loads(Path("a.csv.json").read_text())["command"].startswith("zeroshot rank nasb")


def test_rank_fits_80_columns(ranked, run, monkeypatch):
    def narrow():
        from rich.console import Console

        return Console(width=80, markup=False, emoji=False, highlight=False)

    monkeypatch.setattr(cli.rank, "new_console", narrow)
    monkeypatch.setattr(cli.validate, "new_console", narrow)
    flags = ["--archs", "archs.txt", "--proxies", "naswot", "--out", "a.csv", "--top", "3"]
    found = run("rank", "nasbench201", *flags, *SMALL)
    best = pd.read_csv("a.csv").sort_values("naswot", ascending=False)["arch"].tolist()
    lines = found.out.splitlines()
    for place, arch in enumerate(best[:3], start=1):
        assert f"{place:>2}  {arch}" in lines  # whole, to be copied
    assert all(len(line) <= 80 or "|" in line for line in lines)
    pd.DataFrame({"arch": ARCHS, "accuracy": range(15)}).to_csv("t.csv", index=False)
    shown = run("validate", "a.csv", "--truth", "t.csv", "--resamples", "100")
    assert shown.code == 0, shown.err
    assert "…" not in shown.out.replace(" … ", "")
    assert max(map(len, shown.out.splitlines())) <= 80


def test_rank_and_validate_end_to_end(ranked, run):
    pd.DataFrame({"arch": ARCHS, "accuracy": range(15)}).to_csv("t.csv", index=False)
    found = run("validate", "a.csv", "--truth", "t.csv", "--out", "report", "--resamples", "100")
    assert (found.code, found.err) == (0, "")
    for name in ("naswot", "params", "flops", "depth", "Kendall", "nDCG"):
        assert name in found.out
    assert "report in report/report.html" in found.out
    assert Path("report/report.html").exists()
    says = " ".join(found.out.split())
    assert "No score is shown to order these architectures better than chance," in says
    assert "are not measured" not in says
    assert "There is one seed: how much the scores depend on it is not told." in says


def test_validate_in_a_narrow_terminal(ranked, run, monkeypatch):
    monkeypatch.setattr("zeroshot.cli.validate.new_console", lambda: Console(width=60))
    pd.DataFrame({"arch": ARCHS, "accuracy": range(15)}).to_csv("t.csv", index=False)
    found = run("validate", "a.csv", "--truth", "t.csv", "--resamples", "100")
    assert "Kendall τ" in found.out
    assert "…" not in found.out.replace(" … ", "")  # of intervals


def test_a_terminal_that_knows_no_greek(ranked, tmp_path):
    pd.DataFrame({"arch": ARCHS, "accuracy": range(15)}).to_csv("t.csv", index=False)
    command = ["validate", "a.csv", "--truth", "t.csv", "--resamples", "100"]
    found = subprocess.run(
        [sys.executable, "-m", "zeroshot", *command],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
    )
    assert found.returncode == 0, found.stderr
    assert b"Kendall" in found.stdout


def test_validate_shows_values_as_they_were_measured(run):
    """Latencies in seconds, of architectures that no proxy scores."""
    rows = "".join(f"n{i},0,\n" for i in range(4))
    Path("none.csv").write_text("arch,seed,x\n" + rows)
    Path("some.csv").write_text("arch,seed,x\n" + "".join(f"n{i},0,{i}\n" for i in range(4)))
    Path("t.csv").write_text("arch,delay\n" + "".join(f"n{i},0.00{9 - i}\n" for i in range(4)))
    flags = ("--truth", "t.csv", "--lower-is-better", "--resamples", "100")
    title = "Against 4 measured architectures, the best delay 0.006"
    assert title in " ".join(run("validate", "none.csv", *flags).out.split())
    found = run("validate", "some.csv", *flags)
    assert title in " ".join(found.out.split())
    assert "-0.0" not in found.out


def test_advise(run, monkeypatch):
    Path("mine_thin.py").write_text(
        "from dataclasses import dataclass\nfrom torch import nn\n"
        "from zeroshot.spaces import Axis, Space\n"
        "@dataclass(frozen=True)\nclass Thin(Space):\n    name = 'thin'\n    source = 'here'\n"
        "    axes = (Axis('width', ('1', '2', '4', '8')),)\n"
        "    def build(self, arch, task):\n        width = 2**arch.genes[0]\n"
        "        return nn.Sequential(nn.Flatten(), nn.Linear(3072, width), nn.ReLU(),\n"
        "                             nn.Linear(width, 10))\n"
    )
    flags = ("--proxies", "naswot,dss", "--repeats", "2", "--batch-size", "4", "--workers", "1")
    command = ("advise", "mine_thin:Thin", *flags, "--device", "cpu", "--out", "told")
    found = run(*command)
    assert found.code == 0, found.err
    for name in ("naswot", "dss", "params", "flops", "depth", "keep", "findings"):
        assert name in found.out
    says = " ".join(found.out.split())
    assert "Undefined (NaN for at least 10 % of the networks): dss (the network has no" in says
    assert "nan" not in says  # but a dash
    assert "report in told/advice.html" in found.out
    assert sorted(path.name for path in Path("told").iterdir()) == [
        *("advice.csv", "advice.html", "scores.csv", "scores.csv.json")
    ]
    other = run(*command, "--seed", "1")
    assert (other.code, other.out) == (2, "")
    assert "scores.csv belongs to another run" in other.err

    def narrow():
        from rich.console import Console

        return Console(width=80, markup=False, emoji=False, highlight=False)

    monkeypatch.setattr(cli.validate, "new_console", narrow)
    lines = run(*command).out.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)


def test_reasons_are_shown_as_they_are(run):
    Path("mine_odd.py").write_text(
        "import zeroshot\nfrom zeroshot.passes import Forward\n"
        "def say(trace): raise zeroshot.Undefined('[/red] :smile: [64, 10]')\n"
        "PROXY = zeroshot.Proxy('odd', (Forward(),), say, 'lower', 'here')\n"
    )
    flags = ("--sample", "3", "--proxies", "mine_odd:PROXY,params", "--by", "params")
    found = run("rank", "nasbench201", *flags, *SMALL)
    assert found.code == 0, found.err
    assert "odd is not a number for 3 of 3 networks: [/red] :smile: [64, 10]" in found.out


def test_a_formula_undefined_for_some_and_for_all(ranked, run):
    flags = ("--archs", "archs.txt", "--proxies", "params", *SMALL)
    some = run("rank", "nasbench201", "--by", "sqrt(params - 0.5)", *flags)
    assert some.code == 0, some.err
    left = int(re.search(r"undefined for (\d+) of 15 architectures", some.out)[1])
    assert 0 < left < 15
    assert f"Best {min(10, 15 - left)} of 15 by sqrt" in some.out
    assert "nan" not in some.out
    every = run("rank", "nasbench201", "--by", "sqrt(0 - params)", *flags)
    assert (every.code, every.out) == (2, "")
    assert "sqrt(0 - params) is undefined for all 15 architectures" in every.err


@pytest.mark.parametrize("width", [20, 80, 140, 400])
def test_a_rank_table_never_cuts(run, monkeypatch, width):
    """Whatever the width: places, ratings and architectures are there, whole."""
    from rich.console import Console

    archs = [f"|{'conv_3x3~0|' * 6}{number}" for number in range(200)]
    names = [f"proxy_of_a_long_name_{number}" for number in range(5)]
    scores = pd.DataFrame({"arch": archs, "seed": 0} | dict.fromkeys(names, 0.123456))
    order = pd.Series(range(200, 0, -1), pd.Index(archs), dtype=float, name="default") / 7
    found = commands.Ranking(order, tuple(names), scores, {})
    file = io.StringIO()
    console = Console(width=width, file=file, markup=False, emoji=False, highlight=False)
    cli.rank._say_order(console, found, 200, "Best")
    lines = file.getvalue().splitlines()
    words = [line.split() for line in lines]
    assert not any("…" in line for line in lines)
    for place, (arch, rating) in enumerate(order.items(), start=1):
        rows = [row for row in words if row and row[0] == str(place)]
        assert any(arch in row for row in rows)
        assert any(screen.number_text(rating) in row for row in rows)


def test_the_version(run):
    found = run("--version")
    assert (found.code, found.out, found.err) == (0, f"{zeroshot.__version__}\n", "")
    command = [sys.executable, "-m", "zeroshot", "--version"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert told.stdout == found.out


def test_finalists_are_told(run, tmp_path, monkeypatch):
    def told(left, *flags):
        table = pd.DataFrame({"rated": [1.0] * left}, pd.Index(ARCHS[:left], name="arch"))
        made = SimpleNamespace(name=ARCHS[0], record={}, finalists=table)
        monkeypatch.setattr(commands, "prune", lambda *_, **__: made)
        return run("prune", "nasbench201", "--out", "p", *flags).out

    words = "Pruning ended with one network, so there was nothing to rank."
    assert words not in told(1)
    assert words in told(1, "--finalists", "7")
    assert "finalists.csv" not in told(1)
    assert "finalists.csv, best.csv" in told(3, "--finalists", "7")


def test_all_of_a_space(run, monkeypatch):
    asked = {}
    monkeypatch.setattr(commands, "rank", lambda space, **flags: asked.update(flags) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("rank", "torchvision", "--all", "--max-flops", "1e9")
    assert (asked["sample"], asked["max_flops"]) == (None, 1e9)


def test_search(run):
    flags = ("--by", "naswot", "--budget", "12", "--population", "4", "--refine", "0", *SMALL)
    found = run("search", "nasbench201", *flags, "--top", "3", "--out", "a.csv")
    assert found.code == 0
    assert found.out.startswith("Best 3 of 12 by naswot")
    assert "12 rows in a.csv, the run record in a.csv.json, the order in a.order.csv" in found.out
    assert json.loads(Path("a.csv.json").read_text())["run"]["method"] == "climb"
    again = run("search", "nasbench201", *flags, "--top", "3", "--out", "a.csv")
    assert (again.code, again.out) == (0, found.out)
    other = run("search", "nasbench201", *flags, "--method", "evolve", "--out", "a.csv")
    assert (other.code, other.out) == (2, "")
    assert "there, method is climb, now it is evolve" in other.err
    wrong = run("search", "nasbench201", *flags, "--method", "climbing")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert "unknown method 'climbing'; did you mean climb?" in wrong.err


def test_interruption_says_what_is_kept(run, monkeypatch):
    done = 0

    def interrupt(*_, progress=None, **__):
        if progress:
            progress(done, 5)
        raise KeyboardInterrupt

    for name in ("rank", "search", "advise", "score"):
        monkeypatch.setattr(commands, name, interrupt)
    for command in (("rank", "nasbench201", "--out", "a.csv"), ("rank", "nasbench201")):
        assert run(*command).err.endswith("interrupted: nothing new was done\n")
    done = 1
    found = run("rank", "nasbench201", "--no-store")
    assert (found.code, found.out) == (130, "")
    assert found.err.endswith("interrupted: nothing is kept\n")
    goes_on = "; the same command goes on\n"
    for command, kept in (
        (("rank", "nasbench201"), os.environ["ZEROSHOT_STORE"]),
        (("rank", "nasbench201", "--out", "a.csv", "--store", "b.sqlite"), "b.sqlite"),
        (("rank", "nasbench201", "--out", "a.csv", "--no-store"), "a.csv.partial"),
        (("search", "nasbench201", "--out", "a.csv", "--no-store"), "a.csv.partial"),
        (("search", "nasbench201"), os.environ["ZEROSHOT_STORE"]),
        (("advise", "nasbench201", "--out", "told", "--no-store"), "told/scores.csv.partial"),
        (("advise", "nasbench201", "--out", "told"), os.environ["ZEROSHOT_STORE"]),
    ):
        words = f"interrupted: what is done is kept in {kept}{goes_on}"
        assert run(*command).err.endswith(words)
    assert run("score", "nasbench201:3").code == 130


# -- the store -------------------------------------------------------------------------------------


def test_rank_says_what_was_in_the_store(ranked, run):
    path = os.environ["ZEROSHOT_STORE"]
    assert "in the store" not in ranked.out
    flags = ("--archs", "archs.txt", *SMALL)
    again = run("rank", "nasbench201", *flags, "--proxies", "naswot,l2_norm")
    assert f"14 scores were in the store {path}" in again.out
    again = run("rank", "nasbench201", *flags, "--proxies", "naswot,l2_norm")
    assert f"28 scores, all of 14 of 14 networks, were in the store {path}" in again.out
    for none in (("--no-store",), ("--store", "other.sqlite")):
        assert "in the store" not in run("rank", "nasbench201", *flags, *none).out
    assert Path("other.sqlite").exists()


def test_the_store_from_list_to_check(ranked, run):
    path = os.environ["ZEROSHOT_STORE"]
    listed = run("store", "list")
    assert (listed.code, listed.err) == (0, "")
    for words in (path, "nasbench201(channels=4, cells=1)", "naswot", "4 of noise (", "default"):
        assert words in listed.out
    shown = run("store", "show", 1)
    assert "naswot" in shown.out
    assert "Codes()" in shown.out
    out = run("store", "export", 1, "--out", "kept.csv", "--proxies", "naswot", "--seed", 0)
    assert "14 rows in kept.csv, the record in kept.csv.json" in out.out
    kept = pd.read_csv("kept.csv")
    arch, score = kept["arch"][3], kept["naswot"][3]
    assert repr(float(score)) in run("store", "show", 1, "--arch", arch).out
    pd.DataFrame({"arch": kept["arch"], "accuracy": range(14)}).to_csv("t.csv", index=False)
    assert run("validate", "kept.csv", "--truth", "t.csv", "--resamples", "100").code == 0
    checked = run("store", "check", "--sample", 2)
    assert (checked.code, checked.err) == (0, "")
    assert f"{path} is sound; 2 of 2 scores came out the same again" in checked.out


def test_a_space_is_listed_by_what_is_unusual():
    spoken = cli.store._spoken
    assert spoken("mobilenet", repr(MOBILENET)) == "mobilenet"
    assert spoken("mobilenet", repr(MOBILENET.small)) == "mobilenet(narrow=0.25)"
    assert spoken("mobilenet", repr(PROXYLESSNAS)) == "mobilenet(stages=…, activation='relu6')"
    assert spoken("mine:Own", "Own(width=3, table={'a': 1})") == "mine:Own(width=3, table={'a': 1})"
    assert spoken("mine:Own", "Own(f=<function f at 0x1>)") == "mine:Own"


def test_stores_are_merged(ranked, run):
    path = os.environ["ZEROSHOT_STORE"]
    merged = run("store", "merge", path, "--store", "new.sqlite")
    assert f"14 scores of {path} came into new.sqlite" in merged.out
    assert "0 scores" in run("store", "merge", path, "--store", "new.sqlite").out


def test_check_reports_what_differs(ranked, run):
    with closing(sqlite3.connect(os.environ["ZEROSHOT_STORE"])) as db, db:
        db.execute("UPDATE scores SET score = 0.5")
    found = run("store", "check", "--sample", 1)
    assert found.code == 1
    assert "setting 1: stored 0.5, now " in found.out
    assert "is sound; 0 of 1 scores came out the same again" in found.out


def test_the_store_is_pruned_after_asking(ranked, run, monkeypatch):
    path = os.environ["ZEROSHOT_STORE"]
    assert f"deleted 0 of 14 scores in {path}" in run("store", "prune", "--outdated").out
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    refused = run("store", "prune", "--space", "nasbench201")
    assert refused.code == 1
    assert f"Delete 14 of 14 scores in {path}, of 14 networks? [y/N]" in refused.out
    assert "naswot" in run("store", "show", 1).out
    assert "deleted 14" in run("store", "prune", "--space", "nasbench201", "--yes").out
    assert run("store", "show", 1).code == 2


# -- mistakes --------------------------------------------------------------------------------------

RANK = "rank nasbench201 --archs two.txt --proxies naswot " + " ".join(SMALL)
MISTAKES = {
    "proxy": ("score nasbench201:3 --proxies naswott", "did you mean naswot"),
    "space": ("rank nasbench20", "did you mean nasbench201"),
    "ensemble": (f"{RANK} --by vot", "cannot rank by 'vot'"),
    "column": ("validate good.csv --truth truth.csv --column acc", "truth.csv has no column 'acc'"),
    "columns": ("validate good.csv --truth two.csv", "two.csv has 2 columns of numbers"),
    "benchmark": ("validate good.csv --truth nb2o1", "no benchmark and no file is called 'nb2o1'"),
    "no scores": ("validate none.csv --truth truth.csv", "there is no file none.csv"),
    "architecture": ("score nasbench201:|nor_conv_3x3~0|+|", "at character 19 expected one of"),
    "architectures": (f"{RANK} --archs bad.txt", "bad.txt, line 2"),
    "corrupt CSV": ("validate cut.csv --truth truth.csv", "cut.csv, line 3"),
    "corrupt Parquet": ("validate bad.parquet --truth truth.csv", "no readable Parquet"),
    "corrupt npz": (f"{RANK} --data npz:bad.npz", "npz:bad.npz cannot be read"),
    "data": (f"{RANK} --data cifar", "unknown data 'cifar'"),
    "folder": (f"{RANK} --out none/a.csv", "folder none does not exist"),
    "name": (f"{RANK} --out a.txt", "ends in .csv or .parquet"),
    "foreign table": (f"{RANK} --out good.csv", "does not tell of which run good.csv is"),
    "unwritable": (f"{RANK} --out /proc/a.csv", "/proc/a.csv cannot be written"),
    "factory": ("score broken_net:net", "broken_net:net raised ValueError: width -1"),
    "NaN weights": ("score broken_net:nan", "holds NaN or infinite values"),
    "batch of one": ("score nasbench201:3 --batch-size 1", "a batch of 1"),
    "device": (f"{RANK} --device cuda:99", "device cuda:99 is not there"),
    "two choices": ("rank nasbench201 --all --archs bad.txt", "--all and --archs bad.txt"),
    "sample of all": ("rank nasbench201 --all --sample 1", "--sample 1 and --all: expected one"),
    "sample of a file": ("rank nasbench201 --archs two.txt --sample 100", "--sample 100 and --arc"),
    "sizes": ("score nasbench201:1 --proxies params --size 99999999", "batch size, or their size"),
    "check's seed": (
        "store check --store none.sqlite --seed -1",
        "seed -1; expected a number from",
    ),
    "last seed": (f"{RANK} --seed 9223372036854775807 --repeats 2", "to 2⁶³ − 2, for there are 2"),
    "seed of pruning": ("prune nasbench201 --seed -1", "seed -1; expected a number from 0 to"),
    "too many": ("rank nasbench201 --sample 99 --max-params 5", "0 architectures with at most 5"),
    "few": ("advise nasbench201 --sample 2", "a sample of 2; expected at least 3"),
    "no resamples": ("validate good.csv --truth truth.csv --resamples 0", "0 resamples"),
    "seed": ("validate good.csv --truth truth.csv --seed -1", "seed -1: expected a whole number"),
    "few resamples": ("validate good.csv --truth truth.csv --resamples 99", "99 resamples; exp"),
    "refine": (f"{RANK} --refine 1", "refine 1: expected 0, or how many of the best"),
    "ensemble of one": ("rank nasbench201 --by az_nas+naswot", "az_nas is an ensemble, and an"),
    "depth": (f"rank nasbench201 --by {'-' * 200}naswot", "nested deeper than 100 levels"),
    "vast": ("rank darts --all", "are too many to score"),
    "resume": ("prune nasbench201 --resume", "--resume goes on with the run in --out"),
    "neither": ("finetune nosuch", "nosuch is neither a folder nor a model; expected a folder"),
    "weights": ("export nosuch --out a.pt2 --weights foo", "weights 'foo': expected last or best"),
    "two stores": (f"{RANK} --store a.sqlite --no-store", "--store a.sqlite and --no-store: exp"),
    "a store in no folder": (f"{RANK} --store none/a.sqlite", "the folder none does not exist"),
    "foreign store": (f"{RANK} --store truth.csv", "truth.csv is no store of scores; move it away"),
    "no store": ("store list --store none.sqlite", "there is no store none.sqlite"),
    "nothing selected": ("store prune --store none.sqlite", "nothing is selected; expected"),
    "no date": ("store prune --before soon", "--before soon: expected a date"),
    "memory": (
        "score nasbench201:3 --batch-size 1000000000000",
        "no memory for a batch of 1,000,000,000,000 images; lower the batch size",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(run, case):
    files = {
        "good.csv": "arch,seed,x\n3,0,1\n4,0,2\n5,0,3\n",
        "cut.csv": "arch,seed,x\n3,0,1\n4,0",
        "truth.csv": "arch,accuracy\n3,1\n4,2\n5,3\n",
        "two.csv": "arch,a,b\n3,1,1\n",
        "bad.txt": "3\nx\n",
        "two.txt": "3\n4\n",
        "bad.parquet": "PAR1",
        "bad.npz": "PK",
        "broken_net.py": "import torch\ndef net():\n    raise ValueError('width -1')\n"
        "def nan():\n    model = torch.nn.Linear(2, 2)\n"
        "    torch.nn.init.constant_(model.weight, float('nan'))\n    return model\n",
    }
    for name, content in files.items():
        Path(name).write_text(content)
    command, words = MISTAKES[case]
    found = run(*command.split())
    assert found.code == 2
    assert found.out == ""
    assert found.err.startswith("error: ")
    assert found.err.count("\n") == 1
    assert words in found.err
    left = {path.name: path.read_text() for path in Path().iterdir() if path.is_file()}
    assert left == files


def test_another_run_leaves_the_files(ranked, run):
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    flags = ["--archs", "archs.txt", "--proxies", "naswot", "--seed", "1", "--out", "a.csv"]
    found = run("rank", "nasbench201", *flags, *SMALL)
    assert (found.code, found.out) == (2, "")
    assert "a.csv belongs to another run: there, seeds is [0], now it is [1]; choose" in found.err
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == before


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("list", "nothing"), "'nothing' is not one of 'proxies', 'ensembles', "),
        (("rank",), "Missing argument 'space'; see zeroshot rank --help"),
        (("rank", "nasbench201", "--smaple", "3"), "No such option: --smaple"),
        (("rank", "nasbench201", "--sample", "many"), "Invalid value for '--sample'"),
        (("rnak", "nasbench201"), "No such command 'rnak'"),
        (("store", "sohw"), "No such command 'sohw'"),
    ],
)
def test_what_the_command_line_cannot_read(run, args, words):
    found = run(*args)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith("error: ")
    assert found.err.count("\n") == 1
    assert words in found.err
    assert (
        f"see zeroshot{f' {args[0]}' if args[0] in ('list', 'rank', 'store') else ''}" in found.err
    )


@pytest.mark.parametrize("args", [(), ("store",)])
def test_a_command_alone_shows_its_help(run, args):
    found = run(*args)
    assert found.code in (0, 2)
    assert "Usage" in found.out + found.err
    assert "error" not in found.err


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.0, "3"),
        (1234567.0, "1,234,567"),
        (0.5, "0.5"),
        (1.23456789e-7, "1.2346e-07"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (1e20, "1e+20"),
    ],
)
def test_numbers_are_readable(value, text):
    assert screen.number_text(value) == text


def test_scores_of_many_magnitudes_are_shown_as_powers_of_ten():
    assert screen.score_text("synflow", 2.5e11) == "10^11.40"
    assert screen.score_text("synflow", 0.0) == "0"
    assert screen.score_text("ntk_cond", float("inf")) == "inf"
    assert screen.score_text("snip", 2.5e11) == "250,000,000,000"
