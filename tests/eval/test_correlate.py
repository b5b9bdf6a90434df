import itertools
import math

import numpy as np
import pytest
import scipy.stats

from zeroshot.eval import correlate
from zeroshot.eval.correlate import (
    STATISTICS,
    concordance_surplus,
    kendall,
    ndcg,
    partial_spearman,
    percentiles,
    picked,
    precision_at,
    rank_resamples,
    spearman,
    tied_pairs,
)

NAN, INF = math.nan, math.inf


def sample(n, seed, levels=None):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = x + rng.normal(size=n)
    return (np.round(x * levels), np.round(y * levels)) if levels else (x, y)


def pairwise_tau(x, y):
    pairs = list(itertools.combinations(range(len(x)), 2))
    products = [np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i, j in pairs]
    untied_x = sum(x[i] != x[j] for i, j in pairs)
    untied_y = sum(y[i] != y[j] for i, j in pairs)
    return sum(products) / math.sqrt(untied_x * untied_y)


def of_draw(statistic, x, y):
    """What a resample tells: nothing, if it orders nothing."""
    return 0.0 if len(set(x)) == 1 < len(set(y)) else statistic(x, y)


def bootstrap_interval(statistic, x, y, *, resamples, seed):
    """As books have it."""
    rng = np.random.default_rng(seed)
    draws = (rng.integers(len(x), size=len(x)) for _ in range(resamples))
    return percentiles(np.array([of_draw(statistic, x[draw], y[draw]) for draw in draws]))


def rank_intervals(x, y, **how):
    return {name: percentiles(found) for name, found in rank_resamples(x, y, **how).items()}


class TestRankCorrelations:
    @pytest.mark.parametrize("levels", [None, 1, 3])
    def test_against_pairs_and_scipy(self, levels):
        x, y = sample(60, 1, levels)
        assert kendall(x, y) == pytest.approx(pairwise_tau(x, y), abs=1e-12)
        assert spearman(x, y) == pytest.approx(scipy.stats.spearmanr(x, y)[0], abs=1e-12)

    @pytest.mark.parametrize("statistic", [kendall, spearman])
    def test_signed(self, statistic):
        assert statistic([1, 2, 3], [1, 2, 3]) == pytest.approx(1)
        assert statistic([3, 2, 1], [1, 2, 3]) == pytest.approx(-1)

    @pytest.mark.parametrize("statistic", [kendall, spearman])
    def test_infinities_are_extremes(self, statistic):
        assert statistic([-INF, 0, 1, INF], [1, 2, 4, 3]) == statistic([1, 2, 3, 4], [1, 2, 4, 3])

    @pytest.mark.parametrize("statistic", [kendall, spearman])
    def test_pairs_with_nan_are_left_out(self, statistic):
        x, y = [1, NAN, 3, 2, 5], [1, 2, 3, NAN, 2]
        assert statistic(x, y) == statistic([1, 3, 5], [1, 3, 2])

    @pytest.mark.parametrize("statistic", [kendall, spearman])
    @pytest.mark.parametrize(("x", "y"), [([2, 2, 2], [1, 2, 3]), ([1], [1]), ([], [])])
    def test_undefined(self, statistic, x, y):
        assert math.isnan(statistic(x, y))
        assert math.isnan(statistic(y, x))


class TestPartialSpearman:
    def test_one_control_has_a_closed_form(self):
        x, y = sample(50, 2)
        z = x + np.random.default_rng(3).normal(size=50)
        xy, xz, yz = (spearman(*pair) for pair in ((x, y), (x, z), (y, z)))
        expected = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))
        assert partial_spearman(x, y, z) == pytest.approx(expected, abs=1e-12)

    def test_a_common_cause_is_removed(self):
        rng = np.random.default_rng(4)
        size = rng.normal(size=4000)
        x, y = size + 0.5 * rng.normal(size=(2, 4000))
        assert spearman(x, y) > 0.7
        assert abs(partial_spearman(x, y, size)) < 0.1

    def test_monotone_transforms_of_controls_change_nothing(self):
        x, y = sample(30, 5)
        z = np.random.default_rng(6).uniform(1, 9, size=(30, 2))
        assert partial_spearman(x, y, z) == pytest.approx(partial_spearman(x, y, np.log(z)))

    def test_collinear_and_constant_controls(self):
        x, y = sample(30, 7)
        z = np.random.default_rng(8).normal(size=30)
        once = partial_spearman(x, y, z)
        assert partial_spearman(x, y, np.stack([z, 2 * z], 1)) == pytest.approx(once)
        assert partial_spearman(x, y, np.ones(30)) == pytest.approx(spearman(x, y))

    def test_undefined(self):
        x, y = sample(30, 9)
        assert math.isnan(partial_spearman(x, y, np.exp(x)))  # x is a function of the control
        assert math.isnan(partial_spearman(np.ones(30), y, x))
        assert math.isnan(partial_spearman([1, 2, 3], [2, 1, 3], [3, 1, 2]))  # it were ±1
        assert not math.isnan(partial_spearman([1, 2, 3, 4], [2, 1, 3, 4], [3, 1, 2, 4]))


class TestTop:
    def test_precision_by_hand(self):
        x, y = np.arange(20.0), np.arange(20.0)
        assert precision_at(x, y) == 1
        assert precision_at(-x, y) == 0
        y[[18, 0]] = y[[0, 18]]  # the second best by x is the worst
        assert precision_at(x, y) == 0.5

    def test_precision_of_at_least_one(self):
        assert precision_at([1, 2, 3], [1, 2, 3]) == 1

    def test_precision_with_ties_is_the_mean_over_their_orders(self):
        x, y = np.array([3, 3, 3, 1, 0.0]), np.array([9, 7, 5, 8, 1.0])
        top = {0, 3}  # by y, of k = 2
        expected = np.mean([len(top & {i, j}) / 2 for i, j in itertools.combinations(range(3), 2)])
        assert precision_at(x, y, fraction=0.4) == pytest.approx(expected)
        assert precision_at(np.ones(50), np.arange(50)) == pytest.approx(0.1)

    def test_ndcg_by_hand(self):
        x, y = [1, 3, 2], [93.0, 92.0, 90.0]
        gains = [7, 3, 0]  # 2^(y − worst) − 1; positions 3, 1, 2
        found = gains[1] / math.log2(2) + gains[2] / math.log2(3) + gains[0] / math.log2(4)
        best = gains[0] / math.log2(2) + gains[1] / math.log2(3)
        assert ndcg(x, y) == pytest.approx(found / best)
        assert ndcg(x, y, top=1) == pytest.approx(3 / 7)

    def test_ndcg_of_fractions(self):
        x, y = sample(40, 10)
        accuracy = 90 + y - y.min()
        assert ndcg(x, accuracy / 100) == pytest.approx(ndcg(x, accuracy))
        assert ndcg([2, 1, 3], [1.0, 0.9, 0.98]) == pytest.approx(ndcg([2, 1, 3], [100, 90, 98]))

    @pytest.mark.parametrize("unit", [1, 100])
    def test_ndcg_of_errors_is_that_of_accuracies(self, unit):
        x, y = sample(40, 10)
        accuracy = 90 + y - y.min()
        assert ndcg(x, (accuracy - 100) / unit) == pytest.approx(ndcg(x, accuracy))

    def test_ndcg_of_what_is_no_accuracy(self):
        """In no unit."""
        x, latency = [1, 2, 3, 4], np.array([300.0, 20, 70, 10])
        assert math.isnan(ndcg(x, -latency))
        assert math.isnan(ndcg(x, 10 * latency))
        assert math.isnan(ndcg(x, [-1.0, 0, 0.5, 1]))

    def test_ndcg_with_ties_is_the_mean_over_their_orders(self):
        y = np.array([3.0, 1, 2, 5])
        orders = [np.array(order) for order in itertools.permutations([4, 3, 2])]
        expected = np.mean([ndcg([*order, 1], y, top=2) for order in orders])
        assert ndcg([2, 2, 2, 1], y, top=2) == pytest.approx(expected)

    def test_ndcg_tells_chance_from_skill(self):
        rng = np.random.default_rng(11)
        accuracy = 94 - rng.exponential(3, size=2000)
        assert ndcg(accuracy, accuracy, top=100) == pytest.approx(1)
        assert ndcg(rng.normal(size=2000), accuracy, top=100) < 0.5
        assert math.isnan(ndcg([1, 2], [3, 3]))

    def test_picked(self):
        assert picked([1, INF, 3], [50, 60, 70]) == 60
        assert picked([1, 4, 4], [50, 60, 70]) == 65
        assert picked([1, NAN, 3], [50, 60, NAN]) == 50
        assert math.isnan(picked([], []))

    def test_tied_pairs(self):
        assert tied_pairs([1, 1, 2, NAN]) == pytest.approx(1 / 3)
        assert tied_pairs([1, 1, 1]) == 1
        assert tied_pairs([1, 2, 3]) == 0
        assert math.isnan(tied_pairs([1]))


class TestIntervals:
    @pytest.mark.parametrize(("n", "levels"), [(1, None), (7, None), (33, 1), (100, None), (64, 2)])
    def test_surplus_against_pairs(self, n, levels):
        x, y = sample(n, n, levels)
        expected = (np.sign(x[:, None] - x) * np.sign(y[:, None] - y)).sum(axis=1)
        assert concordance_surplus(x, y).tolist() == expected.tolist()

    @pytest.mark.parametrize(("n", "levels"), [(4, None), (25, 1), (80, None), (80, 2)])
    def test_fast_equals_plain(self, n, levels):
        x, y = sample(n, n, levels)
        fast = rank_intervals(x, y, resamples=60, seed=5)
        for name, interval in fast.items():
            plain = bootstrap_interval(STATISTICS[name], x, y, resamples=60, seed=5)
            assert interval == pytest.approx(plain, abs=1e-12)

    @pytest.mark.parametrize("name", ["kendall", "spearman"])
    def test_each_resample_is_the_statistic_of_its_draw(self, name):
        x, y = sample(5, 2, levels=1)  # few and tied: some resamples are constant
        rng = np.random.default_rng(9)
        draws = [rng.integers(5, size=5) for _ in range(40)]
        expected = [of_draw(STATISTICS[name], x[draw], y[draw]) for draw in draws]
        found = rank_resamples(x, y, resamples=40, seed=9)[name]
        assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)
        assert any(len(set(x[draw])) == 1 < len(set(y[draw])) for draw in draws)
        assert (found != 0).any()

    def test_linearised_is_close_to_exact(self, monkeypatch):
        x, y = sample(1200, 1)
        exact = rank_intervals(x, y, resamples=400)
        monkeypatch.setattr(correlate, "EXACT", 100)
        close = rank_intervals(x, y, resamples=400)
        low, high = exact["kendall"]
        assert close["kendall"] == pytest.approx(exact["kendall"], abs=0.06 * (high - low))
        assert close["spearman"] == exact["spearman"]

    def test_linearised_has_the_mean_of_exact(self, monkeypatch):
        x, y = sample(20, 1)
        (weights,) = correlate._draws(20, 20_000, 0)
        means = []
        for limit in (10**6, 0):
            monkeypatch.setattr(correlate, "EXACT", limit)
            means.append(correlate._Agreement(x, y).of(weights).mean())
        assert means[1] == pytest.approx(means[0], rel=0.01)

    def test_width_follows_the_standard_error(self):
        x, y = np.random.default_rng(2).normal(size=(2, 900))
        low, high = rank_intervals(x, y)["kendall"]
        expected = 2 * 1.96 * math.sqrt(4 / (9 * 900))  # of τ for independent x and y
        assert high - low == pytest.approx(expected, rel=0.1)

    def test_seed_decides(self):
        x, y = sample(50, 3)
        assert rank_intervals(x, y, seed=1) == rank_intervals(x, y, seed=1)
        assert rank_intervals(x, y, seed=1) != rank_intervals(x, y, seed=2)

    def test_blocks_change_nothing(self, monkeypatch):
        x, y = sample(31, 4)
        whole = rank_intervals(x, y, resamples=50)
        monkeypatch.setattr(correlate, "BLOCK", 100)
        blocks = rank_intervals(x, y, resamples=50)
        for name, interval in whole.items():
            assert blocks[name] == pytest.approx(interval, abs=1e-12)

    def test_undefined(self):
        for x in ([1.0, 1, 1, 1], [1.0], []):
            y = [float(i) for i in range(len(x))]
            for interval in rank_intervals(x, y).values():
                assert all(map(math.isnan, interval))

    def test_one_architecture_apart_is_not_better_than_chance(self):
        """It is drawn in two resamples of three, and in all of these it is the best."""
        y = np.arange(12.0)
        x = (y == 11).astype(float)
        low, high = rank_intervals(x, y)["kendall"]
        assert low == 0 < kendall(x, y) < high
