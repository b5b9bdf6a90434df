"""The supernet of docs/your-own-supernet.md, as a user would have it."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import zeroshot
from zeroshot.errors import ZeroshotError
from zeroshot.models import find_space
from zeroshot.passes import Patterns
from zeroshot.supernets import FIDELITIES

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "examples" / "03_a_supernet_of_your_own.py").read_text()


@pytest.fixture
def tower(tmp_path, monkeypatch):
    """The example as a module in the current folder, and a small fidelity."""
    (tmp_path / "tower.py").write_text(EXAMPLE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    small = replace(FIDELITIES["fast"], batch_size=6, repeats=1, patterns=Patterns(samples=60))
    monkeypatch.setitem(FIDELITIES, "fast", small)
    yield find_space("tower:Tower")
    del sys.modules["tower"]


def test_prunes_to_a_network_that_is_found_again(tower, tmp_path):
    found = zeroshot.prune("tower:Tower", out=tmp_path / "pruned", workers=1)
    assert found.arch.is_network
    assert [len(open_) for open_ in tower.names(found.arch)] == [1, 1, 1]
    assert len(found.history) == 3 * (4 + 3 + 2)
    net = zeroshot.load(tmp_path / "pruned")
    assert net(torch.rand(2, 3, 16, 16)).shape == (2, 10)


def test_names(tower):
    arch = tower.whole.drop(1, 0).drop(2, 3)
    options = ("skip", "pool", "conv1", "conv3")
    assert tower.names(arch) == (options, options[1:], options[:3])


def test_one_that_does_not_mix_is_refused(tower, monkeypatch):
    monkeypatch.setattr(type(tower), "mixable", False)
    with pytest.raises(
        ZeroshotError, match="tower cannot be pruned: options of its axis 'stage 1'"
    ):
        zeroshot.prune("tower:Tower", workers=1)


def test_one_that_builds_networks_only_says_what_is_undecided(tower, monkeypatch):
    monkeypatch.setattr(type(tower), "build", lambda self, arch, task: arch.genes)
    with pytest.raises(ZeroshotError, match=r"is a supernet \(3 of 3 axes undecided\)"):
        zeroshot.prune("tower:Tower", workers=1)
