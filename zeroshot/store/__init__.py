"""Scores that are kept: one SQLite file, which runs and processes share.

    settings 1 ── n networks 1 ── n scores n ── 1 proxies

A score is looked up by everything that it depends on. Writers take turns, a network at a time;
what was written survives the death of its process, and readers never wait.

Read `kept.py`, then `file.py` and `scores.py`; `contents.py` shows what there is, and `upkeep.py`
looks after it.
"""

from zeroshot.store.file import default_path, remove
from zeroshot.store.kept import FORMULA_KEY, SETTING_KEY, Formula, Kept, Key, Setting
from zeroshot.store.scores import Store
from zeroshot.store.upkeep import Selection

__all__ = [
    "FORMULA_KEY",
    "SETTING_KEY",
    "Formula",
    "Kept",
    "Key",
    "Selection",
    "Setting",
    "Store",
    "default_path",
    "remove",
]
