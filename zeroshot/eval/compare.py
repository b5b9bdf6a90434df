"""How proxies stand to each other: differences, clusters, size, seeds and cost.

Functions of tables. A table of ratings has one row per architecture and one column per entry, a
proxy or an ensemble, higher is better; NaN where an entry says nothing about an architecture.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import norm, t

from zeroshot.errors import ZeroshotError
from zeroshot.eval.correlate import Array, kendall, percentiles, rank_resamples, spearman
from zeroshot.ranking import Ensemble, mean_over_seeds, proxies_of, ratings

BASELINES = ("params", "flops", "depth")  # what any proxy has to beat
ALIKE = 0.9  # mean |Spearman's ρ| from which on proxies order alike
SIZED = 0.8  # |Spearman's ρ| with parameters or multiply-adds from which on a proxy is biased
STABLE = 0.8  # mean Spearman's ρ between seeds below which a proxy is unstable
FEW = 10  # architectures below which bootstrap intervals mean nothing
WHOLE = 0.9  # coverage below which a figure is of a part of the architectures only


def ratings_by_seed(
    scores: pd.DataFrame,
    entries: Sequence[str | Ensemble],
    better: Mapping[str, str] | None = None,
) -> tuple[pd.DataFrame, ...]:
    """The ratings of each seed alone, in order of the seeds; see `zeroshot.ranking.ratings`.

    Their mean is the rating over all seeds. Rows are the architectures, in the order of the scores,
    columns the entries.

    Raises:
        ZeroshotError: if the table is not sound, has no rows, or lacks an ensemble's member.
    """
    proxies_of(scores)
    archs = pd.Index(scores["arch"].unique(), name="arch")
    if not len(archs):
        raise ZeroshotError("the scores have no rows; nothing to rank")
    found = []
    for _, rows in scores.groupby("seed", sort=True):
        columns = {str(entry): ratings(rows, entry, better).loc[archs] for entry in entries}
        found.append(pd.DataFrame(columns, index=archs))
    return tuple(found)


def mean_ratings(by_seed: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Every column's mean over the seeds; see `zeroshot.ranking.mean_over_seeds`."""
    columns = {
        name: mean_over_seeds([table[name] for table in by_seed]) for name in by_seed[0].columns
    }
    return pd.DataFrame(columns, index=by_seed[0].index)


def seeds(by_seed: Sequence[pd.DataFrame]) -> pd.Series:
    """How many seeds each column has ratings of."""
    names = by_seed[0].columns
    return pd.Series([len(_rated(by_seed, name)) for name in names], index=names, dtype=np.int64)


def _rated(by_seed: Sequence[pd.DataFrame], name: str) -> tuple[pd.Series, ...]:
    """The ratings of a column, of each seed that has any."""
    return tuple(table[name] for table in by_seed if table[name].notna().any())


def correlations(rated: pd.DataFrame) -> pd.DataFrame:
    """Spearman's ρ of every pair of columns, over the architectures that both rate.

    NaN for a constant column, also with itself.
    """
    names = list(rated.columns)
    columns = rated.to_numpy(np.float64).T
    matrix = np.full((len(names), len(names)), np.nan)
    for i, j in combinations_with_replacement(range(len(names)), 2):
        matrix[i, j] = matrix[j, i] = spearman(columns[i], columns[j])
    return pd.DataFrame(matrix, index=names, columns=names)


def clusters(correlations: pd.DataFrame, alike: float = ALIKE) -> pd.Series:
    """Which columns order architectures alike, or exactly the other way round.

    Hierarchical clustering with average linkage on 1 − |ρ|, cut where the mean |ρ| between two
    clusters falls below `alike`. An undefined ρ counts as 0: a constant column is on its own.

    Args:
        correlations: Spearman's ρ, square and symmetric.
        alike: in (0, 1].

    Returns:
        Numbers from 1, in the order of each cluster's first column.
    """
    names = list(correlations.index)
    if len(names) < 2:
        return pd.Series(1, index=names, dtype=np.int64)
    distance = 1 - np.abs(correlations.fillna(0).to_numpy(np.float64))
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(np.clip(distance, 0, 1)), method="average")
    labels = fcluster(tree, t=1 - alike + 1e-12, criterion="distance")
    return pd.Series(pd.factorize(labels)[0] + 1, index=names, dtype=np.int64)


# -- differences -----------------------------------------------------------------------------------


def candidates(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that may be called the best: with a τ, of `FEW` and `WHOLE` of the architectures.

    A τ of a few of them may be high by luck, or because these are easily told apart. Where no row
    is of enough, those of `FEW`; then those of nearly all there are; then any.

    Args:
        table: columns kendall, n and coverage, as `validate` returns them.
    """
    known = table[table["kendall"].notna()]
    enough, nearly = known["n"] >= FEW, known["coverage"] >= WHOLE
    for kept in (enough & nearly, enough, nearly):
        if kept.any():
            return known[kept]
    return known


def together(values: pd.Series, drawn: Mapping[str, Array], counts: pd.Series) -> pd.DataFrame:
    """Intervals of several statistics that hold for all of them at once with 95 % confidence.

    Of many intervals of 95 % some miss by chance, and whoever looks for the best of many proxies
    finds these. The statistics' bootstrap distributions are put on one scale, divided by their
    standard deviations; the half-width is the 95 % quantile, over the resamples, of the largest
    deviation. What is highly correlated thus costs little, unlike by Bonferroni's rule. Bootstrap
    distributions of few architectures are too narrow, most so far out: the quantile is taken to be
    a normal one, and replaced by Student's with two degrees of freedom less than architectures. No
    interval is narrower than that of the statistic alone.

    Source: the studentised maximum, Westfall & Young, Resampling-Based Multiple Testing (1993).

    Args:
        values: of each statistic, on all architectures.
        drawn: of each, on every resample, NaN where it is undefined.
        counts: how many architectures each is of.

    Returns:
        Columns lo and hi, by name; NaN for what is undefined.
    """
    rows = {name: found for name, found in drawn.items() if not np.isnan(found).all()}
    ends = pd.DataFrame(np.nan, index=values.index, columns=["lo", "hi"])
    if not rows:
        return ends
    found = np.stack(list(rows.values()))
    spread = np.nanstd(found, axis=1)
    apart = np.abs(found - np.nanmean(found, axis=1, keepdims=True))
    scaled = apart / np.where(spread > 0, spread, 1)[:, None]
    beyond = norm.sf(np.nanquantile(np.fmax.reduce(scaled, axis=0), 0.95))
    width = t.isf(beyond, [max(counts[name] - 2, 1) for name in rows]) * spread
    middle = np.array([values[name] for name in rows])
    low, high = np.nanpercentile(found, [2.5, 97.5], axis=1)
    ends["lo"] = pd.Series(np.minimum(middle - width, low), index=list(rows))
    ends["hi"] = pd.Series(np.maximum(middle + width, high), index=list(rows))
    return ends


@dataclass(frozen=True, eq=False)
class Resamples:
    """Kendall's τ and Spearman's ρ of columns on bootstrap resamples, each computed once.

    Attributes:
        rated: ratings.
        accuracy: of the same architectures, in the same order, without NaN.
        resamples: how many.
        seed: of the draws.
    """

    rated: pd.DataFrame
    accuracy: pd.Series
    resamples: int = 1000
    seed: int = 0
    _found: dict[tuple[str, bytes], dict[str, Array]] = field(default_factory=dict, repr=False)

    def known(self, name: str) -> NDArray[np.bool_]:
        """Which architectures a column rates."""
        return self.rated[name].notna().to_numpy()

    def both(self, name: str, other: str) -> NDArray[np.bool_]:
        """Which architectures two columns rate."""
        return self.known(name) & self.known(other)

    def of(self, name: str, shown: NDArray[np.bool_] | None = None) -> dict[str, Array]:
        """By statistic, on the architectures `shown`; by default on all that the column rates."""
        shown = self.known(name) if shown is None else shown
        key = name, shown.tobytes()
        if key not in self._found:
            x = self.rated[name].to_numpy(np.float64)[shown]
            y = self.accuracy.to_numpy(np.float64)[shown]
            self._found[key] = rank_resamples(x, y, resamples=self.resamples, seed=self.seed)
        return self._found[key]

    def apart(self, name: str, other: str) -> Array:
        """Kendall's τ of `name` less that of `other` on each resample; see `difference`."""
        both = self.both(name, other)
        return self.of(name, both)["kendall"] - self.of(other, both)["kendall"]

    def difference(self, name: str, other: str) -> tuple[float, float, float, float]:
        """Paired: by how much `name` has the higher Kendall's τ than `other`.

        Both are compared on the architectures that both rate, and on the same resamples of these.

        Returns:
            τ of `name` less that of `other`, in [−2, 2]; the 95 % percentile interval of that
            difference; and the share of resamples in which `name` beats `other`, equal ones
            counting half. NaN where one of them is undefined.
        """
        both = self.both(name, other)
        y = self.accuracy.to_numpy(np.float64)[both]
        first, second = (
            kendall(self.rated[each].to_numpy(np.float64)[both], y) for each in (name, other)
        )
        apart = self.apart(name, other)
        apart = apart[~np.isnan(apart)]
        # sums in another order leave dust on equal values
        wins = np.mean((apart > 1e-12) + 0.5 * (np.abs(apart) <= 1e-12)) if len(apart) else np.nan
        return first - second, *percentiles(apart), float(wins)


# -- seeds -----------------------------------------------------------------------------------------


def seed_agreement(by_seed: Sequence[pd.DataFrame]) -> pd.Series:
    """The mean Spearman's ρ between two seeds, by column, in [−1, 1]; 1 does not depend on them.

    Seeds differ in the weights and in a proxy's own draws; the batch is the same for all. Where one
    of two seeds is constant and the other is not, they agree by 0. NaN for a single seed, and for a
    column that is constant for every seed.
    """
    found = {}
    for name in by_seed[0].columns:
        pairs = [_agreement(a, b) for a, b in combinations(_rated(by_seed, name), 2)]
        told = [pair for pair in pairs if not np.isnan(pair)]
        found[name] = float(np.mean(told)) if told else float("nan")
    return pd.Series(found, dtype=np.float64)


def _agreement(one: pd.Series, other: pd.Series) -> float:
    """Spearman's ρ; 0 if only one of the two is constant."""
    both = one.notna() & other.notna()
    constant = one[both].nunique() < 2, other[both].nunique() < 2
    return spearman(one, other) if constant[0] == constant[1] else 0.0


def seed_spread(by_seed: Sequence[pd.DataFrame], accuracy: pd.Series) -> pd.DataFrame:
    """The lowest and the highest Kendall's τ that a single seed gives, by column.

    Columns kendall_seed_lo and kendall_seed_hi: NaN for a single seed, or if τ of some seed that
    the column has is undefined.
    """
    rows = {}
    for name in by_seed[0].columns:
        each = _rated(by_seed, name)
        taus = [kendall(rated.loc[accuracy.index], accuracy) for rated in each]
        several = len(taus) > 1
        ends = (np.min(taus), np.max(taus)) if several else (np.nan, np.nan)
        rows[name] = dict(zip(("kendall_seed_lo", "kendall_seed_hi"), ends, strict=True))
    return pd.DataFrame.from_dict(rows, orient="index")


# -- cost ------------------------------------------------------------------------------------------


def seconds(record: Mapping[str, Any], entries: Iterable[str | Ensemble]) -> pd.Series:
    """What each entry costs: seconds per network, by the record of a run.

    The mean over the networks scored of the time of all passes that the entry needs, on one thread
    (for CUDA, to enqueue). A pass that proxies share counts in full for each of them, so this is
    what the entry would cost alone; only once for an ensemble's members. Where the run took a
    dearer pass in place of another, that is what is counted. The formula's own time, building the
    network and loading data are not.

    What is counted without a network, such as parameters, costs 0.

    Returns:
        By name; NaN for what the record does not tell, and everywhere without a record.

    Raises:
        ZeroshotError: if the record has these facts, but not as a run writes them.
    """
    try:
        passes = {name: frozenset(ran) for name, ran in record.get("passes", {}).items()}
        spent = {name: float(value) for name, value in record.get("seconds per pass", {}).items()}
        networks = int(record.get("networks scored", 0))
        if not np.isfinite(list(spent.values())).all():  # JSON may say 1e400
            raise ValueError("infinite seconds")
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ZeroshotError(
            "the run record does not tell passes and seconds as a run writes them; restore it, or "
            "delete it to go without costs"
        ) from error
    if passes:
        passes = dict.fromkeys(BASELINES, frozenset[str]()) | passes
    found = {}
    for entry in entries:
        members = entry.members if isinstance(entry, Ensemble) else (entry,)
        known = all(member in passes for member in members)
        needed = frozenset[str]().union(*(passes[member] for member in members if known))
        total = sum(spent.get(name, 0.0) for name in sorted(needed))
        found[str(entry)] = total / max(networks, 1) if known else float("nan")
    return pd.Series(found, dtype=np.float64)


def pareto(cost: pd.Series, quality: pd.Series) -> pd.Series:
    """Which entries no other beats: none is as cheap and as good, and better in one of the two.

    False where one of the two numbers is NaN. Equal entries are on the front together.
    """
    low, high = cost.to_numpy(np.float64), quality.to_numpy(np.float64)
    with np.errstate(invalid="ignore"):
        as_good = (low[:, None] <= low) & (high[:, None] >= high)
        beaten = (as_good & ((low[:, None] < low) | (high[:, None] > high))).any(axis=0)
    return pd.Series(~beaten & ~np.isnan(low) & ~np.isnan(high), index=cost.index)
