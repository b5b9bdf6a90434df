"""Scores against accuracies: one row of statistics per proxy, ensemble and baseline."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from zeroshot.errors import ZeroshotError
from zeroshot.eval.correlate import (
    EXACT,
    STATISTICS,
    partial_spearman,
    rank_intervals,
    spearman,
    tied_pairs,
)
from zeroshot.ranking import ENSEMBLES, Ensemble, proxies_of, ratings

BASELINES = ("params", "flops", "depth")  # what any proxy has to beat
CONTROLS = ("params", "flops")


def validate(
    scores: pd.DataFrame,
    truth: pd.Series,
    *,
    better: Mapping[str, str] | None = None,
    ensembles: tuple[Ensemble, ...] = ENSEMBLES,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """How well each column of `scores`, and each ensemble it has the members of, orders `truth`.

    Every column is oriented first, so a positive correlation means that the proxy works. What is
    compared are the ratings of `zeroshot.ranking`: one seed's scores, or the mean rank over seeds.
    An architecture without a rating is left out of its proxy's statistics, and counted in
    `coverage`. A constant column has no correlation: NaN.

    Args:
        scores: columns `arch`, `seed` and one per proxy. Columns named params, flops and depth are
            baselines; they are what the caller computed, nothing is added here.
        truth: accuracies indexed by arch. Those of other architectures are not looked at.
        better: direction of each column, "higher" where it is not mentioned.
        ensembles: those that lack a member are left out.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        One row per proxy, ensemble and baseline, in this order of columns:

        - name; kind: "proxy", "ensemble" or "baseline"
        - n: architectures with a rating and an accuracy
        - coverage: n as a share of the architectures with an accuracy
        - unmatched: scored architectures without an accuracy (unknown, or NaN)
        - ties: share of tied pairs among the n ratings
        - kendall, kendall_lo, kendall_hi; spearman, spearman_lo, spearman_hi: with 95 % intervals
        - partial_spearman: given the ranks of params and flops, or of one where the other is
          missing. NaN for these two, and if both are missing
        - precision_top10: share of the top 10 % by score in the top 10 % by accuracy
        - ndcg: see `correlate.ndcg`
        - picked: accuracy of the architecture it would pick
        - best: the best accuracy there was to pick
        - interval: "bootstrap", or "linearised bootstrap" for Kendall's τ of n > 2,000

    Raises:
        ZeroshotError: if the tables are not sound, or fewer than 3 architectures have an accuracy.
    """
    proxies = proxies_of(scores)
    better = better or {}
    if not truth.index.is_unique:
        arch = truth.index[truth.index.duplicated()][0]
        raise ZeroshotError(f"the true accuracies hold {arch} more than once; keep one")
    archs = pd.Index(scores["arch"].unique())
    accuracy = truth.reindex(archs).dropna().astype(np.float64)
    if len(accuracy) < 3:
        raise ZeroshotError(
            f"{len(accuracy)} of {len(archs)} scored architectures have a true accuracy; at least "
            f"3 are needed. Scores hold e.g. {_first(archs)}, accuracies {_first(truth.index)}"
        )
    present = [ensemble for ensemble in ensembles if set(ensemble.members) <= set(proxies)]
    controls = {
        control: ratings(scores, control, better).loc[accuracy.index].to_numpy()
        for control in CONTROLS
        if control in proxies
    }
    rows = []
    for entry in (*proxies, *present):
        name = str(entry)
        x = ratings(scores, entry, better).loc[accuracy.index].to_numpy()
        known = ~np.isnan(x)
        x, y = x[known], accuracy.to_numpy()[known]
        values = {key: statistic(x, y) for key, statistic in STATISTICS.items()}
        interval = rank_intervals(x, y, resamples=resamples, seed=seed)
        partial = float("nan")
        if controls and name not in controls:
            given = np.stack([control[known] for control in controls.values()], axis=1)
            partial = partial_spearman(x, y, given)
        rows.append(
            {
                "name": name,
                "kind": _kind(entry),
                "n": len(x),
                "coverage": len(x) / len(accuracy),
                "unmatched": len(archs) - len(accuracy),
                "ties": tied_pairs(x),
                "kendall": values["kendall"],
                "kendall_lo": interval["kendall"][0],
                "kendall_hi": interval["kendall"][1],
                "spearman": values["spearman"],
                "spearman_lo": interval["spearman"][0],
                "spearman_hi": interval["spearman"][1],
                "partial_spearman": partial,
                "precision_top10": values["precision_top10"],
                "ndcg": values["ndcg"],
                "picked": values["picked"],
                "best": float(accuracy.max()),
                "interval": "bootstrap" if len(x) <= EXACT else "linearised bootstrap",
            }
        )
    if not rows:
        raise ZeroshotError("the scores have no proxy column; nothing to validate")
    return pd.DataFrame(rows)


def rank_correlations(
    scores: pd.DataFrame,
    truth: pd.Series,
    *,
    better: Mapping[str, str] | None = None,
    ensembles: tuple[Ensemble, ...] = ENSEMBLES,
) -> pd.DataFrame:
    """Spearman's ρ between all proxies, ensembles and the accuracy, which comes last.

    Oriented as in `validate`: proxies that agree have a positive ρ whatever their directions. Each
    entry is over the architectures that both columns rate; between proxies, also those without an
    accuracy. NaN for constant columns, also on the diagonal.
    """
    proxies = proxies_of(scores)
    present = [ensemble for ensemble in ensembles if set(ensemble.members) <= set(proxies)]
    table = {str(entry): ratings(scores, entry, better) for entry in (*proxies, *present)}
    accuracy = truth.reindex(next(iter(table.values())).index) if table else truth
    columns = [*(column.to_numpy() for column in table.values()), accuracy.to_numpy(np.float64)]
    matrix = np.array([[spearman(a, b) for b in columns] for a in columns])
    names = [*table, "accuracy"]
    return pd.DataFrame(matrix, index=names, columns=names)


def _kind(entry: str | Ensemble) -> str:
    if isinstance(entry, Ensemble):
        return "ensemble"
    return "baseline" if entry in BASELINES else "proxy"


def _first(index: pd.Index) -> str:
    return repr(str(index[0])) if len(index) else "none"
