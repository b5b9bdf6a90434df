"""What scores alone tell of the proxies, before anything is known of accuracies."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from zeroshot.errors import ZeroshotError
from zeroshot.eval.compare import (
    BASELINES,
    SIZED,
    STABLE,
    clusters,
    correlations,
    mean_ratings,
    ratings_by_seed,
    seconds,
    seed_agreement,
    seeds,
)
from zeroshot.eval.correlate import tied_pairs
from zeroshot.ranking import ENSEMBLES, proxies_of

CONTROLS = ("synflow_bn",)  # what others are compared with, and no one should rank by
CLOSE = 2.0  # times the least cost, up to which costs are about the same
LEAST = 3  # architectures; of two, any order is ±1
SILENT = 0.1  # share of scores that are NaN from which on a proxy is called undefined
TIED = 0.1  # share of pairs with equal scores from which on a proxy is called tied

# What may be found, and when.
FINDINGS = {
    "control": "there to be compared with, not to rank by",
    "undefined": f"NaN for at least {100 * SILENT:.0f} % of the networks",
    "constant": "the same score for all",
    "tied": f"at least {100 * TIED:.0f} % of the pairs have equal scores",
    "unstable": f"Spearman's ρ between seeds is below {STABLE} on average",
    "size": f"|Spearman's ρ| with parameters or multiply-adds is at least {SIZED}",
}


def advise(
    scores: pd.DataFrame,
    *,
    better: Mapping[str, str] | None = None,
    record: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """What each proxy is good for on these architectures, as far as scores alone can tell.

    That a proxy is stable, differs from others and is not size says nothing about accuracy: for
    that see `zeroshot.eval.validate`. And where larger networks are better, a proxy that is biased
    by size may be a good one; parameters would then be about as good, for nothing.

    Args:
        scores: columns `arch`, `seed` and one per proxy. Columns named params, flops and depth are
            baselines; they are what the caller computed, nothing is added here.
        better: direction of each column, "higher" where it is not mentioned.
        record: of the run that made the scores: reasons and seconds.

    Returns:
        One row per column, in the order of the scores:

        - name; kind: "proxy" or "baseline"
        - n: architectures with a score from every seed that it has
        - undefined: share of the scores that are NaN
        - reason: the most frequent one; empty if there is none, or the record does not tell
        - ties: share of tied pairs among the scores of one seed, the mean over seeds; 1 for a
          constant column, NaN if some seed has fewer than two scores
        - seeds: how many it has scores of
        - seed_agreement: see `compare.seed_agreement`
        - spearman_params, spearman_flops: ρ with the size; NaN where the scores have no such column
        - cluster: those of the same number order architectures alike; see `compare.clusters`
        - seconds: per network; see `compare.seconds`
        - findings: what is wrong with it, in the words of `FINDINGS`, separated by ", "
        - keep: one of the proxies of each cluster without findings. Members of the package's
          ensembles come first; of those that cost at most twice as much as the cheapest, it is the
          one most like the rest of the cluster, by its mean |Spearman's ρ| with them; then the more
          stable one, then the first. Never a baseline, nor one that is like a baseline

    Raises:
        ZeroshotError: if the table is not sound, or has no proxy column or under 3 architectures.
    """
    proxies = proxies_of(scores)
    archs = scores["arch"].nunique()
    if not proxies:
        raise ZeroshotError("the scores have no proxy column; nothing to advise on")
    if archs < LEAST:
        raise ZeroshotError(
            f"scores of {archs} architectures; at least {LEAST} are needed to compare orders"
        )
    record = record or {}
    by_seed = ratings_by_seed(scores, proxies, better)
    rated = mean_ratings(by_seed)
    among = correlations(rated)
    unknown = pd.Series(np.nan, index=list(proxies))
    table = pd.DataFrame(
        {
            "name": list(proxies),
            "kind": ["baseline" if name in BASELINES else "proxy" for name in proxies],
            "n": rated.notna().sum(),
            "undefined": scores[list(proxies)].isna().mean(),
            "reason": [_reason(record, name) for name in proxies],
            "ties": pd.Series(
                {
                    name: np.mean([tied_pairs(rows[name]) for _, rows in scores.groupby("seed")])
                    for name in proxies
                }
            ),
            "seeds": seeds(by_seed),
            "seed_agreement": seed_agreement(by_seed),
            "spearman_params": among.get("params", unknown),
            "spearman_flops": among.get("flops", unknown),
            "cluster": clusters(among),
            "seconds": seconds(record, proxies),
        },
        index=list(proxies),
    )
    table["findings"] = [", ".join(_findings(row)) for _, row in table.iterrows()]
    table["keep"] = _kept(table, among)
    return table.reset_index(drop=True)


def _findings(row: pd.Series) -> list[str]:
    size = max(abs(row["spearman_params"]), abs(row["spearman_flops"]), key=np.nan_to_num)
    found = {
        "control": row["name"] in CONTROLS,
        "undefined": row["undefined"] >= SILENT,
        "constant": row["ties"] == 1,
        "tied": TIED <= row["ties"] < 1,
        "unstable": row["seed_agreement"] < STABLE,
        "size": row["kind"] != "baseline" and size >= SIZED,
    }
    return [name for name in FINDINGS if found[name]]


def _kept(table: pd.DataFrame, correlations: pd.DataFrame) -> pd.Series:
    like_baselines = set(table.loc[table["kind"] == "baseline", "cluster"])
    sound = table[(table["findings"] == "") & ~table["cluster"].isin(like_baselines)]
    used = {member for ensemble in ENSEMBLES for member in ensemble.members}
    kept = []
    for cluster, rows in sound.groupby("cluster", sort=False):
        members = rows["name"].isin(used)
        rows = rows[members] if members.any() else rows
        close = rows["seconds"] <= CLOSE * rows["seconds"].min()
        rows = rows[close] if close.any() else rows  # nobody knows the costs
        alike = table.index[table["cluster"] == cluster]
        central = pd.Series(
            np.abs(correlations.loc[rows.index, alike].to_numpy()).mean(axis=1), rows.index
        )
        ordered = rows.assign(central=central).sort_values(
            ["central", "seed_agreement"], ascending=False, kind="stable", na_position="last"
        )
        kept.append(ordered.index[0])
    return pd.Series(table.index.isin(kept), index=table.index)


def _reason(record: Mapping[str, Any], name: str) -> str:
    told = record.get("not a number")
    counts = told.get(name) if isinstance(told, Mapping) else None
    if not isinstance(counts, Mapping) or not counts:
        return ""
    return str(max(counts, key=lambda reason: counts[reason]))
