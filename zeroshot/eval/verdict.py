"""The figures in words. Every sentence follows from a table by a rule stated here."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from zeroshot.eval.advise import FINDINGS
from zeroshot.eval.compare import ALIKE, FEW, STABLE, WHOLE, candidates


def verdict(table: pd.DataFrame, record: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Which proxies to use where these architectures come from, in sentences.

    What is advised has to be better than chance (the 95 % interval of its τ is above 0) and rated
    widely (`compare.candidates`). Of such proxies and ensembles that beat the best baseline (the
    interval of the paired difference is above 0), those not told apart from the best one (its
    interval reaches 0); of these the stable ones; of these the cheapest. Where no one is left a
    rule is passed over. Without costs, the one with the highest Kendall's τ. If none beats the best
    baseline: that one; if that one is not better than chance, such a proxy all the same, if any is.

    All intervals that decide are those that hold for all rows at once (`compare.together`): with
    many proxies some would beat a baseline by luck.

    The further sentences name the best; those not told apart from it; those that do not beat the
    best baseline; clusters (see `compare.clusters`); the unstable ones, whose mean Spearman's ρ
    between seeds is below 0.8; those that rate less than 90 % of the architectures, or fewer than
    10; the misleading ones, whose interval of τ is below 0; those that say nothing; those that are
    infinite for some architectures; members of ensembles that are the same for all; and what could
    not be told for lack of seeds, costs or baselines. Of what rates fewer than 10 architectures
    nothing is concluded; if all do, only the last four are said. If a search found the
    architectures, that is said too.

    Args:
        table: what `validate` returned.
        record: of the run that made the scores.
    """
    found = table.sort_values("kendall", ascending=False, kind="stable", na_position="last")
    known = found[found["kendall"].notna()]
    rivals = known[known["kind"] != "baseline"]
    said: list[str] = []
    if known.empty:
        said.append("No score orders these architectures: every correlation is undefined.")
    elif (known if rivals.empty else rivals)["n"].max() < FEW:
        most = (known if rivals.empty else rivals)["n"].max()
        said.append(
            f"{most} architectures are too few to tell proxies apart; at least {FEW} are needed."
        )
    elif rivals.empty:
        said.append("There are only baselines: no proxy to compare with them.")
    else:
        said += _comparison(known)
    silent = found[found["kendall"].isna()]
    if len(silent) and len(known):
        why = (f"{row['name']} ({_silence(row)})" for row in _rows(silent))
        said.append(f"Nothing is said here by {_listed(why)}.")
    return (*said, *_odd(known), *_untold(table), *_searched(record or {}))


def _searched(record: Mapping[str, Any]) -> list[str]:
    run = record.get("run")
    method = run.get("method") if isinstance(run, Mapping) else None
    if method is None:
        return []
    return [
        f"A search found these architectures ({method}): they are no sample of the space, in which "
        "correlations are others."
    ]


def advice(table: pd.DataFrame) -> tuple[str, ...]:
    """Which proxies are worth computing there, in sentences; see `advise` for the rules.

    With fewer than 10 architectures the first sentence says that these are too few.

    Args:
        table: what `advise` returned.
    """
    said = []
    if table["n"].max() < FEW:
        said.append(
            f"{table['n'].max()} architectures are too few to rely on this; take at least {FEW}."
        )
    kept = table.loc[table["keep"], "name"]
    if len(kept):
        said.append(f"Worth computing: {_listed(kept)}.")
        said.append(
            "That is one proxy for each order that is defined, stable and more than size: a member "
            "of an ensemble if there is one, else the most typical of the cheapest. Whether they "
            "are right, only accuracies tell."
        )
    else:
        said.append("No proxy is without findings here.")
    for finding, meaning in FINDINGS.items():
        names = [
            f"{row['name']} ({row['reason']})"
            if finding == "undefined" and row["reason"]
            else row["name"]
            for row in _rows(table)
            if finding in row["findings"].split(", ")
        ]
        if names:
            said.append(f"{_LABELS[finding]} ({meaning}): {_listed(names)}.")
    said += _alike(table)
    dear = _rows(table[table["seconds"] > 0].sort_values("seconds", kind="stable"))
    if dear:
        low, high = dear[0], dear[-1]
        costs = f"{low['name']} takes {duration(low['seconds'])} a network"
        if len(dear) > 1:
            costs += f", {high['name']} {duration(high['seconds'])}"
        said.append(f"Cost: {costs}.")
    return (*said, *_untold(table))


_LABELS = {
    "control": "Control",
    "undefined": "Undefined",
    "constant": "Constant",
    "tied": "Tied",
    "unstable": "Unstable",
    "size": "Biased by size",
}


def duration(seconds: float) -> str:
    """Seconds as people say them: '12 ms', '0.4 s', '3.2 min'; 'no time' for 0."""
    if np.isnan(seconds):
        return "–"
    if seconds == 0:
        return "no time"
    if seconds < 0.0995:
        return f"{1000 * seconds:.2g} ms"
    return f"{seconds:.2g} s" if seconds < 99.5 else f"{seconds / 60:.1f} min"


def _comparison(known: pd.DataFrame) -> list[str]:
    judged = known[known["n"] >= FEW]
    rivals, baselines = (judged[(judged["kind"] == "baseline") == is_one] for is_one in (0, 1))
    wide = candidates(rivals)
    best, sizes = _rows(wide)[0], candidates(baselines)
    level = rivals[rivals["best_delta_all_hi"] >= 0]
    better = rivals[rivals["baseline_delta_all_lo"] > 0] if len(sizes) else rivals
    said = [_advised(wide, wide[wide["name"].isin(better["name"])], best, sizes)]
    low, high = (_digits(best[f"kendall_{end}"]) for end in ("lo", "hi"))
    beaten = len(sizes) and sizes["kendall"].iloc[0] > best["kendall"]
    which = "The best that is no baseline" if beaten else "The best"
    said.append(
        f"{which} is {best['name']}: Kendall's τ = {_digits(best['kendall'])}, with 95 % "
        f"confidence {low} to {high}."
    )
    if len(level):
        said.append(f"Not told apart from it: {_listed(level['name'])}.")
    elif len(rivals) > 1 and (rivals["best_delta_all_hi"] < 0).sum() == len(rivals) - 1:
        said.append("Every other proxy is worse than it, beyond chance.")
    behind = rivals[~rivals.index.isin(better.index)]
    if len(behind):
        top = _tau(_rows(sizes)[0])
        names = _listed(behind["name"])
        said.append(f"Not shown to be better than {top}, the best baseline: {names}.")
    said += _alike(known)
    unstable = known[known["seed_agreement"] < STABLE]
    if len(unstable):
        agreement = (f"{row['name']} ({_digits(row['seed_agreement'])})" for row in _rows(unstable))
        said.append(
            f"Unstable over seeds (mean Spearman's ρ below {STABLE}): {_listed(agreement)}."
        )
    part = known[(known["coverage"] < WHOLE) | (known["n"] < FEW)]
    if len(part):
        share = (f"{row['name']} ({100 * row['coverage']:.0f} %)" for row in _rows(part))
        said.append(f"Judged on a part of the architectures only: {_listed(share)}.")
    wrong = judged[judged["kendall_all_hi"] < 0]
    if len(wrong):
        said.append(f"Misleading, worse than chance: {_listed(map(_tau, _rows(wrong)))}.")
    if len(judged) > 2 and len(wrong) == len(judged):
        said.append(
            "All point the wrong way: if less is better in that column, as of an error, say so "
            "(--lower-is-better)."
        )
    return said


def _advised(
    wide: pd.DataFrame, better: pd.DataFrame, best: dict[str, Any], sizes: pd.DataFrame
) -> str:
    """The first sentence: of those rated widely, of which `better` beat the best of `sizes`."""
    sound, size, any_sound = (t[t["kendall_all_lo"] > 0] for t in (better, sizes.head(1), wide))
    chance = "unlike the best, it is shown to be better than chance"
    if len(sound):
        behind = best["name"] not in set(better["name"])
        return _use(
            sound, best, "unlike the best, it beats the best baseline" if behind else chance
        )
    if len(size):
        return f"Use {size['name'].iloc[0]}: no proxy is shown to beat this baseline."
    if len(any_sound):
        return _use(any_sound, best, chance)
    return (
        "No score is shown to order these architectures better than chance, allowing for how many "
        "are compared."
    )


def _use(better: pd.DataFrame, best: dict[str, Any], unlike: str) -> str:
    """The sentence that advises one of those that are better than others, and perhaps the best."""
    good = better
    for kept in (
        (good["best_delta_all_hi"] >= 0) | (good["name"] == best["name"]),
        ~(good["seed_agreement"] < STABLE),
    ):
        good = good[kept.loc[good.index]] if kept.loc[good.index].any() else good
    chosen = _rows(good.sort_values("seconds", kind="stable", na_position="last"))[0]
    cost = "" if np.isnan(chosen["seconds"]) else f" ({duration(chosen['seconds'])} a network)"
    if chosen["name"] == best["name"]:
        return f"Use {chosen['name']}{cost}."
    if best["name"] not in set(better["name"]):
        why = unlike
    elif chosen["seconds"] < best["seconds"]:
        why = "not told apart from the best, and cheaper"
    elif best["seed_agreement"] < STABLE:
        why = "not told apart from the best, and more stable"
    else:
        why = "not told apart from the best, whose cost is not known"
    return f"Use {chosen['name']}{cost}: {why}."


def _alike(table: pd.DataFrame) -> list[str]:
    groups = [list(rows["name"]) for _, rows in table.groupby("cluster", sort=False)]
    groups = [_listed(names) for names in groups if len(names) > 1]
    if not groups:
        return []
    return [
        f"Redundant (mean |Spearman's ρ| of at least {ALIKE}), one of each is enough: "
        f"{'; '.join(groups)}."
    ]


def _odd(known: pd.DataFrame) -> list[str]:
    """Scores that are infinite, and members of ensembles that are the same for all."""
    said = []
    infinite = known[(known["infinite"] > 0) & (known["kind"] != "ensemble")]
    if len(infinite):
        each = (f"{row['name']} ({row['infinite']:,})" for row in _rows(infinite))
        said.append(f"Infinite for some architectures, and ranked as such: {_listed(each)}.")
    silent = known[(known["constant"] > 0) & (known["kind"] == "ensemble")]
    if len(silent):
        each = (f"{row['constant']} in {row['name']}" for row in _rows(silent))
        said.append(f"Members that are the same for all have no say: {_listed(each)}.")
    return said


def _untold(table: pd.DataFrame) -> list[str]:
    said = []
    if table["seeds"].max() < 2:
        said.append("There is one seed: how much the scores depend on it is not told.")
    if table["seconds"].isna().all():
        said.append("There is no record of passes and seconds: what the proxies cost is not told.")
    if not (table["kind"] == "baseline").any():
        said.append("There are no params, flops or depth: a comparison with size is not told.")
    return said


def _silence(row: dict[str, Any]) -> str:
    if row["n"] == 0:
        return "no score"
    return "the same for all" if row["ties"] == 1 else f"{row['n']} scores"


def _tau(row: dict[str, Any]) -> str:
    return f"{row['name']} (τ = {_digits(row['kendall'])})"


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _digits(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
