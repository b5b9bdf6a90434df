"""How long networks take on the device at hand: the best of a ranking, or as a search goes on."""

import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from zeroshot import measure
from zeroshot.errors import ZeroshotError
from zeroshot.eval.tables import read_table
from zeroshot.record import check_identity, device_name, read_identity
from zeroshot.run import Outcome, write
from zeroshot.spaces import Space, Task

TIMED = 10  # of the best that are fast enough, before timing stops
KEEPING = 10.0  # seconds between two writes of what is timed


class Timing:
    """Milliseconds of a space's networks, each timed once.

    What is in the file already is not timed again, for it would come out otherwise: the same call
    has to find the same best. What is timed is added once in a while, and by `keep`, which whoever
    asks `of` calls at the end, whatever stops the work.

    Args:
        space: in the shape that a user would build.
        task: what its networks accept.
        device: where they run.
        path: the file; nothing is kept without.

    Raises:
        ZeroshotError: if the file is of another space, task or device, or no such table.
    """

    def __init__(self, space: Space, task: Task, device: str, path: Path | None) -> None:
        self.space, self.task, self.device, self.path = space, task, device, path
        self.known: dict[str, float] = {}
        self._unkept = 0
        self._last = time.monotonic()
        if path is not None and path.exists():
            check_identity(read_identity(path), self.identity, path)
            table = read_table(path)
            if not {"arch", "latency"} <= set(table.columns):
                raise ZeroshotError(f"{path} has no columns arch and latency; move it away")
            self.known = dict(zip(table["arch"].astype(str), table["latency"], strict=True))

    @property
    def identity(self) -> dict[str, Any]:
        """What must agree for latencies of a file to be of use here."""
        device = device_name(self.device)
        return {"space": repr(self.space), "task": repr(self.task), "device": device}

    def of(self, arch: str) -> float:
        """Milliseconds of one."""
        if arch not in self.known:
            sample = self.task.inputs(1, torch.Generator().manual_seed(0))
            net = self.space.network(self.space.parse(arch), self.task, device=self.device)
            self.known[arch] = 1000 * measure.latency(net, sample)
            self._unkept += 1
            if time.monotonic() - self._last > KEEPING:
                self.keep()
        return self.known[arch]

    def keep(self) -> None:
        """Write what has been timed since."""
        if self.path is not None and self._unkept:
            table = pd.DataFrame(self.known.items(), columns=["arch", "latency"])
            write(Outcome(table, {"run": self.identity}), self.path)
        self._unkept, self._last = 0, time.monotonic()

    def best(self, order: pd.Index, limit: float, enough: int) -> pd.Series:
        """Milliseconds from the best down until `enough` are within the limit.

        Raises:
            ZeroshotError: if none is.
        """
        found: dict[str, float] = {}
        try:
            for arch in map(str, order):
                found[arch] = self.of(arch)
                enough -= found[arch] <= limit
                if not enough:
                    break
        finally:
            self.keep()
        if min(found.values()) > limit:
            raise ZeroshotError(
                f"a latency of {limit:g} ms: of {len(found):,} architectures the fastest takes "
                f"{min(found.values()):.3g} ms here; raise the limit"
            )
        return pd.Series(found, name="latency").rename_axis("arch")
