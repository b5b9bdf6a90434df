import math

import numpy as np
import pandas as pd
import pytest

from zeroshot.errors import ZeroshotError
from zeroshot.eval.correlate import kendall, spearman
from zeroshot.eval.validate import rank_correlations, validate
from zeroshot.eval.verdict import verdict
from zeroshot.ranking import Ensemble, rank, rank_sum

NAN, INF = math.nan, math.inf
BOTH = Ensemble("both", ("good", "cost"), rank_sum, "here")


@pytest.fixture
def truth():
    accuracy = 60 + 30 * np.random.default_rng(0).beta(5, 2, size=40)
    return pd.Series(accuracy, index=[f"net{i}" for i in range(40)])


@pytest.fixture
def scores(truth):
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"arch": truth.index, "seed": 0})
    table["good"] = truth.to_numpy() + rng.normal(size=40)
    table["cost"] = -truth.to_numpy() + 5 * rng.normal(size=40)
    table["params"] = rng.uniform(1, 2, size=40)
    table["flat"] = 1.0
    return table.sample(frac=1, random_state=0)


def row(table, name):
    return table.set_index("name").loc[name]


def test_columns_and_rows(scores, truth):
    table = validate(scores, truth, better={"cost": "lower"}, ensembles=(BOTH,), resamples=100)
    assert list(table["name"]) == ["good", "cost", "params", "flat", "both"]
    assert list(table["kind"]) == ["proxy", "proxy", "baseline", "proxy", "ensemble"]
    correlations = [
        f"{name}{end}" for name in ("kendall", "spearman") for end in ("", "_lo", "_hi")
    ]
    every = [
        f"{name}_all_{end}"
        for name in ("kendall", "best_delta", "baseline_delta")
        for end in ("lo", "hi")
    ]
    assert list(table.columns) == [
        *("name", "kind", "n", "coverage", "measured", "unmatched"),
        *("infinite", "constant", "ties"),
        *correlations,
        *("precision_top10", "ndcg", "picked", "partial_spearman", "best", "interval"),
        *every[:2],
        *("best_delta", "best_delta_lo", "best_delta_hi", "beats_best"),
        *every[2:4],
        *("baseline_delta", "baseline_delta_lo", "baseline_delta_hi", "beats_baseline"),
        *every[4:],
        *("spearman_params", "spearman_flops", "cluster", "seeds", "seed_agreement"),
        *("kendall_seed_lo", "kendall_seed_hi", "seconds", "pareto"),
    ]
    assert (table["best"] == truth.max()).all()


def test_intervals_of_all_at_once_are_no_narrower(scores, truth):
    table = validate(scores, truth, ensembles=(BOTH,), resamples=100).set_index("name")
    for name in ("kendall", "best_delta", "baseline_delta"):
        known = table[table[f"{name}_all_lo"].notna()]
        assert (known[f"{name}_all_lo"] <= known[f"{name}_lo"]).all()
        assert (known[f"{name}_all_hi"] >= known[f"{name}_hi"]).all()
    assert table["kendall_all_lo"].isna().to_dict() == {
        **dict.fromkeys(("good", "cost", "params", "both"), False),
        "flat": True,
    }
    assert table.loc["params", ["best_delta_all_lo", "baseline_delta_all_hi"]].isna().all()
    few = validate(scores, truth.head(9), resamples=100)
    assert few["kendall_all_lo"].isna().all()
    enough = validate(scores, truth.head(10), resamples=100).set_index("name")
    assert enough["kendall_all_lo"].drop("flat").notna().all()
    assert enough["kendall_all_hi"].max() == 1  # as wide as it is, no τ lies beyond
    assert enough["best_delta_all_lo"].min() == -2


def test_which_intervals_are_linearised(scores, truth, monkeypatch):
    scores.loc[0, "good"] = NAN
    monkeypatch.setattr("zeroshot.eval.validate.EXACT", 39)
    told = validate(scores, truth, resamples=100).set_index("name")["interval"]
    assert told["good"] == "bootstrap"  # of 39
    assert told["cost"] == "linearised bootstrap"


def test_what_rates_few_architectures_is_not_the_best(scores, truth):
    some = truth.index[::10]
    scores["few"] = scores["arch"].where(scores["arch"].isin(some)).map(truth)
    scores["part"] = scores["arch"].where(scores["arch"].isin(truth.index[:20])).map(truth)
    scores["depth"] = scores["few"]
    table = validate(scores, truth, ensembles=(), resamples=100)
    assert row(table, "few")["kendall"] == row(table, "part")["kendall"] == 1
    assert math.isnan(row(table, "good")["best_delta"])
    assert math.isnan(row(table, "params")["baseline_delta"])
    words = verdict(table)
    assert words[0] == "Use good."
    judged = "few (10 %), part (50 %) and depth (10 %)"
    assert f"Judged on a part of the architectures only: {judged}." in words


def test_losses_are_told_as_measured(scores, truth):
    """All else is the same."""
    loss = 100 - truth
    table = validate(scores, -loss, resamples=100, lower_is_better=True)
    higher = validate(scores, truth, resamples=100)
    told = ["picked", "best"]
    assert np.allclose(table[told], 100 - higher[told])
    pd.testing.assert_frame_equal(table.drop(columns=told), higher.drop(columns=told))


def test_a_column_is_rated_on_the_seeds_that_it_has(scores, truth):
    """Files of unequal seeds, put together."""
    both = pd.concat([scores, scores.assign(seed=1, good=NAN)])
    table = validate(both, truth, ensembles=(BOTH,), resamples=100).set_index("name")
    alone = validate(scores, truth, ensembles=(BOTH,), resamples=100).set_index("name")
    for name in ("good", "both"):
        assert table.loc[name, "kendall"] == alone.loc[name, "kendall"]
        assert table.loc[name, "n"] == 40
    assert table["seeds"].to_dict() == {"good": 1, "cost": 2, "params": 2, "flat": 2, "both": 1}
    among = rank_correlations(both, truth, ensembles=(BOTH,))
    assert among.loc["good", "accuracy"] == pytest.approx(alone.loc["good", "spearman"])


def test_direction_is_applied_once(scores, truth):
    higher = row(validate(scores, truth, resamples=100), "cost")
    lower = row(validate(scores, truth, better={"cost": "lower"}, resamples=100), "cost")
    raw = scores.set_index("arch")["cost"].loc[truth.index]
    assert higher["kendall"] == pytest.approx(kendall(raw, truth))
    assert higher["kendall"] < 0 < lower["kendall"] == pytest.approx(-higher["kendall"])
    assert lower["spearman"] == pytest.approx(-spearman(raw, truth))
    assert lower["picked"] == truth[raw.idxmin()]
    assert higher["picked"] == truth[raw.idxmax()]
    assert lower["kendall_lo"] < lower["kendall"] < lower["kendall_hi"]


def test_the_pick_is_the_first_of_rank(scores, truth):
    better = {"cost": "lower"}
    table = validate(scores, truth, better=better, ensembles=(BOTH,), resamples=100)
    for by in ("good", "cost", BOTH):
        assert row(table, str(by))["picked"] == truth[rank(scores, by, better).index[0]]


def test_infinite_and_constant_are_counted(scores, truth):
    """In any member, for any seed; NaN is neither."""
    again = scores.assign(seed=1)
    again.loc[again.index[0], "good"] = np.inf
    again.loc[again.index[1], "good"] = np.nan
    scores.loc[scores.index[2], "good"] = -np.inf
    flat = Ensemble("flat too", ("good", "flat"), BOTH.combine, "")
    both = pd.concat([scores, again])
    table = validate(both, truth, ensembles=(flat,), resamples=100).set_index("name")
    assert table["infinite"].to_dict() == {
        **dict.fromkeys(("cost", "params", "flat"), 0),
        **dict.fromkeys(("good", "flat too"), 2),
    }
    assert table["constant"].to_dict() == {
        **dict.fromkeys(("good", "cost", "params"), 0),
        **dict.fromkeys(("flat", "flat too"), 1),
    }


def test_the_same_for_all_of_a_seed_is_constant(scores, truth):
    scores["constant"] = scores["seed"].astype(float)
    found = validate(
        pd.concat([scores, scores.assign(seed=scores["seed"] + 1, constant=7.0)]), truth
    )
    assert found.set_index("name")["constant"]["constant"]


def test_a_constant_column_has_no_correlation(scores, truth):
    flat = row(validate(scores, truth, resamples=100), "flat")
    assert flat["ties"] == 1
    undefined = [name for name in flat.index if name.startswith(("kendall", "spearman", "partial"))]
    assert flat[undefined].isna().all()
    assert flat["picked"] == pytest.approx(truth.mean())


def test_nan_scores_are_counted_and_left_out(scores, truth):
    best = scores["good"].idxmax()
    scores.loc[best, "good"] = NAN
    scores.loc[scores["good"].idxmin(), "good"] = -INF
    good = row(validate(scores, truth, resamples=100), "good")
    assert good["n"] == 39
    assert good["coverage"] == 39 / 40
    known = scores[scores["good"].notna()].set_index("arch")["good"]
    assert good["kendall"] == pytest.approx(kendall(known, truth[known.index]))
    assert good["picked"] == truth[known.idxmax()]


def test_a_column_of_nan(scores, truth):
    scores["none"] = NAN
    none = row(validate(scores, truth, resamples=100), "none")
    assert (none["n"], none["coverage"]) == (0, 0)
    assert none[["kendall", "spearman", "ndcg", "picked", "precision_top10"]].isna().all()


def test_unknown_accuracies_are_counted_and_left_out(scores, truth):
    known = truth.copy()
    known.iloc[:3] = NAN
    table = validate(scores, known.drop(known.index[5]), resamples=100)
    assert (table["unmatched"] == 4).all()
    assert (table["n"] == 36).all()
    assert (table["coverage"] == 1).all()


def test_partial_given_size(scores, truth):
    scores["size_in_disguise"] = np.log(scores["params"])
    table = validate(scores, truth, resamples=100)
    assert math.isnan(row(table, "params")["partial_spearman"])
    assert math.isnan(row(table, "size_in_disguise")["partial_spearman"])
    assert row(table, "good")["partial_spearman"] > 0.8
    without = validate(scores.drop(columns="params"), truth, resamples=100)
    assert without["partial_spearman"].isna().all()


def test_several_seeds_are_averaged_as_ranks(scores, truth):
    noisy = [scores.assign(seed=seed) for seed in range(9)]
    rng = np.random.default_rng(2)
    for table in noisy:
        table["cost"] = truth[table["arch"]].to_numpy() + 9 * rng.normal(size=40)
    one = row(validate(noisy[0], truth, resamples=100), "cost")
    nine = row(validate(pd.concat(noisy), truth, resamples=100), "cost")
    assert nine["n"] == one["n"] == 40
    assert nine["kendall"] > one["kendall"]


def test_the_same_twice_and_arguments_untouched(scores, truth):
    before, accuracy = scores.copy(), truth.copy()
    pd.testing.assert_frame_equal(validate(scores, truth), validate(scores, truth))
    pd.testing.assert_frame_equal(scores, before)
    pd.testing.assert_series_equal(truth, accuracy)


def test_ensembles_without_their_members_are_left_out(scores, truth):
    assert "te_nas" not in set(validate(scores, truth, resamples=100)["name"])


def test_too_few_architectures_with_an_accuracy(scores, truth):
    with pytest.raises(ZeroshotError, match=r"0 of 40.*at least 3.*'net\d+'.*'other'"):
        validate(scores, pd.Series({"other": 3.0}))
    with pytest.raises(ZeroshotError, match="2 of 40"):
        validate(scores, truth.head(2))
    validate(scores, truth.head(3), resamples=100)


def test_bad_tables(scores, truth):
    with pytest.raises(ZeroshotError, match="net0 more than once"):
        validate(scores, pd.concat([truth, truth.head(1)]))
    with pytest.raises(ZeroshotError, match="no proxy column"):
        validate(scores[["arch", "seed"]], truth)
    with pytest.raises(ZeroshotError, match="'cost' of the scores is not numeric"):
        validate(scores.assign(cost="x"), truth)


def test_everyone_is_compared_with_the_best_and_with_the_best_baseline(scores, truth):
    scores["depth"] = truth[scores["arch"]].to_numpy() + 20 * np.random.default_rng(3).normal(
        size=40
    )
    table = validate(scores, truth, better={"cost": "lower"}, ensembles=(), resamples=100)
    own = table.set_index("name")
    tau = own["kendall"]
    assert tau["good"] == tau.max()
    assert tau["depth"] > tau["params"]
    delta = [name for name in table if name.startswith(("best_delta", "beats_best"))]
    assert own.loc["good", delta].isna().all()
    assert own.loc["depth", [name.replace("best", "baseline") for name in delta]].isna().all()
    for name in ("cost", "params", "depth"):
        assert own.loc[name, "best_delta"] == pytest.approx(tau[name] - tau["good"])
    assert own.loc["good", "baseline_delta"] == pytest.approx(tau["good"] - tau["depth"])
    assert own.loc["good", "baseline_delta_lo"] > 0
    assert own.loc["good", "beats_baseline"] == 1
    assert own.loc["flat", delta].isna().all()


def test_without_a_baseline_or_without_a_proxy(scores, truth):
    table = validate(scores[["arch", "seed", "good", "cost"]], truth, resamples=100)
    assert table[["baseline_delta", "beats_baseline", "spearman_params"]].isna().all(axis=None)
    assert table["best_delta"].notna().sum() == 1
    table = validate(scores[["arch", "seed", "params"]], truth, resamples=100)
    assert table[["best_delta", "baseline_delta"]].isna().all(axis=None)


def test_size_clusters_seeds_and_cost(scores, truth):
    scores["log_params"] = np.log(scores["params"])
    twice = pd.concat([scores, scores.assign(seed=1, good=scores["good"] ** 3)])
    record = {
        "passes": {"good": ["Forward()"], "cost": ["Forward()", "Codes()"], "params": []},
        "seconds per pass": {"Forward()": 40.0, "Codes()": 8.0},
        "networks scored": 80,
    }
    table = validate(twice, truth, ensembles=(BOTH,), resamples=100, record=record)
    table = table.set_index("name")
    assert table.loc["log_params", "spearman_params"] == pytest.approx(1)
    assert table["spearman_flops"].isna().all()
    assert table.loc["log_params", "cluster"] == table.loc["params", "cluster"]
    assert table["cluster"].nunique() == 5
    assert (table["seeds"] == 2).all()
    assert table.loc["good", "seed_agreement"] == pytest.approx(1)
    assert table.loc["good", "kendall_seed_lo"] == table.loc["good", "kendall_seed_hi"]
    assert table.loc[["good", "cost", "both", "params"], "seconds"].tolist() == [0.5, 0.6, 0.6, 0]
    assert math.isnan(table.loc["log_params", "seconds"])
    assert set(table.index[table["pareto"]]) == {"good", "params"}


def test_the_size_is_compared_over_all_that_were_scored(scores, truth):
    """Also where no accuracy is known."""
    table = validate(scores, truth.head(12), resamples=100)
    expected = spearman(scores["good"], scores["params"])
    assert row(table, "good")["spearman_params"] == pytest.approx(expected)


def test_one_seed_and_no_record_tell_nothing(scores, truth):
    table = validate(scores, truth, resamples=100)
    told = ["seed_agreement", "kendall_seed_lo", "kendall_seed_hi", "seconds"]
    assert table[told].isna().all(axis=None)
    assert not table["pareto"].any()


def test_a_column_goes_before_an_ensemble_of_its_name(scores, truth):
    table = validate(scores.assign(both=1.0), truth, ensembles=(BOTH,), resamples=100)
    assert table["name"].is_unique
    assert row(table, "both")["kind"] == "proxy"


@pytest.mark.parametrize("resamples", [0, 99])
def test_too_few_resamples(scores, truth, resamples):
    with pytest.raises(ZeroshotError, match=f"^{resamples} resamples; expected at least 100"):
        validate(scores, truth, resamples=resamples)


def test_bad_seeds_and_infinite_accuracies(scores, truth):
    with pytest.raises(ZeroshotError, match=r"^seed -1: expected a whole number, at least 0"):
        validate(scores, truth, seed=-1)
    truth.iloc[3] = INF
    with pytest.raises(ZeroshotError, match=r"^the true accuracy of net3 is inf; leave it out"):
        validate(scores, truth)


def test_rank_correlations(scores, truth):
    better = {"cost": "lower"}
    matrix = rank_correlations(scores, truth, better=better, ensembles=(BOTH,))
    assert list(matrix) == ["good", "cost", "params", "flat", "both", "accuracy"]
    assert np.allclose(matrix, matrix.T, equal_nan=True)
    assert matrix["flat"].isna().all()
    table = validate(scores, truth, better=better, ensembles=(BOTH,), resamples=100)
    expected = table.set_index("name")["spearman"]
    assert matrix["accuracy"].drop("accuracy").to_numpy() == pytest.approx(
        expected.to_numpy(), nan_ok=True
    )
    assert matrix.loc["good", "cost"] > 0


def test_rank_correlations_with_a_column_called_accuracy(scores, truth):
    matrix = rank_correlations(scores.assign(accuracy=1.0), truth)
    assert list(matrix)[-2:] == ["accuracy", "true accuracy"]
    assert matrix["accuracy"].isna().all()
