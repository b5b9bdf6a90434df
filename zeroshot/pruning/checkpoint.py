"""Where a pruning stands, on the disk after every round."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeroshot.errors import ZeroshotError
from zeroshot.files import write_bytes, writing
from zeroshot.record import check_identity
from zeroshot.searches.prune import Candidate, Criterion, from_rows, rows_of
from zeroshot.spaces.space import Arch


@dataclass(frozen=True)
class Checkpoint:
    """A file that says of which run it is, what is still open, and what was measured.

    Attributes:
        path: of the file; its folder is the run's.
        identity: what must agree for it to be of the same run.
    """

    path: Path
    identity: dict[str, Any]

    def keep(self, arch: Arch, history: list[Candidate]) -> None:
        """Write it, whole or not at all."""
        state = {"run": self.identity, "open": arch.open, "history": rows_of(history)}
        with writing(self.path):
            write_bytes(self.path, json.dumps(state).encode())

    def read(
        self, start: Arch, criterion: Criterion, *, resume: bool
    ) -> tuple[Arch, list[Candidate]]:
        """Where the run that it is of stands: at the start, if there is none.

        Args:
            start: the supernet of the first round.
            criterion: what the history was judged by.
            resume: whether there has to be a run, to go on with; without, it must not have begun.

        Raises:
            ZeroshotError: if there is none to resume, one that is not to be, or another, or if the
                file is damaged.
        """
        if not self.path.exists():
            if resume:
                raise ZeroshotError(f"{self.path} does not exist: there is nothing to resume")
            return start, []
        try:
            state = json.loads(self.path.read_text(encoding="utf-8"))
            found = dict(state["run"])
            if not resume:
                if not state["history"]:  # there is nothing to lose
                    return start, []
                raise ZeroshotError(
                    f"{self.path.parent} holds a run already; add --resume to go on with it, or "
                    "choose another --out"
                )
            check_identity(found, self.identity, self.path)
            open_ = tuple(tuple(int(option) for option in axis) for axis in state["open"])
            return Arch(start.space, open_), from_rows(state["history"], criterion)
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, ZeroshotError):
                raise
            raise ZeroshotError(f"{self.path} is damaged; move it away to start anew") from error
