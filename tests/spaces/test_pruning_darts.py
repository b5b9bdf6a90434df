"""Pruning a supernet of DARTS ends in a genotype; here at a size that takes seconds."""

from collections import Counter
from dataclasses import dataclass, replace

import pytest
import torch

import zeroshot
from zeroshot.errors import ZeroshotError
from zeroshot.passes import Patterns
from zeroshot.spaces.darts import GROUPS, NODES, NONE, OPS, Darts
from zeroshot.spaces.space import Arch, Task
from zeroshot.supernets import FIDELITIES

CHEAP = tuple(OPS.index(name) for name in ("avg_pool_3x3", "skip_connect", "dil_conv_3x3"))
UNDECIDED = (0, 27)  # normal 0->2 and reduce 4->5


@dataclass(frozen=True)
class Small(Darts):
    """DARTS on small images, with all edges but two decided."""

    task = Task(size=8, classes=3)

    @property
    def prunable(self):
        decided = [(CHEAP[axis % len(CHEAP)],) for axis in range(len(self.axes))]
        for axis in UNDECIDED:
            decided[axis] = CHEAP
        return Arch(self.name, tuple(decided))


@pytest.fixture(scope="module")
def found():
    """What is left, after a small batch, few crops and one repeat."""
    patterns = Patterns(samples=40, together=20)
    small = replace(FIDELITIES["fast"], batch_size=6, repeats=1, patterns=patterns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FIDELITIES, "fast", small)
        return zeroshot.prune(Small(), workers=1)


def test_rounds(found):
    """Of the three options on each undecided edge two go; then two edges stay, node by node."""
    options, gone = (found.history.groupby("round")["dropped"].agg(how) for how in ("size", "sum"))
    assert options.tolist() == [2 * 3, 3, 4, 5, 3, 4, 5]
    assert gone.tolist() == [2 * 2, 1, 2, 3, 1, 2, 3]


def test_every_node_keeps_two_inputs_of_what_was_open(found):
    genes = found.arch.genes
    assert [sum(genes[axis] != NONE for axis in group) for group in GROUPS] == [2] * 8
    for axis, (gene, open_) in enumerate(zip(genes, Small().prunable.open, strict=True)):
        rows = found.history[found.history["axis"] == Small.axes[axis].name]
        dropped = set(rows.loc[rows["dropped"], "option"])
        assert {OPS[option] for option in open_} - dropped == {OPS[gene]} - {"none"}


def test_the_genotype_is_printed_and_read_back(found):
    assert found.name.startswith("Genotype(normal=[('")
    assert Darts().parse(found.name) == found.arch
    with pytest.raises(ZeroshotError, match="no darts architecture"):
        Darts().parse(found.name[:-1])


def test_the_genotype_is_a_network(found):
    net = Darts(channels=2, layers=3).network(found.arch, Small.task)
    assert net(torch.rand(2, 3, 8, 8)).shape == (2, 3)
    for cell in net.module.cells:
        inputs = Counter(int(edge.partition("->")[2]) for edge in cell.mixtures)
        assert inputs == dict.fromkeys(NODES, 2)
        assert all(mixture.count == 1 for mixture in cell.mixtures.values())
