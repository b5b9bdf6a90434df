"""Look after a store of scores."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zeroshot.data import load_batch
from zeroshot.errors import ZeroshotError, check_seed
from zeroshot.files import check_out, record_path
from zeroshot.models import find_device, find_space
from zeroshot.proxies import PROXIES
from zeroshot.run import Outcome, Run, execute, formula_of, write
from zeroshot.spaces import SPACES
from zeroshot.store import SETTING_KEY, Selection, Setting, Store, contents, upkeep


@dataclass(frozen=True, eq=False)
class Check:
    """What `check_store` found.

    Attributes:
        damage: what SQLite finds wrong with the file.
        scores: one row per score that was computed again: `setting`, `arch`, `seed`, `proxy`,
            `stored`, `now` and whether they are the `same`, to the last digit.
        skipped: why networks of a setting cannot be scored again, by its number.
    """

    damage: list[str]
    scores: pd.DataFrame
    skipped: dict[int, str]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damage and bool(self.scores["same"].all())


def export_store(
    store: str | Path,
    number: int,
    out: str | Path,
    *,
    proxies: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (),
) -> Outcome:
    """Write scores of a store as a table, with the record that `validate` reads.

    Args:
        store: the file.
        number: of the setting; see `zeroshot.store.contents`.
        out: a .csv or .parquet file, which must not be there.
        proxies: names, or numbers as `zeroshot.store.contents.formulas` tells them; by default all.
        seeds: by default all. Architectures that lack a score of one are left out.

    Raises:
        ZeroshotError: for what is not there, or a file that is.
    """
    out = Path(out)
    check_out(out)
    for path in (out, record_path(out)):
        if path.exists():
            raise ZeroshotError(f"{path} is there already; choose another --out")
    with Store(Path(store), create=False) as kept:
        outcome = Outcome(*contents.export(kept, number, proxies, seeds))
    write(outcome, out)
    return outcome


def selected(
    *, space: str | None = None, before: str | None = None, outdated: bool = False
) -> Selection:
    """A selection of scores to delete; see `zeroshot.store.Selection`.

    Args:
        space: its name, or with its shape.
        before: a date.
        outdated: only those of other editions or settings than the package's proxies have now.
    """
    current = tuple(map(formula_of, PROXIES)) if outdated else None
    return Selection(space, before, current)


def check_store(store: str | Path, *, sample: int = 3, seed: int = 0) -> Check:
    """Check a store: the file, and a sample of its networks, which are scored again.

    These are networks of the package's spaces, shown noise or digits, scored by the package's
    proxies with this version of torch.

    Args:
        store: the file.
        sample: how many networks at most.
        seed: of the sample.

    Raises:
        ZeroshotError: if the file is no store or cannot be read at all.
    """
    check_seed(seed)
    rows: list[dict[str, Any]] = []
    skipped: dict[int, str] = {}
    known = {formula_of(proxy): proxy for proxy in PROXIES}
    with Store(Path(store), create=False) as kept:
        damage = upkeep.damage(kept)
        runs: dict[int, Run] = {}
        for number in [] if damage else contents.settings(kept)["number"].tolist():
            try:
                runs[number] = _repeated(contents.setting(kept, number))
            except ZeroshotError as error:
                skipped[number] = str(error)
        there = [(number, *key) for number in runs for key in contents.networks(kept, number)]
        order = np.random.default_rng(seed).permutation(len(there))[: max(sample, 0)]
        for number, arch, seed_ in (there[position] for position in order):
            run, key = runs[number], (arch, seed_)
            found = kept.load(run.setting, tuple(known), [key])
            if not found:  # of other editions, all of them
                continue
            stored = found[key].scores
            proxies = tuple(proxy for proxy in PROXIES if proxy.name in stored)
            archs = (run.space.parse(arch),)
            again = replace(run, archs=archs, seeds=(seed_,), proxies=proxies)
            now = execute(again).scores.iloc[0]
            for name, value in stored.items():
                row = {"setting": number, "arch": arch, "seed": seed_, "proxy": name}
                same = value == now[name] or (value != value and now[name] != now[name])
                rows.append({**row, "stored": value, "now": now[name], "same": bool(same)})
    columns = ["setting", "arch", "seed", "proxy", "stored", "now", "same"]
    return Check(damage, pd.DataFrame(rows, columns=columns), skipped)


def _repeated(setting: Setting) -> Run:
    """A run of the same setting, without architectures; ZeroshotError if it cannot be had here."""
    if setting.name not in {space.name for space in SPACES}:
        raise ZeroshotError(f"{setting.name} is no space of this package")
    if setting.data not in ("noise", "digits") or setting.data_seed is None:
        raise ZeroshotError(f"the batch is of {setting.data}, which is not drawn again")
    try:
        space = replace(find_space(setting.name), **json.loads(setting.shape))
    except (ValueError, TypeError) as error:
        raise ZeroshotError(f"{setting.space} cannot be made again: {error}") from error
    size, seed = setting.samples, setting.data_seed
    batch, task = load_batch(setting.data, batch_size=size, task=space.task, seed=seed)
    device = find_device(setting.device)
    given = {"data": setting.data, "init": setting.init, "device": device, "data_seed": seed}
    run = Run(space, (), batch, (), (), task, **given)
    for name in SETTING_KEY:
        there, here = getattr(setting, name), getattr(run.setting, name)
        if there != here:
            raise ZeroshotError(f"{name} is {there} in the store, and {here} here")
    return run
