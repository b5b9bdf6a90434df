"""Worker processes that are started before there is work."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from joblib import parallel_config

from tests import test_spread  # by this name the workers find it
from zeroshot.cli.rank import workers_started
from zeroshot.errors import ZeroshotError
from zeroshot.spread import spread, started

MINE = """
import torch
from zeroshot import Axis, Proxy, Space
from zeroshot.passes import Weights


class Widths(Space):
    name, axes, source = "widths", (Axis("width", ("1", "2", "3", "4")),), "here"

    def build(self, arch, task):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, arch.genes[0] + 1))


OWN = Proxy("own", (Weights(),), lambda weights: float(len(weights)), "higher", "here")
"""


def process(shared: object, number: int) -> tuple[int, int, bool]:
    return number, os.getpid(), "zeroshot.worker" in sys.modules


def test_work_is_done_by_processes_that_have_loaded_what_it_takes():
    items = [(number,) for number in range(6)]
    with started(2):
        found = list(spread(test_spread.process, None, items, 2, "the batch"))
    assert sorted(number for number, *_ in found) == list(range(6))
    assert os.getpid() not in {pid for _, pid, _ in found}
    assert any(loaded for *_, loaded in found)


def idle(shared: object, number: int) -> None:
    Path(f"{number}.pid").write_text(str(os.getpid()))
    time.sleep(60)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_processes_do_not_outlive_a_kill(tmp_path):
    code = (
        "from tests import test_spread; from zeroshot.spread import spread\n"
        "list(spread(test_spread.idle, None, [(0,), (1,)], 2, 'the batch'))"
    )
    root = str(Path(__file__).parents[1])
    paths = {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | paths)
    files = [tmp_path / f"{number}.pid" for number in range(2)]
    wait_until(lambda: all(file.exists() and file.read_text() for file in files))
    process.kill()
    process.wait()
    pids = [int(file.read_text()) for file in files]
    wait_until(lambda: not any(map(is_there, pids)))


def wait_until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_an_error_meanwhile_is_seen_and_nothing_else():
    """Closing at once, while loky's thread sleeps, ends that thread with a traceback."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.2)
    try:
        for _ in range(3):
            with pytest.raises(KeyError), started(2):
                raise KeyError
    finally:
        sys.setswitchinterval(interval)


def test_they_are_processes_whatever_joblib_is_configured_to_take():
    with parallel_config(backend="threading"):
        found = list(spread(test_spread.process, None, [(0,), (1,)], 2, "the batch"))
    assert os.getpid() not in {pid for _, pid, _ in found}


class Unreadable:
    def __reduce__(self):
        return int, ("what came is no number",)


def test_what_cannot_be_sent_is_not_taken_for_a_lack_of_memory():
    for shared, words in (
        (Unreadable(), "a worker process cannot load what it needs .ValueError: invalid literal"),
        ((number for number in ()), "what worker processes need cannot be pickled .TypeError"),
    ):
        with pytest.raises(ZeroshotError, match=words):
            list(spread(test_spread.process, shared, [(0,), (1,)], 2, "the batch"))
    with pytest.raises(ZeroshotError, match=r"cannot read what they send .ValueError: invalid lit"):
        list(spread(test_spread.process, None, [(Unreadable(),)] * 2, 2, "the batch"))


def test_modules_of_the_folder_are_found_by_workers_that_were_there_before(tmp_path):
    """The console script has its own folder on Python's path, not the one that it is called in."""
    (tmp_path / "mymod.py").write_text(MINE)
    script = tmp_path / "bin" / "zeroshot"
    script.parent.mkdir()
    script.write_text("from zeroshot.__main__ import main\nmain()\n")
    command = "rank mymod:Widths --proxies params,mymod:OWN --workers 2 --batch-size 2 --no-store"
    found = subprocess.run(
        [sys.executable, script, *command.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (found.returncode, "own" in found.stdout) == (0, True), found.stderr


@pytest.mark.parametrize(
    ("workers", "most", "device", "scheduler", "expected"),
    [
        (None, None, "cpu", None, 4),
        (3, 100, "auto", None, 3),
        (9, 100, "cpu", None, 4),
        (None, 2, "cpu", None, 2),
        (1, None, "cpu", None, None),
        (0, None, "cpu", None, None),
        (None, 1, "cpu", None, None),
        (None, None, "cuda", None, None),
        (None, None, "cpu", "tcp://there:1", None),
    ],
)
def test_processes_are_started_where_there_is_work(
    workers, most, device, scheduler, expected, monkeypatch, tmp_path
):
    asked = []
    monkeypatch.setattr("joblib.cpu_count", lambda: 4)
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("zeroshot.spread.started", lambda n: asked.append(n) or nullcontext())
    with workers_started(workers, most, device, scheduler, tmp_path / "new.csv"):
        pass
    assert asked == ([] if expected is None else [expected])
    with workers_started(workers, most, device, scheduler, tmp_path):  # is there already
        pass
    assert len(asked) == (expected is not None)
