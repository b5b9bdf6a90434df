"""Scores against accuracies: one row of statistics per proxy, ensemble and baseline."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from zeroshot.errors import ZeroshotError, whole
from zeroshot.eval.compare import (
    BASELINES,
    FEW,
    Resamples,
    candidates,
    clusters,
    correlations,
    mean_ratings,
    pareto,
    ratings_by_seed,
    seconds,
    seed_agreement,
    seed_spread,
    seeds,
    together,
)
from zeroshot.eval.correlate import (
    EXACT,
    STATISTICS,
    Array,
    partial_spearman,
    percentiles,
    tied_pairs,
)
from zeroshot.ranking import ENSEMBLES, Ensemble, constant, proxies_of

CONTROLS = ("params", "flops")
RESAMPLES = 100  # at least: the ends of a 95 % interval are then beyond the third from each side


def validate(
    scores: pd.DataFrame,
    truth: pd.Series,
    *,
    better: Mapping[str, str] | None = None,
    ensembles: tuple[Ensemble, ...] = ENSEMBLES,
    resamples: int = 1000,
    seed: int = 0,
    record: Mapping[str, Any] | None = None,
    lower_is_better: bool = False,
) -> pd.DataFrame:
    """How well each column of `scores`, and each ensemble it has the members of, orders `truth`.

    Every column is oriented first, so a positive correlation means that the proxy works. What is
    compared are the ratings of `zeroshot.ranking`: one seed's scores, or the mean rank over those
    seeds that a column has.
    An architecture without a rating is left out of its proxy's statistics, and counted in
    `coverage`. A constant column has no correlation: NaN.

    Args:
        scores: columns `arch`, `seed` and one per proxy. Columns named params, flops and depth are
            baselines; they are what the caller computed, nothing is added here.
        truth: accuracies indexed by arch, more is better: losses and latencies are negated, as
            `load_truth` does. Those of other architectures are not looked at.
        better: direction of each column, "higher" where it is not mentioned.
        ensembles: those that lack a member are left out.
        resamples: of the bootstrap, at least `RESAMPLES`.
        seed: of the bootstrap, at least 0.
        record: of the run that made the scores, which tells what each proxy cost.
        lower_is_better: whether `truth` was negated; then what is picked, and the best there was,
            are told with the sign that they were measured with.

    Returns:
        One row per proxy, ensemble and baseline, in this order of columns:

        - name; kind: "proxy", "ensemble" or "baseline"
        - n: architectures with a rating and an accuracy
        - coverage: n as a share of the architectures with an accuracy
        - measured, unmatched: scored architectures with an accuracy, and without (unknown, or NaN)
        - infinite: architectures for which its score, or a member's, is infinite for some seed;
          infinities are ranked like other values
        - constant: how many members (or 1, itself) are the same for all, and so have no say
        - ties: share of tied pairs among the n ratings
        - kendall, kendall_lo, kendall_hi; spearman, spearman_lo, spearman_hi: with 95 % intervals,
          each of one row alone
        - precision_top10: share of the top 10 % by score in the top 10 % by accuracy
        - ndcg: see `correlate.ndcg`
        - picked: accuracy of the architecture it would pick
        - partial_spearman: given the ranks of params and flops, or of one where the other is
          missing. NaN for these two, and if both are missing
        - best: the best accuracy there was to pick
        - interval: "bootstrap", or "linearised bootstrap" for Kendall's τ of n > 2,000
        - kendall_all_lo, kendall_all_hi: intervals that hold for all rows at once; see
          `compare.together`. So for the two differences, except that baselines are not among them.
          NaN where n is below 10
        - best_delta, best_delta_lo, best_delta_hi, beats_best: Kendall's τ less that of the best
          proxy or ensemble of `compare.candidates`, paired; see `compare.Resamples.difference`.
          That one was chosen on the same data, which the interval does not know. NaN for itself
        - best_delta_all_lo, best_delta_all_hi
        - baseline_delta, baseline_delta_lo, baseline_delta_hi, beats_baseline: the same against
          the best baseline. NaN for itself, and for all without baselines
        - baseline_delta_all_lo, baseline_delta_all_hi
        - spearman_params, spearman_flops: ρ with the size, over all scored architectures; NaN where
          the scores have no such column
        - cluster: those of the same number order architectures alike; see `compare.clusters`
        - seeds: how many it has scores of
        - seed_agreement, kendall_seed_lo, kendall_seed_hi: see `compare.seed_agreement` and
          `compare.seed_spread`; NaN for one seed
        - seconds: per network; see `compare.seconds`. NaN where the record does not tell
        - pareto: whether none is as cheap and as good by τ, and better in one of the two

    Raises:
        ZeroshotError: if the tables are not sound, or an accuracy is infinite, or fewer than 3
            architectures have one, or there are too few resamples.
    """
    if whole("resamples", resamples) < RESAMPLES:
        raise ZeroshotError(
            f"{resamples} resamples; expected at least {RESAMPLES}, for 95 % intervals of fewer "
            "tell nothing"
        )
    if whole("seed", seed) < 0:
        raise ZeroshotError(f"seed {seed}: expected a whole number, at least 0")
    proxies = proxies_of(scores)
    better = better or {}
    archs = pd.Index(scores["arch"].unique())
    accuracy = _known(truth, archs)
    if not proxies:
        raise ZeroshotError("the scores have no proxy column; nothing to validate")
    entries = (*proxies, *_present(ensembles, proxies))
    by_seed = ratings_by_seed(scores, entries, better)
    rated = mean_ratings(by_seed)
    judged = rated.loc[accuracy.index]
    drawn = Resamples(judged, accuracy, resamples, seed)
    controls = [judged[control].to_numpy() for control in CONTROLS if control in proxies]
    infinite = np.isinf(scores.set_index("arch")[list(proxies)]).groupby(level=0).any()
    sign = -1.0 if lower_is_better else 1.0
    flat = constant(scores, proxies)
    rows = []
    for entry in entries:
        name = str(entry)
        known = drawn.known(name)
        x, y = judged[name].to_numpy()[known], accuracy.to_numpy()[known]
        figures = _figures(x, y, drawn.of(name))
        figures["picked"] *= sign
        partial = float("nan")
        if controls and name not in CONTROLS:
            given = np.stack([control[known] for control in controls], axis=1)
            partial = partial_spearman(x, y, given)
        rows.append(
            {
                "name": name,
                "kind": _kind(entry),
                "n": len(x),
                "coverage": len(x) / len(accuracy),
                "measured": len(accuracy),
                "unmatched": len(archs) - len(accuracy),
                "infinite": int(infinite[list(_members(entry))].any(axis=1).sum()),
                "constant": len(flat & set(_members(entry))),
                "ties": tied_pairs(x),
                **figures,
                "partial_spearman": partial,
                "best": sign * float(accuracy.max()),
                "interval": "bootstrap" if len(x) <= EXACT else "linearised bootstrap",
            }
        )
    table = pd.DataFrame(rows).set_index("name", drop=False)
    baseline = table["kind"] == "baseline"
    among = correlations(rated)
    taus = {name: drawn.of(name)["kendall"] for name in table.index[table["n"] >= FEW]}
    found = [
        table,
        together(table["kendall"], taus, table["n"]).clip(-1, 1).add_prefix("kendall_all_"),
        _against(table[~baseline], table, drawn, "best"),
        _against(table[baseline], table, drawn, "baseline"),
        *(
            among.get(size, pd.Series(dtype=np.float64)).rename(f"spearman_{size}")
            for size in CONTROLS
        ),
        clusters(among).rename("cluster"),
        seeds(by_seed).rename("seeds"),
        seed_agreement(by_seed).rename("seed_agreement"),
        seed_spread(by_seed, accuracy),
    ]
    cost = seconds(record or {}, entries)
    front = pareto(cost, table["kendall"])
    table = pd.concat([*found, cost.rename("seconds"), front.rename("pareto")], axis=1)
    return table.reset_index(drop=True)


def _known(truth: pd.Series, archs: pd.Index) -> pd.Series:
    """The accuracies of scored architectures that are known; ZeroshotError if they are unsound."""
    if not truth.index.is_unique:
        arch = truth.index[truth.index.duplicated()][0]
        raise ZeroshotError(f"the true accuracies hold {arch} more than once; keep one")
    accuracy = truth.reindex(archs).dropna().astype(np.float64)
    endless = accuracy.index[np.isinf(accuracy)]
    if len(endless):
        raise ZeroshotError(
            f"the true accuracy of {endless[0]} is {accuracy[endless[0]]}; leave it out, or make "
            "it NaN, where no accuracy is known"
        )
    if len(accuracy) < 3:
        numbers = all(str(arch).isdecimal() for arch in truth.index)
        hint = "; a number may count rows, so is no index: spell architectures" if numbers else ""
        raise ZeroshotError(
            f"{len(accuracy)} of {len(archs)} scored architectures have a true accuracy; at least "
            f"3 are needed. Scores hold e.g. {_first(archs)}, accuracies {_first(truth.index)}"
            f"{hint}"
        )
    return accuracy


def _figures(x: Array, y: Array, resampled: Mapping[str, Array]) -> dict[str, float]:
    """Every statistic of ratings and accuracies; of those resampled, the interval too."""
    figures: dict[str, float] = {}
    for name, statistic in STATISTICS.items():
        figures[name] = statistic(x, y)
        if name in resampled:
            figures[f"{name}_lo"], figures[f"{name}_hi"] = percentiles(resampled[name])
    return figures


def _against(
    rivals: pd.DataFrame, table: pd.DataFrame, drawn: Resamples, rival: str
) -> pd.DataFrame:
    """Every column's paired difference to the best of `rivals`."""
    known = candidates(rivals)["kendall"]
    best = None if known.empty else str(known.idxmax())
    columns = *(f"{rival}_delta{end}" for end in ("", "_lo", "_hi")), f"beats_{rival}"
    nothing = (float("nan"),) * len(columns)
    rows = {
        name: nothing if best in (None, name) else drawn.difference(str(name), str(best))
        for name in drawn.rated.columns
    }
    found = pd.DataFrame.from_dict(rows, orient="index", columns=list(columns))
    compared = table.index[(table["kind"] != "baseline") & (table["n"] >= FEW)].drop(
        best, errors="ignore"
    )
    apart = {} if best is None else {name: drawn.apart(name, best) for name in compared}
    counts = pd.Series({name: int(drawn.both(name, str(best)).sum()) for name in apart})
    every = together(found[columns[0]], apart, counts).clip(-2, 2)
    return found.join(every.add_prefix(f"{columns[0]}_all_"))


def _present(ensembles: tuple[Ensemble, ...], proxies: tuple[str, ...]) -> tuple[Ensemble, ...]:
    """Those whose members are there; a column goes before an ensemble of its name."""
    there = set(proxies)
    return tuple(e for e in ensembles if set(e.members) <= there and e.name not in there)


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
    entries = (*proxies, *_present(ensembles, proxies))
    table = mean_ratings(ratings_by_seed(scores, entries, better))
    last = "accuracy" if "accuracy" not in table else "true accuracy"
    return correlations(table.assign(**{last: truth.reindex(table.index).astype(np.float64)}))


def _members(entry: str | Ensemble) -> tuple[str, ...]:
    return entry.members if isinstance(entry, Ensemble) else (entry,)


def _kind(entry: str | Ensemble) -> str:
    if isinstance(entry, Ensemble):
        return "ensemble"
    return "baseline" if entry in BASELINES else "proxy"


def _first(index: pd.Index) -> str:
    return repr(str(index[0])) if len(index) else "none"
