"""How long the best networks of a ranking take on the device at hand."""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Timing:
    """What a latency depends on, besides the architecture."""

    space: Space
    task: Task
    device: str

    @property
    def identity(self) -> dict[str, Any]:
        """What must agree for latencies of a file to be of use here."""
        device = device_name(self.device)
        return {"space": repr(self.space), "task": repr(self.task), "device": device}

    def of(self, order: pd.Index, limit: float, enough: int, path: Path | None) -> pd.Series:
        """Milliseconds of architectures, from the best down until `enough` are within the limit.

        What is in the file already is not timed again, for it would come out otherwise: the same
        call has to find the same best.
        """
        known: dict[str, float] = {}
        if path is not None and path.exists():
            check_identity(read_identity(path), self.identity, path)
            table = read_table(path)
            if not {"arch", "latency"} <= set(table.columns):
                raise ZeroshotError(f"{path} has no columns arch and latency; move it away")
            known = dict(zip(table["arch"].astype(str), table["latency"], strict=True))
        found: dict[str, float] = {}
        try:
            for arch in map(str, order):
                found[arch] = known[arch] if arch in known else self.latency(arch)
                enough -= found[arch] <= limit
                if not enough:
                    break
        finally:  # what has been timed is kept, whatever stops it
            if path is not None and not known.keys() >= found.keys():
                table = pd.DataFrame((found | known).items(), columns=["arch", "latency"])
                write(Outcome(table, {"run": self.identity}), path)
        if min(found.values()) > limit:
            raise ZeroshotError(
                f"a latency of {limit:g} ms: of {len(found):,} architectures the fastest takes "
                f"{min(found.values()):.3g} ms here; raise the limit"
            )
        return pd.Series(found, name="latency").rename_axis("arch")

    def latency(self, arch: str) -> float:
        """Milliseconds of one, here and now."""
        sample = self.task.inputs(1, torch.Generator().manual_seed(0))
        net = self.space.network(self.space.parse(arch), self.task, device=self.device)
        return 1000 * measure.latency(net, sample)
