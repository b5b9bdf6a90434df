"""How well does x order what y measures? Statistics of paired values, and their intervals.

All take x (scores, higher is better) and y (accuracies), both of length n. Only the order of x
counts, so infinities are welcome. Pairs with a NaN are left out. Correlations are signed. Where a
statistic is undefined, it is NaN.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau, rankdata

Array = NDArray[np.float64]
Interval = tuple[float, float]

EXACT = 2_000  # up to this n, `rank_resamples` resamples Kendall's τ without approximation
BLOCK = 2_000_000  # numbers in the arrays of `rank_resamples`, to bound its memory


def kendall(x: ArrayLike, y: ArrayLike) -> float:
    """Kendall's τ-b in [−1, 1]: concordant minus discordant pairs, corrected for ties.

    NaN if x or y is constant. O(n log n). Source: Kendall, Biometrika 33 (1945).

    >>> round(kendall([1, 2, 2, 3], [10, 20, 30, 40]), 4)
    0.9129
    """
    a, b = _pairs(x, y)
    if len(a) < 2:
        return float("nan")
    result = kendalltau(rankdata(a), rankdata(b))
    return float(result.statistic)  # type: ignore[attr-defined]


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's ρ in [−1, 1]: Pearson's correlation of the ranks; ties share the mean rank.

    NaN if x or y is constant. Source: Spearman, Am. J. Psychol. 15 (1904).

    >>> round(spearman([1, 2, 3, 4], [10, 20, 40, 30]), 4)
    0.8
    """
    a, b = _pairs(x, y)
    return _pearson(rankdata(a), rankdata(b))


def partial_spearman(x: ArrayLike, y: ArrayLike, controls: ArrayLike) -> float:
    """Spearman's ρ of what the controls leave unexplained, in [−1, 1].

    The ranks of x and of y are each regressed, with an intercept, on the ranks of the controls;
    the result is Pearson's correlation of the residuals. As ranks are used, a monotone transform of
    a control (its logarithm, say) changes nothing.

    NaN if the controls explain x or y entirely, or n < number of controls + 3.

    Args:
        x: n scores.
        y: n accuracies.
        controls: (n, k) numbers, or n for one control.
    """
    given = np.asarray(controls, dtype=np.float64)
    given = given[:, None] if given.ndim == 1 else given
    a, b, *others = _pairs(x, y, *given.T)
    if len(a) < len(others) + 3:
        return float("nan")
    design = np.stack([np.ones(len(a)), *(_centred(rankdata(c)) for c in others)], axis=1)
    residuals = []
    for values in (a, b):
        centred = _centred(rankdata(values))
        residual = centred - design @ np.linalg.lstsq(design, centred, rcond=None)[0]
        if np.linalg.norm(residual) <= 1e-9 * max(np.linalg.norm(centred), 1.0):
            return float("nan")
        residuals.append(residual)
    return _pearson(residuals[0], residuals[1])


def precision_at(x: ArrayLike, y: ArrayLike, fraction: float = 0.1) -> float:
    """The share of the top `fraction` by x that is in the top `fraction` by y, in [0, 1].

    The top holds k = max(1, round(fraction · n)) architectures; chance gives k / n. Where ties
    straddle its edge, the expectation over random tie-breaking is taken. NaN for n = 0.

    >>> precision_at([5, 4, 3, 2], [9, 7, 8, 6], fraction=0.5)
    0.5
    """
    a, b = _pairs(x, y)
    if len(a) == 0:
        return float("nan")
    k = max(1, round(fraction * len(a)))
    inside = (np.arange(len(a)) < k).astype(np.float64)
    return float(_expected(inside, a) @ _expected(inside, b)) / k


def ndcg(x: ArrayLike, y: ArrayLike, top: int = 1000) -> float:
    """Normalised discounted cumulative gain of the `top` by x, in [0, 1].

    DCG = Σ_j gain(j) / log₂(1 + j) over the positions j = 1 … min(top, n) of the order by x; nDCG
    divides by the DCG of the order by y. An architecture's gain is 2^y, y in percentage points:
    one point less halves it, so that only finding the very best counts (with linear gains, even a
    random order of NAS-Bench-201 gets 0.93). Ties in x share the mean of their discounts.

    Values in [−100, 0] are read as errors, negated: the gains depend on differences only, so they
    give what the accuracies do. If none is beyond ±1, they are taken for fractions and multiplied
    by 100. NaN if y is constant or n = 0, and for all that cannot be points of accuracy: values
    beyond ±100, or of both signs, such as latencies in ms, for which no difference halves the gain.
    Losses and latencies that lie within [−100, 0] cannot be told from errors: there nDCG depends on
    their unit.

    Source: Järvelin & Kekäläinen 2002. These gains and this top give what VKDNW (CVPR 2025) reports
    for NAS-Bench-201 to within 0.06 (flops 0.73 for 0.745, jacob_cov 0.53 for 0.540).

    Differs: from gains of 2^y − 1 in that 2^(worst y) is subtracted instead of 1, so the worst
    gain is 0 even where all accuracies are close. On NAS-Bench-201 the two agree to 1e-20.
    """
    a, b = _pairs(x, y)
    if len(a) == 0 or b.min() == b.max():
        return float("nan")
    largest = np.abs(b).max()
    if largest > 100 or b.min() < 0 < b.max():
        return float("nan")
    points = b if largest > 1 else 100 * b
    gains = np.exp2(points - points.max()) - np.exp2(points.min() - points.max())
    discounts = np.zeros(len(a))
    discounts[:top] = 1 / np.log2(np.arange(2, min(top, len(a)) + 2))
    return float(gains @ _expected(discounts, a)) / float(np.sort(gains)[::-1] @ discounts)


def picked(x: ArrayLike, y: ArrayLike) -> float:
    """The accuracy of the architecture that x puts first; the mean over several in a tie.

    NaN for n = 0.
    """
    a, b = _pairs(x, y)
    return float(b[a == a.max()].mean()) if len(a) else float("nan")


def tied_pairs(x: ArrayLike) -> float:
    """The share of pairs of values that are equal, in [0, 1]; NaN for fewer than 2 values."""
    (a,) = _pairs(x)
    if len(a) < 2:
        return float("nan")
    sizes = np.unique(a, return_counts=True)[1].astype(np.float64)
    return float((sizes * (sizes - 1)).sum() / (len(a) * (len(a) - 1)))


Statistic = Callable[[ArrayLike, ArrayLike], float]

STATISTICS: dict[str, Statistic] = {
    "kendall": kendall,
    "spearman": spearman,
    "precision_top10": precision_at,
    "ndcg": ndcg,
    "picked": picked,
}


# -- intervals -------------------------------------------------------------------------------------


def rank_resamples(
    x: ArrayLike, y: ArrayLike, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Array]:
    """Kendall's τ and Spearman's ρ of each bootstrap resample, as "kendall" and "spearman".

    The draws depend on n, `resamples` and `seed` only: two columns known for the same
    architectures are resampled alike, and their differences are paired.

    A resample is a vector w of how often each architecture was drawn. Ranks are then cumulated
    weights, and Kendall's numerator is wᵀAw with A_ij = sign(x_i − x_j) sign(y_i − y_j).

    For n > `EXACT` = 2,000 that matrix grows too large, and wᵀAw is linearised around w = 1:
    2 wᵀA1 − 1ᵀA1, with A1 counted in O(n log² n), and less 1ᵀA1/n, the mean of the rest. What is
    left out has mean 0 and is of order 1/n in τ, that is 1/√n of the interval's width. The
    corrections for ties and Spearman's ρ stay exact.

    A resample in which all of x is equal orders nothing: both are 0. (Left out, the others would
    tell of a column that singles out one architecture, wherever that is drawn, what holds by luck.)
    NaN where all of y is, and for all resamples if the statistic is undefined on the whole.
    """
    a, b = _pairs(x, y)
    n = len(a)
    if n < 2 or a.min() == a.max() or b.min() == b.max():
        return {name: np.full(resamples, np.nan) for name in ("kendall", "spearman")}
    a, b = rankdata(a), rankdata(b)
    agreement, by_x, by_y = _Agreement(a, b), _Order(a), _Order(b)
    taus, rhos = [], []
    for weights in _draws(n, resamples, seed):
        ranks_x, ties_x = by_x.ranks(weights)
        ranks_y, ties_y = by_y.ranks(weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            taus.append(agreement.of(weights) / np.sqrt((n * n - ties_x) * (n * n - ties_y)))
            covariance = np.einsum("rn,rn,rn->r", weights, ranks_x, ranks_y)
            spread_x = np.einsum("rn,rn,rn->r", weights, ranks_x, ranks_x)
            spread_y = np.einsum("rn,rn,rn->r", weights, ranks_y, ranks_y)
            rhos.append(covariance / np.sqrt(spread_x * spread_y))
        silent = (ties_x == n * n) & (ties_y < n * n)
        taus[-1][silent] = rhos[-1][silent] = 0.0
    return {"kendall": np.concatenate(taus), "spearman": np.concatenate(rhos)}


def concordance_surplus(x: ArrayLike, y: ArrayLike) -> Array:
    """For each i, the number of pairs (i, j) that x and y order alike minus those they order apart.

    Pairs tied in x or y count for neither. The sum is twice Kendall's S. O(n log² n).
    """
    a, b = _pairs(x, y)
    return (_below(a, b) + _below(-a, -b) - _below(a, -b) - _below(-a, b)).astype(np.float64)


def _below(x: Array, y: Array) -> NDArray[np.int64]:
    """For each i, the number of j with x_j < x_i and y_j < y_i."""
    n = len(x)
    # among equal x, descending y: then none that comes earlier is smaller in both
    order = np.lexsort((-y, x))
    heights = rankdata(y[order], method="dense").astype(np.int64)
    counts = np.zeros(n, dtype=np.int64)
    places = np.arange(n)
    half = 1
    while half < n:  # a merge sort from below: each right half counts what its left half has below
        left = places // half % 2 == 0
        blocks = places // (2 * half)
        # at equal height the right half comes first, so that only strictly smaller ones precede it
        merged = np.lexsort((left, heights, blocks))
        seen = np.cumsum(left[merged])
        before = blocks[merged] * half  # all earlier blocks have full left halves
        right = ~left[merged]
        counts[merged[right]] += (seen - before)[right]
        half *= 2
    result = np.empty(n, dtype=np.int64)
    result[order] = counts
    return result


def _draws(n: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each of n architectures is drawn, a row for each resample, in blocks of rows."""
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK // n)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        draws = rng.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(draws.ravel(), minlength=rows * n).reshape(rows, n)


class _Agreement:
    """Twice Kendall's S of weighted copies: wᵀAw, linearised for n > `EXACT`."""

    def __init__(self, x: Array, y: Array) -> None:
        self.exact = len(x) <= EXACT
        if self.exact:
            concordance = np.sign(x[:, None] - x) * np.sign(y[:, None] - y)
            self.matrix = concordance.astype(np.float32)  # sums of n² ≤ 2^24 ones stay exact
        else:
            self.surplus = concordance_surplus(x, y)

    def of(self, weights: NDArray[np.int64]) -> Array:
        """Per resample, a row of `weights`."""
        if self.exact:
            drawn = weights.astype(np.float32) @ self.matrix
            return np.einsum("rn,rn->r", drawn, weights.astype(np.float64))
        return 2 * (weights @ self.surplus) - self.surplus.sum() * (1 + 1 / weights.shape[1])


class _Order:
    """The order of one variable, for the ranks of weighted copies without sorting again."""

    def __init__(self, values: Array) -> None:
        self.sorted = np.argsort(values, kind="stable")
        _, self.starts, groups = np.unique(
            values[self.sorted], return_index=True, return_inverse=True
        )
        self.group = np.empty(len(values), dtype=np.int64)
        self.group[self.sorted] = groups

    def ranks(self, weights: NDArray[np.int64]) -> tuple[Array, Array]:
        """Per resample: each value's centred mid-rank, and the number of ordered tied pairs."""
        sizes = np.add.reduceat(weights[:, self.sorted], self.starts, axis=1)
        middle = np.cumsum(sizes, axis=1) - (sizes + weights.shape[1]) / 2
        return middle[:, self.group], np.einsum("rg,rg->r", sizes, sizes).astype(np.float64)


def percentiles(values: Array) -> Interval:
    """The 2.5 and 97.5 % quantiles of what is not NaN; (NaN, NaN) if nothing is."""
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _pairs(*columns: ArrayLike) -> list[Array]:
    """The columns as float64, without rows that hold a NaN."""
    arrays = [np.asarray(column, dtype=np.float64) for column in columns]
    known = ~np.any([np.isnan(array) for array in arrays], axis=0)
    return [array[known] for array in arrays]


def _expected(by_position: Array, x: Array) -> Array:
    """What each element expects of its place in the descending order of x, ties being random."""
    _, group, sizes = np.unique(-x, return_inverse=True, return_counts=True)
    ends = np.cumsum(sizes)
    totals = np.concatenate([[0.0], np.cumsum(by_position)])
    return ((totals[ends] - totals[ends - sizes]) / sizes)[group]


def _centred(values: Array) -> Array:
    return values - values.mean()


def _pearson(x: Array, y: Array) -> float:
    if len(x) < 2:
        return float("nan")
    x, y = _centred(x), _centred(y)
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(np.clip(x @ y / scale, -1, 1)) if scale > 0 else float("nan")
