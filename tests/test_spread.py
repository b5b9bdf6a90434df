"""Worker processes that are started before there is work."""

import os
import sys
from contextlib import nullcontext

import pytest

from tests import test_spread  # by this name the workers find it
from zeroshot.cli.rank import workers_started
from zeroshot.spread import spread, started


def process(shared: object, number: int) -> tuple[int, int, bool]:
    return number, os.getpid(), "zeroshot.worker" in sys.modules


def test_work_is_done_by_processes_that_have_loaded_what_it_takes():
    items = [(number,) for number in range(6)]
    with started(2):
        found = list(spread(test_spread.process, None, items, 2, "the batch"))
    assert sorted(number for number, *_ in found) == list(range(6))
    assert os.getpid() not in {pid for _, pid, _ in found}
    assert any(loaded for *_, loaded in found)


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
