"""Work spread over a real dask cluster: two worker processes on the loopback."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import pandas as pd
import pytest

import zeroshot.spread
from zeroshot.commands import advise, prune, rank
from zeroshot.errors import OutOfMemoryError, ZeroshotError
from zeroshot.spaces import NasBench201
from zeroshot.spread import spread
from zeroshot.store import Store, contents

distributed = pytest.importorskip("distributed")

SPACE = NasBench201(channels=4, cells=1)
ARCHS = [SPACE.spell(SPACE.at(index)) for index in range(1000, 15_000, 1000)]

# What tasks refer to lies in modules that the workers can import.
MINE = '''
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from zeroshot.spaces import Arch, NasBench201, Task

HERE = Path(__file__).parent


class Shared:
    """It notes which process packs and which unpacks it."""

    def __getstate__(self):
        note("packed")
        return {"bytes": b"x" * 100_000}

    def __setstate__(self, state):
        note("unpacked")


@dataclass(frozen=True)
class Few(NasBench201):
    """Three small networks."""

    task = Task(size=8)

    @property
    def prunable(self):
        return Arch(self.name, ((1, 2, 3), *((3,),) * 5))

    @property
    def searched(self):
        return replace(self, channels=2, cells=1)

    small = searched


def note(what):
    with (HERE / what).open("a") as file:
        file.write(f"{os.getpid()}\\n")


def work(shared, number):
    import torch

    time.sleep(0.02)
    return number, os.getpid(), torch.get_num_threads()


def where(shared):
    from distributed import get_worker

    return get_worker().address


def gone(shared):
    from distributed import CancelledError

    raise CancelledError("the scheduler")


def killed(shared):
    from distributed.scheduler import KilledWorker

    raise KilledWorker("task", None, 3)
'''


@contextmanager
def running(folder, *arguments):
    """A process of dask's; what it says is in a file of its name."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    with (folder / f"{arguments[0]}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{arguments[0]}", *arguments[1:]],
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A folder that the workers can import from; this process too."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "mine_spread.py").write_text(MINE)
    sys.path.append(str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def cluster(mine):
    """The address of a scheduler with two workers, which nannies start again when they die."""
    where = mine / "scheduler.json"
    http = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")
    here = ("--host", "127.0.0.1", "--scheduler-file", str(where), *http)
    with running(mine, "dask_scheduler", "--port", "0", *here) as process:
        while not where.exists():
            assert process.poll() is None, (mine / "dask_scheduler.log").read_text()
            time.sleep(0.05)
        with (
            running(mine, "dask_worker", "--nworkers", "2", "--nthreads", "1", *here),
            distributed.Client(scheduler_file=str(where), set_as_default=False) as client,
        ):
            client.wait_for_workers(2, timeout=60)
            yield client


def small(archs=ARCHS, **options):
    given = {"proxies": "naswot,snip,params", "batch_size": 4, "device": "cpu"} | options
    return rank(SPACE, archs=archs, **given)


def test_what_is_shared_travels_once_and_each_task_has_one_thread(cluster, mine):
    from mine_spread import Shared, work

    items = [(number,) for number in range(60)]
    found = list(spread(work, Shared(), items, 1, "it", scheduler=cluster))
    assert sorted(number for number, _, _ in found) == list(range(60))
    assert {threads for _, _, threads in found} == {1}
    workers = set(cluster.run(os.getpid).values())
    assert {pid for _, pid, _ in found} == workers
    packed, unpacked = ((mine / name).read_text().split() for name in ("packed", "unpacked"))
    assert packed.count(str(os.getpid())) == 1
    assert [unpacked.count(str(pid)) for pid in workers] == [1, 1]
    assert len(unpacked) == 3  # the scheduler looks at it too
    assert len(packed) <= 3  # here, by the scheduler, and by a worker that hands it on
    ordered = list(spread(work, None, items, 1, "it", scheduler=cluster, in_order=True))
    assert [number for number, _, _ in ordered] == list(range(60))


def test_a_killed_worker_costs_nothing_and_doubles_nothing(cluster, tmp_path):
    counts = []

    def kill(done, total):
        counts.append(done)
        if done == 3:
            os.kill(cluster.run(os.getpid).popitem()[1], signal.SIGKILL)

    address, path = cluster.scheduler.address, tmp_path / "scores.sqlite"
    small(scheduler=address, out=tmp_path / "a.csv", store=path, progress=kill)
    small(workers=1, out=tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert counts == list(range(len(ARCHS) + 1))
    with Store(path) as store:
        assert contents.settings(store)["networks"].tolist() == [len(ARCHS)]
    again = small(scheduler=address, store=path)  # all of it is there: nothing is sent
    assert again.record["from the store"]["networks"] == len(ARCHS)


def test_supernets_are_measured_there(cluster, mine):
    from mine_spread import Few

    there = prune(Few(), criterion="l2_norm", scheduler=cluster)
    here = prune(Few(), criterion="l2_norm", workers=1)
    pd.testing.assert_frame_equal(there.history, here.history, check_exact=True)
    assert there.name == here.name
    assert len(there.history) == 5


def test_advice_is_of_networks_scored_there(cluster):
    given = {"sample": 3, "proxies": "naswot", "batch_size": 4, "small": True, "device": "cpu"}
    there = advise("nasbench201", scheduler=cluster, **given)
    pd.testing.assert_frame_equal(there.scores, advise("nasbench201", workers=1, **given).scores)


def test_an_interrupted_run_goes_on(cluster, tmp_path):
    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    options = {"archs": ARCHS[:6], "scheduler": cluster, "seed": 1, "out": tmp_path / "a.csv"}
    with pytest.raises(KeyboardInterrupt):
        small(**options, progress=stop)
    done = []
    small(**options, progress=lambda *counts: done.append(counts))
    assert done[0] == (2, 6)
    assert done[-1] == (6, 6)


def test_other_versions_are_refused(cluster, monkeypatch):
    from mine_spread import work

    own = zeroshot.__version__
    monkeypatch.setattr(zeroshot, "__version__", "9.9")
    words = rf"the worker tcp://\S+ has zeroshot {own}, this process 9\.9: scores would"
    with pytest.raises(ZeroshotError, match=words):
        small(scheduler=cluster)
    monkeypatch.setattr(zeroshot.spread, "_check_workers", lambda client: None)  # it joins later
    with pytest.raises(ZeroshotError, match=words):
        list(spread(work, None, [(1,)], 1, "it", scheduler=cluster))


def test_what_the_cluster_cannot_import(cluster, monkeypatch):
    module = ModuleType("only_here")
    exec("def work(shared, number): return number\nclass Own: pass", vars(module))
    monkeypatch.setitem(sys.modules, "only_here", module)
    words = r"cannot take the work \(.*\): modules of your own must be importable by its scheduler"
    for task, shared in ((module.work, None), (len, module.Own())):
        with pytest.raises(ZeroshotError, match=words):
            list(spread(task, shared, [(1,)], 1, "it", scheduler=cluster))


def test_the_only_worker_does_the_work(mine):
    from mine_spread import where

    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False}
    with distributed.LocalCluster(**options, dashboard_address="127.0.0.1:0") as one:
        found = list(spread(where, None, [()] * 3, 1, "it", scheduler=one.scheduler_address))
        assert found == [worker.address for worker in one.workers.values()] * 3


def test_clusters_that_die(cluster):
    from mine_spread import gone, killed

    with pytest.raises(
        ZeroshotError, match=r"the scheduler tcp://\S+ is gone; start it again, then"
    ):
        list(spread(gone, None, [()], 1, "it", scheduler=cluster))
    with pytest.raises(
        OutOfMemoryError, match=r"several workers of the cluster have died.* or lower"
    ):
        list(spread(killed, None, [()], 1, "the batch size (4)", scheduler=cluster))


def test_a_cluster_that_cannot_be_used(monkeypatch):
    monkeypatch.setattr(zeroshot.spread, "PATIENCE", 0.3)
    with pytest.raises(
        ZeroshotError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:1 within"
    ):
        small(scheduler="tcp://127.0.0.1:1")
    with pytest.raises(ZeroshotError, match="no dask scheduler answers at nowhere://at all within"):
        small(scheduler="nowhere://at all")
    client = SimpleNamespace(
        scheduler=SimpleNamespace(address="tcp://here:1"),
        wait_for_workers=lambda count, timeout: None,
        nthreads=lambda: {"tcp://there:2": 4},
    )
    with pytest.raises(
        ZeroshotError, match="tcp://there:2 has 4 threads; start workers with --nth"
    ):
        zeroshot.spread._check_workers(client)

    def in_vain(*_, **__):
        raise distributed.TimeoutError

    client.wait_for_workers = in_vain
    with pytest.raises(
        ZeroshotError, match=r"no worker has joined tcp://here:1 within 0\.3 s; start"
    ):
        zeroshot.spread._check_workers(client)

    def lacks(function):
        raise ModuleNotFoundError("No module named 'zeroshot'")

    client.wait_for_workers, client.nthreads, client.run = lambda *_, **__: None, dict, lacks
    with pytest.raises(
        ZeroshotError, match=r"cannot run zeroshot .*No module named 'zeroshot'.; inst"
    ):
        zeroshot.spread._check_workers(client)


def test_without_dask(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ZeroshotError, match=r"not installed: pip install 'zeroshot-nas\[dask\]'"):
        small(scheduler="tcp://127.0.0.1:1")
