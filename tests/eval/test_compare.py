import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t

from zeroshot.errors import ZeroshotError
from zeroshot.eval.compare import (
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
from zeroshot.eval.correlate import kendall, percentiles, rank_resamples, spearman
from zeroshot.ranking import Ensemble, rank_sum, ratings

NAN, INF = math.nan, math.inf
BOTH = Ensemble("both", ("good", "cost"), rank_sum, "here")


def table(n=40, seeds=3, seed=0):
    rng = np.random.default_rng(seed)
    truth = pd.Series(rng.normal(size=n), index=[f"net{i}" for i in range(n)])
    parts = []
    for number in range(seeds):
        part = pd.DataFrame({"arch": truth.index, "seed": number})
        part["good"] = truth.to_numpy() + 0.3 * rng.normal(size=n)
        part["cost"] = -truth.to_numpy() + rng.normal(size=n)
        part["steps"] = np.round(truth.to_numpy())
        part["flat"] = 1.0
        parts.append(part.sample(frac=1, random_state=number))
    return pd.concat(parts), truth


class TestRatings:
    def test_their_mean_is_the_rating_over_all_seeds(self):
        scores, _ = table()
        scores.loc[scores.index[3], "good"] = NAN
        entries = ("good", "cost", "flat", BOTH)
        found = mean_ratings(ratings_by_seed(scores, entries, {"cost": "lower"}))
        for entry in entries:
            expected = ratings(scores, entry, {"cost": "lower"})
            pd.testing.assert_series_equal(found[str(entry)], expected, check_exact=True)

    def test_one_seed(self):
        scores, _ = table(seeds=1)
        found = mean_ratings(ratings_by_seed(scores, ("good",)))
        pd.testing.assert_series_equal(found["good"], ratings(scores, "good"))

    def test_bad_tables(self):
        scores, _ = table()
        with pytest.raises(ZeroshotError, match="no column 'seed'"):
            ratings_by_seed(scores.drop(columns="seed"), ("good",))
        with pytest.raises(ZeroshotError, match="no rows"):
            ratings_by_seed(scores.head(0), ("good",))


class TestTogether:
    def test_the_rate_of_false_claims(self):
        """Of 30 true nulls, as correlated as proxies are, one is missed in one of 20 families."""
        rng = np.random.default_rng(0)
        families, alone = 0, 0
        for _ in range(100):
            data = rng.normal(size=(60, 31))
            data = data[:, 1:] - data[:, :1]  # all against one
            drawn = rng.multinomial(60, np.full(60, 1 / 60), size=200) @ data / 60
            every = {str(i): values for i, values in enumerate(drawn.T)}
            ends = together(
                pd.Series(data.mean(axis=0), index=list(every)),
                every,
                pd.Series(len(data), index=list(every)),
            )
            families += ((ends["lo"] > 0) | (ends["hi"] < 0)).any()
            low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
            alone += ((low > 0) | (high < 0)).any()
        assert 2 <= families <= 9
        assert alone > 30

    def test_of_few_architectures(self):
        """Of tables of noise about 5 % have an interval without zero; it were 20 % as normal."""
        missed = as_normal = 0
        for seed in range(40):
            rng = np.random.default_rng(seed)
            accuracy, data = rng.normal(size=15), rng.normal(size=(20, 15))
            names = [str(i) for i in range(len(data))]
            taus = {
                name: rank_resamples(x, accuracy, resamples=300, seed=0)["kendall"]
                for name, x in zip(names, data, strict=True)
            }
            values = pd.Series([kendall(x, accuracy) for x in data], index=names)
            for count in (15, 100_000):
                ends = together(values, taus, pd.Series(count, index=names))
                wrong = bool(((ends["lo"] > 0) | (ends["hi"] < 0)).any())
                missed += wrong and count == 15
                as_normal += wrong and count > 15
        assert missed <= 5
        assert as_normal > 5

    def test_one_is_as_alone(self):
        values = np.random.default_rng(0).normal(size=20_000)
        ends = together(pd.Series({"a": 0.0}), {"a": values}, pd.Series({"a": 10_000}))
        assert ends.loc["a"].to_list() == pytest.approx([-1.96, 1.96], abs=0.05)

    @pytest.mark.parametrize("count", [2, 6])
    def test_one_by_hand(self, count):
        """Student's quantile as far out as a normal one, two degrees of freedom less."""
        drawn = np.random.default_rng(0).normal(0.2, 0.1, size=500)
        ends = together(pd.Series({"a": 0.25}), {"a": drawn}, pd.Series({"a": count}))
        out = np.quantile(np.abs(drawn - drawn.mean()) / drawn.std(), 0.95)
        width = t.isf(norm.sf(out), max(count - 2, 1)) * drawn.std()
        assert ends.loc["a"].to_list() == pytest.approx([0.25 - width, 0.25 + width])

    def test_no_narrower_than_alone(self):
        drawn = np.linspace(0, 1, 101)
        ends = together(pd.Series({"a": 3.0}), {"a": drawn}, pd.Series({"a": 10_000}))
        assert ends.loc["a", "lo"] == pytest.approx(0.025)
        ends = together(pd.Series({"a": -3.0}), {"a": drawn}, pd.Series({"a": 10_000}))
        assert ends.loc["a", "hi"] == pytest.approx(0.975)

    def test_the_undefined_and_the_certain(self):
        values = pd.Series({"sure": 1.0, "mute": NAN, "some": 0.5})
        drawn = {
            "sure": np.ones(4),
            "mute": np.full(4, NAN),
            "some": np.array([NAN, 0.4, 0.6, NAN]),
        }
        ends = together(values, drawn, pd.Series(10, index=values.index))
        assert ends.loc["sure"].to_list() == [1, 1]
        assert ends.loc["mute"].isna().all()
        assert ends.loc["some", "lo"] <= 0.405 < 0.595 <= ends.loc["some", "hi"]
        assert together(values, {}, pd.Series()).isna().all(axis=None)

    def test_a_resample_counts_by_what_is_defined_on_it(self):
        """The other, which never moves, is undefined just where this one is far out."""
        drawn = np.random.default_rng(0).normal(size=500)
        other = np.where(np.abs(drawn) > 1, NAN, 0.0)
        values, counts = pd.Series({"a": 0.0, "b": 0.0}), pd.Series({"a": 50, "b": 50})
        both = together(values, {"a": drawn, "b": other}, counts)
        alone = together(values, {"a": drawn}, counts)
        assert both.loc["a"].to_list() == alone.loc["a"].to_list()


class TestCandidates:
    ROWS = pd.DataFrame(
        [(0.9, 9, 1.0), (0.8, 10, 0.5), (0.7, 10, 0.9), (0.6, 9, 0.5), (NAN, 10, 1.0)],
        columns=["kendall", "n", "coverage"],
    )

    @pytest.mark.parametrize(
        ("there", "kept"),
        [
            ([0, 1, 2, 3, 4], [2]),
            ([0, 1, 3, 4], [1]),  # of many goes before of nearly all
            ([0, 3, 4], [0]),
            ([3, 4], [3]),
            ([4], []),
        ],
    )
    def test_those_of_many_and_of_nearly_all(self, there, kept):
        assert candidates(self.ROWS.loc[there]).index.to_list() == kept


class TestDifferences:
    def plain(self, x, other, y, resamples, seed):
        """The paired bootstrap as books have it: draw, take τ of both, subtract."""
        rng = np.random.default_rng(seed)
        apart = []
        for _ in range(resamples):
            draw = rng.integers(len(y), size=len(y))
            taus = (
                0.0
                if len(set(each[draw])) == 1 < len(set(y[draw]))
                else kendall(each[draw], y[draw])
                for each in (x, other)
            )
            apart.append(next(taus) - next(taus))
        apart = np.array(apart)[~np.isnan(apart)]
        equal = np.isclose(apart, 0, atol=1e-12)
        wins = ((apart > 0) & ~equal).mean() + equal.mean() / 2
        return (*np.percentile(apart, [2.5, 97.5]), wins)

    @pytest.mark.parametrize(("name", "other"), [("good", "cost"), ("cost", "steps")])
    @pytest.mark.parametrize("n", [4, 30])
    def test_fast_equals_plain(self, n, name, other):
        scores, truth = table(n, seeds=1, seed=5)
        rated = mean_ratings(ratings_by_seed(scores, ("good", "cost", "steps")))
        accuracy = truth.loc[rated.index]
        found = Resamples(rated, accuracy, 80, 3).difference(name, other)
        x, rival, y = rated[name].to_numpy(), rated[other].to_numpy(), accuracy.to_numpy()
        assert found[0] == pytest.approx(kendall(x, y) - kendall(rival, y))
        assert found[1:] == pytest.approx(self.plain(x, rival, y, 80, 3), abs=1e-12)

    def test_only_what_both_rate_counts(self):
        scores, truth = table(30, seeds=1)
        rated = mean_ratings(ratings_by_seed(scores, ("good", "cost")))
        rated.iloc[:5, 0] = NAN
        rated.iloc[3:9, 1] = NAN
        accuracy = truth.loc[rated.index]
        found = Resamples(rated, accuracy, 50, 1).difference("good", "cost")
        both = rated.iloc[9:]
        expected = Resamples(both, accuracy.iloc[9:], 50, 1).difference("good", "cost")
        assert found == expected

    def test_is_antisymmetric_and_nothing_against_itself(self):
        scores, truth = table(25, seeds=1)
        rated = mean_ratings(ratings_by_seed(scores, ("good", "cost")))
        drawn = Resamples(rated, truth.loc[rated.index], 60)
        there, back = drawn.difference("good", "cost"), drawn.difference("cost", "good")
        assert there[0] == -back[0]
        assert there[1:3] == pytest.approx((-back[2], -back[1]))
        assert there[3] == pytest.approx(1 - back[3])
        assert drawn.difference("good", "good") == (0, 0, 0, 0.5)

    def test_pairing_narrows_the_interval(self):
        rng = np.random.default_rng(0)
        truth = pd.Series(rng.normal(size=200))
        shared = truth + rng.normal(size=200)
        rated = pd.DataFrame({"a": shared, "b": shared + 0.1 * rng.normal(size=200)})
        drawn = Resamples(rated, truth)
        _, low, high, _ = drawn.difference("a", "b")
        alone = percentiles(rank_resamples(rated["a"], truth)["kendall"])
        assert high - low < 0.5 * (alone[1] - alone[0])

    def test_of_what_has_no_order(self):
        scores, truth = table(20, seeds=1)
        rated = mean_ratings(ratings_by_seed(scores, ("good", "flat")))
        found = Resamples(rated, truth.loc[rated.index], 20).difference("good", "flat")
        assert all(map(math.isnan, found))
        rated["nothing"] = NAN
        found = Resamples(rated, truth.loc[rated.index], 20).difference("nothing", "good")
        assert all(map(math.isnan, found))

    def test_intervals_are_those_of_each_alone(self):
        scores, truth = table(30, seeds=1)
        rated = mean_ratings(ratings_by_seed(scores, ("good",)))
        drawn = Resamples(rated, truth.loc[rated.index], 100, 7).of("good")
        low, high = np.percentile(drawn["kendall"], [2.5, 97.5])
        alone = rank_resamples(rated["good"], truth.loc[rated.index], resamples=100, seed=7)
        assert percentiles(alone["kendall"]) == (low, high)


class TestClusters:
    def test_by_hand(self):
        names = ["a", "b", "c", "d"]
        matrix = pd.DataFrame(np.eye(4), index=names, columns=names)
        matrix.loc["a", "c"] = matrix.loc["c", "a"] = -0.95  # alike, the other way round
        matrix.loc["b", "d"] = matrix.loc["d", "b"] = 0.85
        assert clusters(matrix).to_dict() == {"a": 1, "b": 2, "c": 1, "d": 3}
        assert clusters(matrix, alike=0.8).to_dict() == {"a": 1, "b": 2, "c": 1, "d": 2}

    def test_links_are_averages(self):
        names = ["a", "b", "c"]
        matrix = pd.DataFrame(np.ones((3, 3)), index=names, columns=names)
        matrix.loc["b", "c"] = matrix.loc["c", "b"] = 0.92
        matrix.loc["a", "c"] = matrix.loc["c", "a"] = 0.86  # with b, 0.89 on average
        assert clusters(matrix).tolist() == [1, 1, 2]
        matrix.loc["a", "c"] = matrix.loc["c", "a"] = 0.88  # on the line belongs to it
        assert clusters(matrix).tolist() == [1, 1, 1]

    def test_constants_are_alone(self):
        rated = pd.DataFrame({"x": [1.0, 2, 3, 4], "flat": 1.0, "flat too": 1.0, "y": [1, 2, 3, 5]})
        assert clusters(correlations(rated)).tolist() == [1, 2, 3, 1]

    def test_one_and_none(self):
        assert clusters(correlations(pd.DataFrame({"x": [1.0, 2]}))).to_dict() == {"x": 1}
        assert clusters(correlations(pd.DataFrame(index=[0, 1]))).empty

    def test_correlations(self):
        rng = np.random.default_rng(1)
        rated = pd.DataFrame(rng.normal(size=(20, 3)), columns=["a", "b", "c"])
        rated.iloc[2, 0] = NAN
        found = correlations(rated)
        for one in rated:
            for other in rated:
                assert found.loc[one, other] == spearman(rated[one], rated[other])


class TestSeeds:
    def test_agreement_is_the_mean_over_pairs(self):
        scores, _ = table()
        by_seed = ratings_by_seed(scores, ("good", "steps", "flat"))
        found = seed_agreement(by_seed)
        one, two, three = (
            scores[scores["seed"] == seed].set_index("arch")["good"] for seed in range(3)
        )
        pairs = [spearman(a, b.loc[a.index]) for a, b in ((one, two), (one, three), (two, three))]
        assert found["good"] == pytest.approx(np.mean(pairs))
        assert found["steps"] == pytest.approx(1)
        assert math.isnan(found["flat"])

    def test_spread_is_over_single_seeds(self):
        scores, truth = table()
        by_seed = ratings_by_seed(scores, ("good", "cost"), {"cost": "lower"})
        found = seed_spread(by_seed, truth)
        taus = [
            -kendall(part.set_index("arch")["cost"].loc[truth.index], truth)
            for _, part in scores.groupby("seed")
        ]
        assert found.loc["cost"].tolist() == pytest.approx([min(taus), max(taus)])

    def test_one_seed_tells_nothing(self):
        scores, truth = table(seeds=1)
        by_seed = ratings_by_seed(scores, ("good",))
        assert seed_agreement(by_seed).isna().all()
        assert seed_spread(by_seed, truth).isna().all(axis=None)

    def test_a_seed_that_is_constant_agrees_with_none(self):
        rng = np.random.default_rng(0)
        by_seed = [pd.DataFrame({"x": x, "flat": 1.0}) for x in rng.normal(size=(3, 200))]
        by_seed[2]["x"] = 7.0
        found = seed_agreement(by_seed)
        pair = spearman(by_seed[0]["x"], by_seed[1]["x"])
        assert found["x"] == pytest.approx(pair / 3)
        assert math.isnan(found["flat"])
        by_seed[2]["x"] = NAN  # this seed has no such column
        assert seed_agreement(by_seed)["x"] == pytest.approx(pair)
        assert seeds(by_seed).to_dict() == {"x": 2, "flat": 3}
        by_seed[1].loc[:5, "x"] = NAN  # of most architectures it has
        assert seeds(by_seed)["x"] == 2


RECORD = {
    "passes": {"good": ["Forward()", "Codes()"], "cost": ["Forward()"], "late": ["Never()"]},
    "seconds per pass": {"Forward()": 8.0, "Codes()": 2.0},
    "networks scored": 4,
}


class TestCost:
    def test_passes_are_shared_by_members_and_not_by_proxies(self):
        found = seconds(RECORD, ("good", "cost", BOTH, "late", "params", "foreign"))
        assert found.iloc[:5].to_dict() == {
            "good": 2.5,
            "cost": 2.0,
            "both": 2.5,
            "late": 0.0,
            "params": 0.0,
        }
        assert math.isnan(found["foreign"])

    def test_a_baseline_costs_what_its_record_tells(self):
        told = RECORD | {"passes": {"params": ["Forward()"]}}
        assert seconds(told, ("params", "flops")).to_dict() == {"params": 2.0, "flops": 0.0}

    def test_no_record_tells_nothing(self):
        assert seconds({}, ("good", "params")).isna().all()

    @pytest.mark.parametrize(
        "damage",
        [
            {"passes": ["good"]},
            {"passes": {"good": 3}},
            {"seconds per pass": {"Forward()": "long"}},
            {"seconds per pass": {"Forward()": INF}},
            {"networks scored": INF},
            {"networks scored": None},
        ],
    )
    def test_a_damaged_record(self, damage):
        with pytest.raises(ZeroshotError, match="run record does not tell passes and seconds"):
            seconds(RECORD | damage, ("good",))

    def test_front_against_the_definition(self):
        rng = np.random.default_rng(0)
        cost = pd.Series(rng.integers(0, 6, size=30).astype(float))
        quality = pd.Series(rng.integers(0, 6, size=30).astype(float))
        cost[3] = quality[5] = NAN
        found = pareto(cost, quality)
        for i in cost.index:
            beaten = any(
                cost[j] <= cost[i]
                and quality[j] >= quality[i]
                and (cost[j] < cost[i] or quality[j] > quality[i])
                for j in cost.index
            )
            known = not math.isnan(cost[i]) and not math.isnan(quality[i])
            assert found[i] == (known and not beaten)
        assert found.any()
        assert not found[[3, 5]].any()
