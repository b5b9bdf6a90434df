"""TE-NAS end to end: measure supernets, prune, keep what was found. `search.prune` decides."""

import json
import math
import platform
import shlex
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import zeroshot
from zeroshot.core import Batch, Net, Pass, Proxy
from zeroshot.data import load_batch
from zeroshot.errors import ZeroshotError
from zeroshot.models import find_device, find_space
from zeroshot.passes import FixedTangentKernel, Patterns, TangentKernel
from zeroshot.proxies.linear_regions import linear_regions
from zeroshot.proxies.ntk_cond import ntk_cond
from zeroshot.run import Progress, check_identity, replace_file, writing
from zeroshot.scoring import evaluate
from zeroshot.search.prune import Candidate, Measured, Without, from_rows, prune, rows_of, without
from zeroshot.spaces.space import Arch, Space, Task


@dataclass(frozen=True)
class Fidelity:
    """How κ and the number of regions are measured.

    Attributes:
        kernel: the pass that gives the tangent kernel.
        patterns: the pass that gives activation patterns.
        batch_size: samples of the kernel.
        repeats: measurements to average.
        init: initialisation of the supernets.
        common: whether all options of a round share weights, batch and the supernet's own values
            in each repeat. Otherwise every option and repeat has a batch of its own, and a round
            one draw of weights, as in the authors' code.
        digits: see `prune`.
    """

    kernel: Pass[Any]
    patterns: Patterns
    batch_size: int
    repeats: int
    init: str
    common: bool
    digits: int | None = None

    @property
    def proxies(self) -> tuple[Proxy, Proxy]:
        """κ and the number of linear regions, measured this way."""
        return (
            Proxy("condition", (self.kernel,), ntk_cond, "lower", "arXiv:2102.11535"),
            Proxy("regions", (self.patterns,), linear_regions, "higher", "arXiv:2102.11535"),
        )


FIDELITIES: dict[str, Fidelity] = {
    # The same criterion from far less work; the default. With Kaiming weights and 32 samples, as
    # in the paper, this kernel finds worse cells (docs/reproductions.md).
    "fast": Fidelity(FixedTangentKernel(), Patterns(), 64, 3, "default", common=True),
    # As the paper says: Kaiming weights drawn anew for each repeat, batch 32, 5,000 samples.
    "paper": Fidelity(
        TangentKernel(), Patterns(samples=5000), 32, 3, "kaiming_normal", common=True
    ),
    # As the published code does it: its re-initialisation has no effect, so that repeats differ
    # in data alone, and κ changes are sorted as rounded to three figures.
    "official": Fidelity(
        TangentKernel(), Patterns(samples=3000), 72, 3, "default", common=False, digits=3
    ),
}


@dataclass(frozen=True, eq=False)
class Pruned:
    """What pruning found.

    Attributes:
        arch: the single-path network.
        name: as the space spells it.
        history: every option of every round; see `zeroshot.search.prune.Candidate`.
        record: how it came about.
    """

    arch: Arch
    name: str
    history: pd.DataFrame
    record: dict[str, Any]

    def write(self, out: Path, space: Space, seed: int) -> None:
        """Write architecture.json, history.csv, pruning.png and record.json into a folder."""
        from zeroshot.eval.plots import pruning

        shape = {field.name: getattr(space, field.name) for field in fields(space)}
        found = {"space": space.name, "shape": shape, "arch": self.name, "seed": seed}
        axes = [(axis.name, axis.options) for axis in space.axes]
        figure = pruning(self.history, axes)
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
            for name, text in (("architecture", found), ("record", self.record)):
                words = json.dumps(text, indent=2) + "\n"
                replace_file(out / f"{name}.json", lambda path, words=words: path.write_text(words))
            replace_file(out / "history.csv", lambda path: self.history.to_csv(path, index=False))
            replace_file(out / "pruning.png", lambda path: figure.savefig(path, format="png"))


def load(folder: str | Path, *, device: str = "cpu") -> Net:
    """The network that `prune` found, freshly initialised from the seed of that run.

    Raises:
        ZeroshotError: if the folder is not one that `prune` wrote.
    """
    path = Path(folder) / "architecture.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        name, shape, arch, seed = (found[key] for key in ("space", "shape", "arch", "seed"))
        space = replace(find_space(str(name)), **shape)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, ZeroshotError):
            raise
        raise ZeroshotError(
            f"{path} is not there or damaged; expected a folder that `zeroshot prune` wrote"
        ) from error
    return space.network(space.parse(arch), seed=int(seed), device=find_device(device))


@dataclass(frozen=True, eq=False)
class Pruning:
    """Everything that the result depends on."""

    space: Space
    fidelity: str = "fast"
    data: str = "noise"
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.space.mixable:
            raise ZeroshotError(
                f"{self.space.name} cannot be pruned: options of its axis "
                f"{self.space.axes[0].name!r} cannot be mixed in one network"
            )
        if self.fidelity not in FIDELITIES:
            raise ZeroshotError(
                f"unknown fidelity {self.fidelity!r}; expected {', '.join(FIDELITIES)}"
            )

    @property
    def identity(self) -> dict[str, Any]:
        """What must agree for a checkpoint to be of the same run."""
        return {
            "zeroshot": zeroshot.__version__,
            "torch": torch.__version__,
            "space": repr(self.space),
            "fidelity": self.fidelity,
            "settings": repr(FIDELITIES[self.fidelity]),
            "data": self.data,
            "seed": self.seed,
            "device": self.device.split(":")[0],
        }

    def run(
        self,
        out: Path | None = None,
        *,
        resume: bool = False,
        progress: Progress = lambda done, total: None,
    ) -> Pruned:
        """Prune, keeping a checkpoint in the folder `out` after every round.

        Raises:
            ZeroshotError: if `out` holds another run, or an unfinished one and `resume` is not set,
                or cannot be written.
        """
        start, history = self.space.prunable, list[Candidate]()
        checkpoint = None if out is None else out / "checkpoint.json"
        if checkpoint is not None:
            with writing(checkpoint.parent):  # before a round is measured in vain
                checkpoint.parent.mkdir(parents=True, exist_ok=True)
            start, history = self._resumed(checkpoint, start, resume)
        total = _to_measure(self.space, self.space.prunable)
        started = time.time()

        def keep(arch: Arch, seen: list[Candidate]) -> None:
            if checkpoint is not None:
                state = {"run": self.identity, "open": arch.open, "history": rows_of(seen)}
                with writing(checkpoint):
                    replace_file(checkpoint, lambda path: path.write_text(json.dumps(state)))

        def measure(
            arch: Arch, options: Sequence[tuple[int, int]], number: int
        ) -> Iterator[list[Without]]:
            done = total - _to_measure(self.space, arch)
            for position, found in enumerate(self._measured(arch, options, number)):
                progress(done + position, total)
                yield found
            progress(done + len(options), total)

        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the networks are tiny; and the digits are the same everywhere
        try:
            arch, seen = prune(
                self.space,
                start,
                measure,
                digits=FIDELITIES[self.fidelity].digits,
                history=history,
                after_round=keep,
            )
        finally:
            torch.set_num_threads(threads)
        table = pd.DataFrame(rows_of(seen))
        singular = int(table["condition_after"].map(math.isinf).sum()) if len(table) else 0
        record = {
            "command": shlex.join(sys.argv),
            "run": self.identity,
            "options measured": len(seen),
            "options with a singular kernel": singular,
            "seconds in this session": round(time.time() - started, 2),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": platform.platform(),
        }
        return Pruned(arch, self.space.spell(arch), table, record)

    def _measured(
        self, arch: Arch, options: Sequence[tuple[int, int]], number: int
    ) -> Iterator[list[Without]]:
        """For each option of a round, what dropping it does, repeat by repeat."""
        how = FIDELITIES[self.fidelity]
        if how.common:
            batches = [self._batch(f"{number} {repeat}") for repeat in range(how.repeats)]
            nets = [self._net(arch, batch) for batch in batches]
            before = [self._value(net, batch) for net, batch in zip(nets, batches, strict=True)]
            for axis, option in options:
                pruned = without(arch, axis, option)
                yield [
                    Without(value, self._value(self._net(pruned, batch, net), batch))
                    for value, net, batch in zip(before, nets, batches, strict=True)
                ]
            return
        # A batch for every measurement, but weights for the round: what the authors' code does.
        shared = self._net(arch, self._batch(f"{number}"))
        for axis, option in options:
            pruned = self._net(without(arch, axis, option), self._batch(f"{number}"), shared)
            drawn = (self._batch(f"{number} {axis} {option} {r}") for r in range(how.repeats))
            yield [Without(self._value(shared, b), self._value(pruned, b)) for b in drawn]

    def _batch(self, purpose: str) -> "_Drawn":
        seed = self.seed ^ zlib.crc32(purpose.encode())
        size = FIDELITIES[self.fidelity].batch_size
        batch, task = load_batch(self.data, size=size, task=self.space.task, seed=seed)
        return _Drawn(batch, task, seed)

    def _net(self, arch: Arch, drawn: "_Drawn", like: Net | None = None) -> Net:
        init = FIDELITIES[self.fidelity].init
        return self.space.searched.network(
            arch, drawn.task, init=init, seed=drawn.seed, device=self.device, like=like
        )

    def _value(self, net: Net, drawn: "_Drawn") -> Measured:
        # The seed is the batch's: κ₀ and κ₁ are to differ in the option alone, crops included.
        net = replace(net, seed=drawn.seed)
        scores = evaluate(net, drawn.batch, FIDELITIES[self.fidelity].proxies)
        return Measured(scores["condition"], scores["regions"])

    def _resumed(self, checkpoint: Path, start: Arch, resume: bool) -> tuple[Arch, list[Candidate]]:
        if not checkpoint.exists():
            if resume:
                raise ZeroshotError(f"{checkpoint} does not exist: there is nothing to resume")
            return start, []
        if not resume:
            raise ZeroshotError(
                f"{checkpoint.parent} holds a run already; add --resume to go on with it, or "
                "choose another --out"
            )
        try:
            state = json.loads(checkpoint.read_text())
            open_ = tuple(tuple(int(option) for option in axis) for axis in state["open"])
            history = from_rows(state["history"])
            found = dict(state["run"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ZeroshotError(f"{checkpoint} is damaged; move it away to start anew") from error
        check_identity(found, self, checkpoint)
        return Arch(start.space, open_), history


@dataclass(frozen=True, eq=False)
class _Drawn:
    batch: Batch
    task: Task
    seed: int


def _to_measure(space: Space, arch: Arch) -> int:
    """Options still to be measured until the supernet is a network of the space."""
    total, left = 0, [len(options) for options in arch.open]
    while any(count > 1 for count in left):
        total += sum(count for count in left if count > 1)
        left = [max(1, count - space.per_round) for count in left]
    full = ([axis for axis in group if arch.open[axis] != (0,)] for group in space.groups)
    return total + sum(len(group) for group in full if len(group) > space.inputs)
