"""What a store has, as tables."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd

from zeroshot.errors import ZeroshotError
from zeroshot.store.file import marks, now
from zeroshot.store.kept import Formula, Kept, Key, Setting, facts
from zeroshot.store.scores import Store


def settings(store: Store) -> pd.DataFrame:
    """One row per setting: what it is, how much there is of it, and when it was last added to.

    Columns are `number` and the fields of `Setting`, then `architectures`, `networks`, `seeds`,
    `proxies`, their `names` with commas, and `written`.
    """
    columns = [field.name for field in fields(Setting)]
    named = ", ".join(f"s.{name}" for name in columns)
    rows = store.all(
        f"SELECT s.id, {named}, COUNT(DISTINCT n.arch), COUNT(*), COUNT(DISTINCT n.seed), "
        "MAX(n.written), (SELECT GROUP_CONCAT(DISTINCT c.proxy) FROM networks m "
        "JOIN scores c ON c.network = m.id WHERE m.setting = s.id) "
        "FROM settings s JOIN networks n ON n.setting = s.id GROUP BY s.id ORDER BY s.id"
    )
    names = dict(store.all("SELECT id, name FROM proxies"))
    counts = ("architectures", "networks", "seeds", "written", "proxies")
    table = pd.DataFrame(rows, columns=["number", *columns, *counts])
    held = [sorted(map(int, ids.split(",") if ids else ())) for ids in table["proxies"]]
    table["proxies"] = [len(numbers) for numbers in held]
    table["names"] = [",".join(dict.fromkeys(names[n] for n in numbers)) for numbers in held]
    return table


def setting(store: Store, number: int) -> Setting:
    """A setting by its number.

    Raises:
        ZeroshotError: if there is none.
    """
    columns = ", ".join(field.name for field in fields(Setting))
    row = None
    if abs(number) < 2**63:  # what SQLite can count to
        row = store.one(f"SELECT {columns} FROM settings WHERE id = ?", (number,))
    if row is None:
        raise ZeroshotError(
            f"{store.path} has no setting {number}; `zeroshot store list` shows what there is"
        )
    return Setting(*row)


def formulas(store: Store, number: int) -> pd.DataFrame:
    """One row per proxy of a setting: `number`, the fields of `Formula`, and counts.

    `networks` have a score, `undefined` of them NaN, for `reasons`.
    """
    setting(store, number)
    columns = [field.name for field in fields(Formula)]
    rows = store.all(
        f"SELECT p.id, {', '.join(f'p.{name}' for name in columns)}, COUNT(*), "
        "SUM(s.score IS NULL) FROM networks n JOIN scores s ON s.network = n.id "
        "JOIN proxies p ON p.id = s.proxy WHERE n.setting = ? GROUP BY p.id ORDER BY p.id",
        (number,),
    )
    why = store.all(
        "SELECT s.proxy, s.reason, COUNT(*) FROM networks n "
        "JOIN scores s ON s.network = n.id WHERE n.setting = ? AND s.reason IS NOT NULL "
        "GROUP BY s.proxy, s.reason ORDER BY COUNT(*) DESC, s.reason",
        (number,),
    )
    table = pd.DataFrame(rows, columns=["number", *columns, "networks", "undefined"])
    told = dict.fromkeys(table["number"], "")
    for proxy, reason, count in why:
        told[proxy] += f"{'; ' if told[proxy] else ''}{reason} ({count:,})"
    return table.assign(reasons=[told[number] for number in table["number"]])


def networks(store: Store, number: int) -> list[Key]:
    """The networks of a setting, in the order in which they came."""
    return store.all("SELECT arch, seed FROM networks WHERE setting = ? ORDER BY id", (number,))


def scores_of(store: Store, number: int, arch: str) -> pd.DataFrame:
    """All scores of an architecture: `seed`, `proxy`, `edition`, `score`, `reason`.

    Raises:
        ZeroshotError: if there are none.
    """
    setting(store, number)
    rows = store.all(
        "SELECT n.seed, p.name, p.edition, s.score, s.reason FROM networks n "
        "JOIN scores s ON s.network = n.id JOIN proxies p ON p.id = s.proxy "
        "WHERE n.setting = ? AND n.arch = ? ORDER BY n.seed, p.id",
        (number, arch),
    )
    if not rows:
        raise ZeroshotError(
            f"setting {number} has no score of {arch}; spell the architecture that was built "
            "(the canonical one of its class), as `zeroshot store export` does"
        )
    table = pd.DataFrame(rows, columns=["seed", "proxy", "edition", "score", "reason"])
    return table.astype({"score": np.float64})


def export(
    store: Store, number: int, proxies: Sequence[str] = (), seeds: Sequence[int] = ()
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A scores table of a setting, and the record that `zeroshot validate` reads beside it.

    Rows are the architectures that have a score of every proxy for every seed.

    Args:
        store: an open one.
        number: of the setting.
        proxies: names, or numbers as `formulas` tells them; by default all.
        seeds: by default all.

    Raises:
        ZeroshotError: for what is not there, a name of several, or if nothing is whole.
    """
    home, listed = setting(store, number), formulas(store, number)
    chosen = _chosen(listed, proxies, number)
    held = _held(store, number, chosen)
    drawn = sorted(set(seeds) or {seed for _, seed in held})
    whole = [
        key for key, kept in held.items() if key[1] in drawn and len(kept.scores) == len(chosen)
    ]
    there = Counter(arch for arch, _ in whole)
    archs = [arch for arch, count in there.items() if count == len(drawn)]
    if not archs:
        raise ZeroshotError(
            f"no architecture of setting {number} has all of {', '.join(chosen.values())} for "
            f"{'all seeds' if len(drawn) > 1 else f'seed {drawn[0]}'}; name fewer with "
            "--proxies or --seed"
        )
    keys = [(arch, seed) for arch in archs for seed in drawn]
    table = pd.DataFrame(
        [
            {"arch": arch, "seed": seed}
            | {name: held[arch, seed].scores[name] for name in chosen.values()}
            for arch, seed in keys
        ]
    )
    kinds = listed.set_index("number").loc[list(chosen)].set_index("name")
    needs, passes = (kinds[column].map(json.loads).to_dict() for column in ("needs", "passes"))
    record = {
        "store": f"{store.path}, setting {number}",
        "run": {
            **{name: getattr(home, name) for name in ("space", "code", "task", "torch")},
            "proxies": needs,
            "formulas": kinds["edition"].to_dict(),
            "better": kinds["better"].to_dict(),
            "seeds": drawn,
            "data": home.data,
            "batch": f"{home.samples} ({home.batch})",
            "init": home.init,
            "device": home.device,
        },
        "rows": len(table),
        "networks left out": len(held) - len(keys),
        **facts([held[key] for key in keys], passes),
        "finished": now(),
    }
    return table, record


def _held(store: Store, number: int, proxies: Mapping[int, str]) -> dict[Key, Kept]:
    """What there is of some proxies in a setting, in the order in which it came."""
    rows = store.all(
        "SELECT n.arch, n.seed, n.seconds, s.proxy, s.score, s.reason FROM networks n "
        "JOIN scores s ON s.network = n.id "
        f"WHERE n.setting = ? AND s.proxy IN ({marks(proxies)}) ORDER BY n.id",
        (number, *proxies),
    )
    held: dict[Key, Kept] = {}
    for arch, seed, took, proxy, score, reason in rows:
        key, name = (arch, seed), proxies[proxy]
        if key not in held:
            held[key] = Kept(seconds=store.seconds(took, arch, seed))
        held[key].scores[name] = store.number(score, name, arch, seed)
        if reason is not None:
            held[key].reasons[name] = reason
    return held


def _chosen(listed: pd.DataFrame, proxies: Sequence[str], number: int) -> dict[int, str]:
    """Proxies by number, of words that are names or numbers."""
    names = dict(zip(listed["number"].tolist(), listed["name"].tolist(), strict=True))
    chosen: dict[int, str] = {}
    for word in proxies or dict.fromkeys(names.values()):
        found = {key: name for key, name in names.items() if word in (name, str(key))}
        if not found:
            known = ", ".join(dict.fromkeys(names.values()))
            raise ZeroshotError(f"setting {number} has no proxy {word!r}; it has {known}")
        if len(found) > 1:
            raise ZeroshotError(
                f"setting {number} has {len(found)} editions of {word}; name one by its number "
                f"({', '.join(map(str, found))}), or drop old ones: zeroshot store prune --outdated"
            )
        chosen |= found
    if len(set(chosen.values())) < len(chosen):
        raise ZeroshotError(f"--proxies {','.join(proxies)}: expected each proxy once")
    return chosen
