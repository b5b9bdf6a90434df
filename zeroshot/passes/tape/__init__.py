"""Reverse mode for many rows of a Jacobian: what autograd does, several rows in one go.

`Tape` records (`record.py`) steps that know how to go back (`steps.py`), `Replay` runs them
backwards (`replay.py`) with gradients of several rows (`rows.py`). Convolutions, which are most of
the work, are carried back together (`windows.py`, and of any stride in `strided.py`).
"""

from zeroshot.passes.tape.record import Tape, Unseen
from zeroshot.passes.tape.replay import Replay

__all__ = ("Replay", "Tape", "Unseen")
