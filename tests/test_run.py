"""Many networks: columns, isomorphic ones, workers, interruption, files, failures."""

import fcntl
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace

import pandas as pd
import pytest
import torch
from torch import nn

import zeroshot.run
import zeroshot.worker
from zeroshot.commands import rank
from zeroshot.core import Pass, Proxy
from zeroshot.data import load_batch
from zeroshot.errors import OutOfMemoryError, Undefined, ZeroshotError
from zeroshot.eval.tables import read_scores
from zeroshot.models import find_proxies
from zeroshot.passes import Census, Forward
from zeroshot.run import Run
from zeroshot.scoring import evaluate
from zeroshot.spaces import Axis, NasBench201, Space, Task
from zeroshot.store import Setting
from zeroshot.worker import placed

SPACE = NasBench201(channels=4, cells=1)
# What does not reach the output makes no difference but to the cost.
DEAD = [
    f"|{op}~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|" for op in ("none", "nor_conv_3x3")
]
ARCHS = [*DEAD, *(SPACE.spell(SPACE.at(index)) for index in (0, 13714, 77, 4000, 9, 120))]
MEASURED = "naswot,synflow,params"


def small(archs=ARCHS, **options):
    given = {"proxies": MEASURED, "batch_size": 4, "workers": 1, "device": "cpu"} | options
    return rank(given.pop("space", SPACE), archs=archs, **given)


@dataclass(frozen=True)
class Widths(Space):
    """A user's own space; networks of the width `broken` cannot be built."""

    broken: int = 0
    home: int = 0  # any other process that builds the widest network is killed

    name = "widths"
    axes = (Axis("width", ("1", "2", "4", "8", "16")),)
    source = "here"
    task = Task(size=8, classes=3)

    def build(self, arch, task):
        width = int(self.axes[0].options[arch.genes[0]])
        if width == self.broken:
            raise RuntimeError(f"no network of width {width}\nreally")
        if width == 16 and self.home not in (0, os.getpid()):
            os.kill(os.getpid(), signal.SIGKILL)
        return nn.Sequential(
            nn.Conv2d(task.channels, width, 3),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, task.classes),
        )


def largest_logit(trace):
    return trace.logits.detach().max()


MINE = Proxy("mine", (Forward(),), largest_logit, "lower", "here")


# -- the table -------------------------------------------------------------------------------------


def test_columns_are_raw_values_of_the_architectures_in_order():
    table = small(repeats=2, seed=5).scores
    assert list(table.columns) == ["arch", "seed", "naswot", "synflow", "params"]
    assert list(zip(table["arch"], table["seed"], strict=True)) == [
        (arch, seed) for arch in ARCHS for seed in (5, 6)
    ]
    batch, task = zeroshot.load_batch(batch_size=4, seed=5)
    for row in table.to_dict("records")[4:8]:
        net = SPACE.network(SPACE.parse(row["arch"]), task, seed=row["seed"])
        alone = evaluate(net, batch, find_proxies(MEASURED))
        assert {name: alone[name] for name in table.columns[2:]} == {
            name: row[name] for name in table.columns[2:]
        }


def test_isomorphic_cells_are_scored_once(evaluations):
    found = small(proxies="naswot,params,flops,depth")
    one, two = found.scores.iloc[0], found.scores.iloc[1]
    assert one["naswot"] == two["naswot"]
    for name, field in (("params", "params"), ("flops", "macs"), ("depth", "tensors")):
        for row in (one, two):
            assert row[name] == getattr(SPACE.cost(SPACE.parse(row["arch"])), field)
        assert one[name] < two[name]
    classes = {SPACE.canonical(SPACE.parse(arch)) for arch in ARCHS}
    assert len(evaluations) == len(classes) < len(ARCHS)
    assert found.record["networks scored"] == len(classes)
    assert found.record["rows"] == len(ARCHS)


def test_a_proxy_that_mixes_cost_and_behaviour_is_scored_for_each(evaluations):
    mixed = Proxy("mixed", (Census(), Forward()), lambda cost, _: float(cost.params), "higher", "")
    found = small(DEAD, proxies=(mixed,))
    assert len(evaluations) == 2
    assert list(found.scores["mixed"]) == [SPACE.cost(SPACE.parse(arch)).params for arch in DEAD]


@dataclass(frozen=True)
class Weighed(Pass):
    """The cost, asked for by a pass and not by the proxy."""

    needs = (Census(), Forward())

    def run(self, net, batch, cost, _):
        return cost.params


def test_a_pass_that_mixes_cost_and_behaviour_is_run_for_each(evaluations):
    found = small(DEAD, proxies=(Proxy("weighed", (Weighed(),), float, "higher", ""),))
    assert len(evaluations) == 2
    assert list(found.scores["weighed"]) == [SPACE.cost(SPACE.parse(arch)).params for arch in DEAD]


def test_the_cost_alone_builds_no_network(evaluations):
    table = small(proxies="params,flops,depth").scores
    assert not evaluations
    assert (table[["params", "flops", "depth"]] > 0).all(axis=None)


def test_alone_or_together_in_any_order():
    together = small(proxies="synflow,naswot,grad_norm").scores
    for name in ("grad_norm", "naswot", "synflow"):
        assert small(proxies=name).scores[name].equals(together[name])
    backwards = small(ARCHS[::-1], proxies="grad_norm,naswot,synflow").scores
    assert backwards.set_index("arch").loc[ARCHS, "naswot"].tolist() == together["naswot"].tolist()


def test_csv_and_parquet_hold_the_same_numbers(tmp_path):
    archs = ARCHS[1:3]  # the second is not connected, so there are NaNs
    memory = small(archs, proxies="all").scores
    csv, parquet = (
        small(archs, proxies="all", out=tmp_path / f"a.{end}") for end in ("csv", "parquet")
    )
    for table in (csv.scores, parquet.scores, *map(read_scores, tmp_path.glob("a.*[vt]"))):
        pd.testing.assert_frame_equal(table, memory, check_exact=True, check_dtype=False)
    assert len(list(tmp_path.glob("a.*[vt]"))) == 2


def test_the_record(tmp_path):
    small(out=tmp_path / "a.csv", repeats=2, seed=3, data="digits")
    record = json.loads((tmp_path / "a.csv.json").read_text())
    batch, task = zeroshot.load_batch("digits", batch_size=4, seed=3)
    run = record["run"]
    assert (run["seeds"], run["data"], run["device"]) == ([3, 4], "digits", "cpu")
    assert run["batch"] == f"4 ({batch.hash})"
    assert run["task"] == repr(task)
    assert (run["zeroshot"], run["torch"]) == (zeroshot.__version__, torch.__version__)
    assert run["space"] == "NasBench201(channels=4, cells=1)"
    assert run["proxies"]["naswot"] == ["Codes()"]
    assert record["command"]
    assert all(took > 0 for took in record["seconds per pass"].values())
    assert record["rows"] == 2 * len(ARCHS)
    assert {"python", "numpy", "pandas"} <= set(record["versions"])
    assert "T" in record["finished"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.csv.json"]


# -- interruption ----------------------------------------------------------------------------------

MANY = [SPACE.spell(SPACE.at(index)) for index in range(0, 15_000, 250)]
FLAGS = (
    "--archs archs.txt --device cpu "
    + f"--channels 4 --cells 1 --batch-size 4 --proxies {MEASURED} --out a.csv --no-store"
)


def networks(path):
    """How many networks a store holds, whatever state another process left it in."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as db:
        try:
            return db.execute("SELECT COUNT(*) FROM networks").fetchone()[0]
        except sqlite3.OperationalError:  # it is being made
            return 0


UNHURRIED = """
import time

from zeroshot.cli import main
from zeroshot.store import Store

add = Store.add

def slowly(*args, **kwargs):
    add(*args, **kwargs)
    time.sleep(0.3)  # or it may end before the process that looks on gets its turn

Store.add = slowly
main()
"""


def interrupted(tmp_path, how, workers):
    """Start a ranking in a process of its own and stop it in the middle."""
    (tmp_path / "archs.txt").write_text("\n".join(MANY))
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", UNHURRIED, "rank", "nasbench201", *FLAGS.split()),
            f"--workers={workers}",
        ],
        cwd=tmp_path,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    partial, end = tmp_path / "a.csv.partial", time.time() + 120
    while time.time() < end and process.poll() is None:
        if partial.exists() and networks(partial) > 1:
            break
        time.sleep(0.01)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, how)
    out, err = process.communicate(timeout=60)
    assert partial.exists(), err
    return process.returncode, out, err


def resumed(tmp_path, evaluations):
    """The same ranking again, and one without interruption."""

    def many(name):
        return small(tmp_path / "archs.txt", out=tmp_path / name)

    kept = networks(tmp_path / "a.csv.partial")
    found = many("a.csv")
    total = found.record["networks scored"]
    assert 0 < kept < total
    assert len(evaluations) == total - kept
    many("b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    records = [json.loads((tmp_path / f"{name}.csv.json").read_text()) for name in "ab"]
    for record in records:
        for times in ("seconds per pass", "seconds in this session", "finished"):
            del record[times]
    assert records[0] == records[1]
    assert len(found.scores) == len(MANY)
    assert not list(tmp_path.glob("*.partial*"))


def test_kill_9_loses_and_doubles_nothing(tmp_path, evaluations):
    code, _, _ = interrupted(tmp_path, signal.SIGKILL, workers=1)
    assert code == -signal.SIGKILL
    assert not (tmp_path / "a.csv").exists()
    resumed(tmp_path, evaluations)


def test_ctrl_c_says_how_to_go_on(tmp_path, evaluations):
    code, out, err = interrupted(tmp_path, signal.SIGINT, workers=2)
    assert code == 130
    assert not out
    last = err.strip().splitlines()[-1]
    assert last.startswith("interrupted: what is done is kept in a.csv.partial; the same command")
    assert "Traceback" not in err
    resumed(tmp_path, evaluations)


def test_sigterm_is_ctrl_c(tmp_path, evaluations):
    """As `timeout`, Slurm and systemd end a process."""
    code, out, err = interrupted(tmp_path, signal.SIGTERM, workers=1)
    assert code == 128 + signal.SIGTERM
    assert not out
    assert err.strip().splitlines()[-1].startswith("interrupted: what is done is kept in a.csv.p")
    resumed(tmp_path, evaluations)


class StopError(Exception):
    pass


@contextmanager
def stopping_after(count):
    def progress(done, total):
        if done == count:
            raise StopError

    with pytest.raises(StopError):
        yield progress


def stopped(tmp_path, **options):
    """A ranking that ended after three networks."""
    out = tmp_path / "a.csv"
    with stopping_after(3) as progress:
        small(out=out, progress=progress, **options)
    return out, out.with_name("a.csv.partial")


def killed(tmp_path):
    """What a ranking leaves that was killed after three networks, as it lies on the disk then."""
    out, left = tmp_path / "a.csv", tmp_path / "left"
    left.mkdir()

    def copy(done, total):
        if done == 3:
            for path in tmp_path.glob("a.csv.partial*"):
                shutil.copy(path, left)

    small(out=out, progress=copy)
    for path in (out, out.with_name("a.csv.json")):
        path.unlink()
    for path in left.iterdir():
        shutil.move(path, tmp_path)
    left.rmdir()
    return out, tmp_path / "a.csv.partial"


@pytest.mark.parametrize("cut", [0, 20, 6000])
def test_what_was_cut_off_is_scored_again(tmp_path, evaluations, cut):
    out, partial = killed(tmp_path)
    log = partial.with_name("a.csv.partial-wal")
    log.write_bytes(log.read_bytes()[: -cut or None])
    kept = networks(partial)
    assert kept == 3 if not cut else kept < 3
    evaluations.clear()
    small(out=out)
    assert len(evaluations) == len(ARCHS) - 1 - kept
    assert pd.read_csv(out)["arch"].tolist() == ARCHS
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "a.csv.json"}


def test_a_partial_file_that_was_made_but_not_filled(tmp_path):
    (tmp_path / "a.csv.partial").touch()
    small(out=tmp_path / "a.csv")
    assert len(pd.read_csv(tmp_path / "a.csv")) == len(ARCHS)


def overwritten(path, start, content=b"\xff" * 64):
    """A file that lost some bytes in its middle."""
    held = bytearray(path.read_bytes())
    held[start : start + len(content)] = content
    path.write_bytes(held)


@pytest.mark.parametrize("how", ["pages", "cut", "time", "score"])
def test_a_damaged_file_is_named_and_stays(tmp_path, how):
    out, partial = stopped(tmp_path)
    whole = partial.read_bytes()
    if how == "pages":
        for start in range(4096, len(whole), 4096):
            overwritten(partial, start)
    elif how == "cut":
        partial.write_bytes(whole[: len(whole) // 2])
    else:
        table, value = {"time": ("networks", "seconds"), "score": ("scores", "score")}[how]
        with closing(sqlite3.connect(partial)) as db, db:
            db.execute(f"UPDATE {table} SET {value} = 'x'")
    before = partial.read_bytes()
    with pytest.raises(ZeroshotError, match=r"a\.csv\.partial is damaged.*; move it away$"):
        small(out=out)
    assert partial.read_bytes() == before
    partial.write_bytes(whole)
    small(out=out)
    assert out.exists()


def test_a_partial_file_that_is_none(tmp_path):
    out, partial = tmp_path / "a.csv", tmp_path / "a.csv.partial"
    partial.write_text("my notes\n")
    with pytest.raises(ZeroshotError, match="is no store of scores; move it away"):
        small(out=out)
    assert partial.read_text() == "my notes\n"
    partial.unlink()
    small(store=partial)  # a store that runs share is not an unfinished run, which would go
    before = partial.read_bytes()
    with pytest.raises(ZeroshotError, match="is a store, and no unfinished run; move it away"):
        small(out=out)
    assert partial.read_bytes() == before
    partial.unlink()
    partial.mkdir()
    with pytest.raises(ZeroshotError, match=r"a\.csv\.partial cannot be read: Is a directory"):
        small(out=out)


OTHER = {
    "seeds": {"seed": 1},
    "batch": {"batch_size": 5},
    "space": {"space": NasBench201(channels=5, cells=1)},
    "data": {"data": "digits"},
    "init": {"init": "gaussian"},
    "proxies": {"proxies": "naswot"},
    "architectures": {"archs": ARCHS[:-1]},
    "better": {"proxies": (MINE, Proxy("naswot", (Forward(),), largest_logit, "lower", ""))},
}


@pytest.mark.parametrize("finished", [True, False])
def test_files_of_another_run_stay(tmp_path, finished):
    if finished:
        small(out=tmp_path / "a.csv")
    else:
        stopped(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for field, options in OTHER.items():
        if field == "better":
            continue
        with pytest.raises(
            ZeroshotError, match=rf"belongs to another run: there, {field} is .*"
        ) as error:
            small(out=tmp_path / "a.csv", **options)
        assert "choose another --out, or move" in str(error.value)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_differs_is_shown(tmp_path):
    small(DEAD, out=tmp_path / "a.csv", proxies=(MINE,))
    higher = Proxy("mine", (Forward(),), largest_logit, "higher", "here")
    with pytest.raises(
        ZeroshotError, match=r"there, better is {'mine': 'lower'}, now it is {'mine'"
    ):
        small(DEAD, out=tmp_path / "a.csv", proxies=(higher,))


def test_a_finished_run_is_read_not_repeated(tmp_path, evaluations):
    first = small(out=tmp_path / "a.csv")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    evaluations.clear()
    again = small(out=tmp_path / "a.csv")
    assert not evaluations
    pd.testing.assert_frame_equal(again.scores, first.scores, check_exact=True, check_dtype=False)
    assert again.record == first.record
    assert again.order.equals(first.order)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_tables_without_a_record_or_with_other_rows(tmp_path):
    out, record = tmp_path / "a.csv", tmp_path / "a.csv.json"
    small(out=out)
    content, told = out.read_text(), record.read_text()
    for lines in (content.splitlines()[:-1], [line.rpartition(",")[0] for line in content.split()]):
        out.write_text("\n".join(lines) + "\n")
        with pytest.raises(ZeroshotError, match=r"other rows or columns than its record says"):
            small(out=out)
    out.write_text(content[:-5])
    with pytest.raises(ZeroshotError, match="truncated"):
        small(out=out)
    for damaged in ("", "{", "[]", "{}", told[:-30]):
        record.write_text(damaged)
        with pytest.raises(
            ZeroshotError, match=r"a\.csv\.json does not tell of which run .*a\.csv"
        ):
            small(out=out)
    record.unlink()
    with pytest.raises(ZeroshotError, match="does not tell"):
        small(out=out)
    assert out.read_text() == content[:-5]


def test_a_record_without_its_table_is_not_overwritten(tmp_path):
    out, record = tmp_path / "a.csv", tmp_path / "a.csv.json"
    record.write_text('{"notes": "mine"}')
    with pytest.raises(ZeroshotError, match="does not tell"):
        small(out=out)
    assert record.read_text() == '{"notes": "mine"}'
    record.unlink()
    small(out=out)
    out.unlink()
    with pytest.raises(ZeroshotError, match="belongs to another run"):
        small(out=out, seed=1)
    small(out=out)
    assert out.exists()


# -- files that cannot be written ------------------------------------------------------------------


def test_one_process_at_a_time(tmp_path):
    out = tmp_path / "a.csv"
    with (tmp_path / "a.csv.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ZeroshotError, match=r"another process is writing .*a\.csv; wait"):
            small(out=out)
    small(out=out)


def test_names_and_folders(tmp_path):
    with pytest.raises(ZeroshotError, match=r"a\.txt: expected a name that ends in \.csv or"):
        small(out=tmp_path / "a.txt")
    with pytest.raises(ZeroshotError, match=r"the folder .*none does not exist; create it first"):
        small(out=tmp_path / "none" / "a.csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(ZeroshotError, match="does not exist"):
        small(out=tmp_path / "file" / "a.csv")
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(ZeroshotError, match="does not tell"):
        small(out=tmp_path / "a.csv")
    with pytest.raises(ZeroshotError, match=r"/proc/a\.csv cannot be written: .*; choose another"):
        small(out="/proc/a.csv")
    with pytest.raises(ZeroshotError, match="cannot be written: File name too long"):
        small(out=tmp_path / f"{'a' * 250}.csv")


@contextmanager
def room_for(size):
    """Files of this process may not grow beyond `size` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_keeps_what_is_there(tmp_path, evaluations):
    out, partial = killed(tmp_path)
    size = partial.with_name("a.csv.partial-wal").stat().st_size
    for path in tmp_path.iterdir():
        path.unlink()
    with room_for(size), pytest.raises(ZeroshotError) as error:
        small(out=out)
    assert "a.csv.partial cannot be written: disk I/O error; 3 networks are" in str(error.value)
    assert str(error.value).endswith("then repeat the command")
    assert networks(partial) == 3
    evaluations.clear()
    small(out=out)
    small(out=tmp_path / "b.csv")
    assert len(evaluations) == (len(ARCHS) - 1 - 3) + (len(ARCHS) - 1)
    assert out.read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_full_disk_at_the_end(tmp_path, monkeypatch, evaluations, name):
    out = tmp_path / name

    def full(table, path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zeroshot.run, "write_table", full)
        with pytest.raises(ZeroshotError, match="No space left on device; 7 networks are kept in"):
            small(out=out)
    left = {path.name for path in tmp_path.iterdir()}
    assert f"{name}.partial" in left
    assert not left & {name, f"{name}.tmp"}
    evaluations.clear()
    assert len(small(out=out).scores) == len(ARCHS)
    assert not evaluations
    assert {path.name for path in tmp_path.iterdir()} == {name, f"{name}.json"}


# -- networks that fail ----------------------------------------------------------------------------


def test_a_space_and_a_proxy_of_ones_own():
    found = small(range(5), space=Widths(), proxies=(MINE, "params"))
    assert found.scores["arch"].tolist() == list("01234")
    assert found.scores["params"].is_monotonic_increasing
    assert found.order.index[0] == found.scores.set_index("arch")["mine"].idxmin()
    assert found.record["run"]["better"] == {"mine": "lower", "params": "higher"}
    alone = small([2], space=Widths(), proxies=(MINE,)).scores["mine"][0]
    assert found.scores["mine"][2] == alone


def test_one_that_fails_is_nan_with_a_reason(tmp_path):
    out = tmp_path / "a.csv"
    found = small(range(5), space=Widths(broken=4), proxies="naswot,params", repeats=2, out=out)
    failed = found.scores["arch"] == "2"
    assert found.scores["naswot"].isna().equals(failed)
    assert found.scores["params"].isna().equals(failed)
    reason = "no network of width 4"
    assert found.record["not a number"] == {"naswot": {reason: 2}, "params": {reason: 1}}
    assert (
        json.loads((tmp_path / "a.csv.json").read_text())["not a number"]
        == found.record["not a number"]
    )
    assert found.order.index[-1] == "2"


def test_failures_are_tried_again(tmp_path, monkeypatch, evaluations):
    space, out = Widths(broken=1), tmp_path / "a.csv"
    with stopping_after(3) as progress:
        small(range(5), space=space, proxies="naswot", out=out, progress=progress)
    assert networks(out.with_name("a.csv.partial")) == 2
    evaluations.clear()
    found = small(range(5), space=space, proxies="naswot", out=out)
    assert found.scores["naswot"].isna().tolist() == [True, False, False, False, False]
    assert len(evaluations) == 2


def fails(trace):
    raise ArithmeticError("never")


def test_none_can_be_scored(tmp_path):
    never = Proxy("never", (Forward(),), fails, "higher", "here")
    with pytest.raises(ZeroshotError, match=r"none of 5 networks could be scored: .*never"):
        small(range(5), space=Widths(), proxies=(never,), out=tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()


def test_a_formula_that_fails_for_all_leaves_the_others():
    never = Proxy("never", (Forward(),), fails, "higher", "here")
    found = small(range(3), space=Widths(), proxies=(never, MINE), by="mine")
    assert found.scores["never"].isna().all()
    assert found.scores["mine"].tolist() == (
        small(range(3), space=Widths(), proxies=(MINE,)).scores["mine"].tolist()
    )
    ((reason, count),) = found.record["not a number"]["never"].items()
    assert (reason.endswith("never"), count) == (True, 3)


def test_a_proxy_that_says_nothing_is_no_failure():
    def silent(trace):
        raise Undefined("I have nothing to say")

    mute = Proxy("mute", (Forward(),), silent, "higher", "here")
    found = small(range(5), space=Widths(), proxies=(mute, "params"), by="params")
    assert found.scores["mute"].isna().all()
    assert found.record["not a number"] == {"mute": {"I have nothing to say": 5}}


def test_out_of_memory_stops_and_keeps(tmp_path, monkeypatch, evaluations):
    counted = zeroshot.worker.evaluate

    def hungry(*args):
        if len(evaluations) == 3:
            raise OutOfMemoryError("out of memory in pass Forward(): lower the batch size (4)")
        return counted(*args)

    with monkeypatch.context() as patch:
        patch.setattr(zeroshot.worker, "evaluate", hungry)
        with pytest.raises(OutOfMemoryError) as error:
            small(out=tmp_path / "a.csv")
    assert str(error.value).startswith(
        "out of memory in pass Forward(): lower the batch size (4); "
    )
    assert str(error.value).endswith("3 networks are kept in " + str(tmp_path / "a.csv.partial"))
    evaluations.clear()
    assert len(small(out=tmp_path / "a.csv").scores) == len(ARCHS)
    assert len(evaluations) == len(ARCHS) - 1 - 3


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_out_of_memory_while_building(monkeypatch, error):
    def build(self, arch, task):
        raise error

    monkeypatch.setattr(Widths, "build", build)
    with pytest.raises(
        OutOfMemoryError, match="out of memory while 3 was built: lower the workers"
    ):
        small([3], space=Widths(), proxies="naswot")


def test_two_workers(tmp_path):
    for workers in (1, 2):  # they change nothing
        small(out=tmp_path / f"{workers}.csv", workers=workers)
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()
    one, two = (
        small(range(5), space=Widths(broken=4), proxies=(MINE, "params"), workers=workers)
        for workers in (1, 2)
    )
    pd.testing.assert_frame_equal(one.scores, two.scores, check_exact=True)
    assert one.record["not a number"] == two.record["not a number"]
    space, out = Widths(home=os.getpid()), tmp_path / "a.csv"
    with pytest.raises(OutOfMemoryError, match="one of 2 worker processes has died, most likely"):
        small(range(5), space=space, proxies="naswot", workers=2, out=out)
    assert len(small(range(5), space=space, proxies="naswot", out=out).scores) == 5


# -- what a run refuses ----------------------------------------------------------------------------


def test_what_a_run_refuses():
    with pytest.raises(ZeroshotError, match="unknown initialisation 'x'; there are default"):
        small(init="x")
    for key in ("arch", "seed"):
        named = Proxy(key, (Forward(),), largest_logit, "higher", "")
        with pytest.raises(ZeroshotError, match=f"a proxy is called '{key}', as is a column"):
            small(proxies=(named,))
    with pytest.raises(ZeroshotError, match="two proxies are called 'snip'"):
        small(proxies=("snip", Proxy("snip", (Forward(),), largest_logit, "higher", "")))


def test_networks_run_on_one_thread_and_threads_are_put_back():
    threads = Proxy("threads", (Forward(),), lambda _: float(torch.get_num_threads()), "higher", "")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert set(small(DEAD, proxies=(threads,)).scores["threads"]) == {1.0}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_what_scores_are_kept_under():
    batch, task = load_batch("digits", batch_size=4, task=Task(size=8), seed=5)
    run = Run(
        space=Widths(broken=7),
        archs=(Widths().at(0),),
        batch=batch,
        proxies=(MINE,),
        seeds=(3,),
        task=task,
        data="digits",
        init="gaussian",
        device="cuda:1",
        data_seed=5,
    )
    assert run.setting == Setting(
        space="Widths(broken=7, home=0)",
        code=Widths().code(Task, batch.loss),
        task=repr(task),
        batch=batch.hash,
        init="gaussian",
        device="cuda",
        torch=torch.__version__,
        name="tests.test_run:Widths",
        shape='{"broken": 7, "home": 0}',
        data="digits",
        data_seed=5,
        samples=4,
    )
    assert replace(run, space=SPACE).setting.name == "nasbench201"
    assert replace(run, device="cpu").setting.device == "cpu"


def test_numbers_are_python_floats_of_full_precision(tmp_path):
    table = small(out=tmp_path / "a.csv").scores
    text = (tmp_path / "a.csv").read_text().splitlines()[1].split(",")
    assert float(text[2]) == table["naswot"][0]


@pytest.mark.parametrize(
    ("device", "gpus", "there"),
    [
        ("cpu", 0, ["cpu"] * 4),
        ("cuda", 1, ["cuda"] * 4),
        ("cuda", 3, ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]),
        ("cuda:1", 3, ["cuda:1"] * 4),
    ],
)
def test_networks_take_turns_on_gpus(device, gpus, there, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert [placed(device, number) for number in range(4)] == there
