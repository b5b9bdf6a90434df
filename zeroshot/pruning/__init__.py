"""Pruning end to end: how it runs, what it keeps on the way, and what it finds."""

from zeroshot.pruning.pruned import Pruned, load
from zeroshot.pruning.run import DRAWS, METHODS, Pruning

__all__ = ("DRAWS", "METHODS", "Pruned", "Pruning", "load")
