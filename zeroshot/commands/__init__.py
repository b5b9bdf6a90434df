"""The library calls behind the commands, with the same names and defaults."""

from zeroshot.commands.pruned import prune
from zeroshot.commands.ranked import Ranking, rank
from zeroshot.commands.scored import score
from zeroshot.commands.searched import search
from zeroshot.commands.stored import Check, check_store, export_store, selected
from zeroshot.commands.validated import Advice, Validation, advise, validate

__all__ = [
    "Advice",
    "Check",
    "Ranking",
    "Validation",
    "advise",
    "check_store",
    "export_store",
    "prune",
    "rank",
    "score",
    "search",
    "selected",
    "validate",
]
