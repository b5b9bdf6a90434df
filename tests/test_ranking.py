import inspect
import itertools
import math
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from zeroshot.errors import ZeroshotError
from zeroshot.models import find_members
from zeroshot.ranking import (
    ENSEMBLES,
    Ensemble,
    constant,
    expression,
    log_rank_sum,
    majority_vote,
    proxies_of,
    rank,
    rank_sum,
    ranks,
    ratings,
    saved,
)

NAN, INF = math.nan, math.inf


def table(seed=0, **columns):
    size = len(next(iter(columns.values())))
    return pd.DataFrame({"arch": list("abcdefgh"[:size]), "seed": seed, **columns})


class TestRanks:
    @pytest.mark.parametrize(
        ("values", "better", "expected"),
        [
            ([10, 30, 20], "higher", [1, 3, 2]),
            ([10, 30, 20], "lower", [3, 1, 2]),
            ([5, 5, 1, 9], "higher", [2.5, 2.5, 1, 4]),
            ([5, NAN, 1, NAN], "higher", [4, 1.5, 3, 1.5]),
            ([5, NAN, 1, NAN], "lower", [3, 1.5, 4, 1.5]),
            ([-INF, 0, INF, NAN], "higher", [2, 3, 4, 1]),
            ([-INF, 0, INF, NAN], "lower", [4, 3, 2, 1]),
            ([7, 7, 7], "higher", [2, 2, 2]),
            ([NAN, NAN], "higher", [1.5, 1.5]),
            ([], "higher", []),
        ],
    )
    def test_by_hand(self, values, better, expected):
        assert ranks(values, better).tolist() == expected

    def test_keeps_its_argument(self):
        values = np.array([3.0, NAN])
        ranks(pd.Series(values), "lower")
        assert np.array_equal(values, [3.0, NAN], equal_nan=True)

    def test_unknown_direction(self):
        with pytest.raises(ZeroshotError, match=r"'up'.*'higher' or 'lower'"):
            ranks([1, 2], "up")


class TestRules:
    def test_rank_sum(self):
        assert rank_sum(np.array([[1.0, 3], [2, 2], [3, 1]])).tolist() == [4, 4, 4]

    def test_log_rank_sum(self):
        result = log_rank_sum(np.array([[1.0, 3], [2, 2], [3, 1]]))
        assert result == pytest.approx([math.log(3 / 9), math.log(4 / 9), math.log(3 / 9)])

    def test_majority_vote_by_hand(self):
        # a beats b and c by 2:1; b and c draw 1:1, as the third member ties them
        votes = np.array([[3, 3, 1], [2, 1, 2.5], [1, 2, 2.5]])
        assert majority_vote(votes).tolist() == [2, 0.5, 0.5]

    def test_majority_vote_of_a_cycle_is_a_draw(self):
        assert majority_vote(np.array([[1.0, 2, 3], [2, 3, 1], [3, 1, 2]])).tolist() == [1, 1, 1]

    @pytest.mark.parametrize("members", [1, 2, 3])
    def test_majority_vote_against_pairs(self, members):
        rng = np.random.default_rng(members)
        columns = np.stack([ranks(rng.integers(9, size=40)) for _ in range(members)], axis=1)
        expected = np.zeros(40)
        for i, j in itertools.permutations(range(40), 2):
            balance = np.sign(columns[i] - columns[j]).sum()
            expected[i] += 1 if balance > 0 else 0.5 if balance == 0 else 0
        assert majority_vote(columns).tolist() == expected.tolist()

    def test_majority_vote_needs_little_memory(self):
        columns = np.stack([np.random.default_rng(i).permutation(6000) + 1.0 for i in range(3)], 1)
        tracemalloc.start()
        score = majority_vote(columns)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 50e6  # one byte per pair would be 36 MB a matrix
        assert score.sum() == 6000 * 5999 / 2


class TestRank:
    def test_one_proxy_keeps_raw_values(self):
        result = rank(table(x=[1.5, 9.5, -2.0]), "x")
        assert result.to_dict() == {"b": 9.5, "a": 1.5, "c": -2.0}
        assert list(result.index) == ["b", "a", "c"]

    def test_direction_is_applied_once(self):
        scores = table(x=[1.5, 9.5, -2.0])
        assert list(rank(scores, "x", {"x": "lower"}).index) == ["c", "a", "b"]
        assert rank(scores, "x", {"x": "lower"}).tolist() == [-2.0, 1.5, 9.5]

    def test_ties_keep_the_order_of_the_table(self):
        assert list(rank(table(x=[1, 2, 1, 2]), "x").index) == ["b", "d", "a", "c"]
        many = pd.DataFrame({"arch": [f"n{i}" for i in range(200)], "seed": 0, "x": [1.0, 2] * 100})
        expected = [*many["arch"][1::2], *many["arch"][::2]]
        assert list(rank(many, "x").index) == expected

    def test_directions_are_those_noted_in_the_table_unless_given(self):
        scores = table(x=[1.5, 9.5, -2.0])
        scores.attrs["better"] = {"x": "lower"}
        assert list(rank(scores, "x").index) == ["c", "a", "b"]
        assert list(rank(scores, "x", {}).index) == ["b", "a", "c"]

    def test_nan_comes_last_below_minus_infinity(self):
        result = rank(table(x=[NAN, -INF, 3, INF]), "x")
        assert list(result.index) == ["d", "c", "b", "a"]
        assert math.isnan(result["a"])

    def test_seeds_are_ranked_apart_and_averaged(self):
        scores = pd.concat([table(0, x=[1.0, 2, 3]), table(1, x=[900.0, 100, 200])])
        assert ratings(scores, "x").to_dict() == {"a": 2, "b": 1.5, "c": 2.5}
        assert list(rank(scores, "x").index) == ["c", "a", "b"]

    def test_no_rating_where_a_seed_has_none(self):
        scores = pd.concat([table(0, x=[1.0, 2, 3]), table(1, x=[1.0, 2, NAN])])
        assert ratings(scores, "x").isna().tolist() == [False, False, True]

    def test_te_nas_by_hand(self):
        scores = table(ntk_cond=[100, 10, INF, 50], linear_regions=[8, 9, 10, 5])
        result = rank(scores, "te_nas", {"ntk_cond": "lower"})
        # κ: 2 4 1 3, regions: 2 3 4 1
        assert result.to_dict() == {"b": 7, "c": 5, "a": 4, "d": 4}
        assert list(result.index) == ["b", "c", "a", "d"]

    def test_ensemble_says_nothing_where_a_member_does_not(self):
        scores = table(ntk_cond=[100, 10, NAN], linear_regions=[8, 9, 10])
        result = rank(scores, "te_nas", {"ntk_cond": "lower"})
        assert list(result.index) == ["b", "a", "c"]
        assert result["b"] == 3 + 2
        assert math.isnan(result["c"])

    def test_a_constant_member_changes_nothing(self):
        both = Ensemble("both", ("x", "y"), rank_sum, "here")
        scores = table(x=[3, 1, 2], y=[7, 7, 7])
        assert list(rank(scores, both).index) == list(rank(scores, "x").index)

    @pytest.mark.parametrize("ensemble", ENSEMBLES, ids=str)
    def test_every_ensemble_ranks_the_best_of_all_members_first(self, ensemble):
        rng = np.random.default_rng(0)
        scores = pd.DataFrame({"arch": [f"n{i}" for i in range(30)], "seed": 0})
        for member in ensemble.members:
            scores[member] = rng.normal(size=30)
        scores.loc[17, list(ensemble.members)] = 99.0
        before = scores.copy()
        assert rank(scores, ensemble.name).index[0] == "n17"
        worst = dict.fromkeys(ensemble.members, "lower")
        assert rank(scores, ensemble, worst).index[-1] == "n17"
        pd.testing.assert_frame_equal(scores, before)

    def test_ensembles_have_distinct_names(self):
        assert len({ensemble.name for ensemble in ENSEMBLES}) == len(ENSEMBLES)


def test_constant_is_what_no_seed_tells_apart():
    scores = pd.concat(
        [
            table(0, same=[1.0, 1], once=[1.0, 1], silent=[1.0, NAN], seeds=[1.0, 1]),
            table(1, same=[1.0, 1], once=[1.0, 2], silent=[1.0, NAN], seeds=[2.0, 2]),
        ]
    )
    assert constant(scores, ("same", "once", "silent", "seeds")) == {"same", "seeds"}
    assert constant(scores, ("once",)) == set()


def test_seeds_without_any_rating_are_left_out():
    scores = pd.DataFrame(
        {"arch": ["a", "b"] * 2, "seed": [0, 0, 1, 1], "p": [1.0, 2.0, math.nan, math.nan]}
    )
    assert ratings(scores, "p").to_dict() == {"a": 1.0, "b": 2.0}
    scores.loc[2, "p"] = 3.0
    assert ratings(scores, "p").isna().to_dict() == {"a": False, "b": True}


def test_an_expression_that_is_deep_on_the_inside():
    with pytest.raises(ZeroshotError, match="too deep"):
        expression("x < " + "+".join(["b"] * 3000))


class TestBadInput:
    @pytest.mark.parametrize(
        ("by", "message"),
        [
            ("te_nas", "'te_nas' needs linear_regions.*--proxies linear_regions"),
            ("ntk_cnd", "'ntk_cnd'.*did you mean 'ntk_cond'.*te_nas, vote"),
            (Ensemble("mine", ("p", "q"), rank_sum, ""), "'mine' needs p, q"),
        ],
    )
    def test_what_to_rank_by(self, by, message):
        with pytest.raises(ZeroshotError, match=message):
            rank(table(ntk_cond=[1.0, 2]), by)

    @pytest.mark.parametrize(
        ("scores", "message"),
        [
            (pd.DataFrame({"arch": ["a"], "x": [1.0]}), "no column 'seed', only arch, x"),
            (pd.DataFrame({"seed": [0], "x": [1.0]}), "no column 'arch'"),
            (table(x=[1.0, 2]).assign(arch="a"), "^a with seed 0 has more than one row"),
            (table(x=["1", "p"]), "column 'x'.*not numeric"),
            (table(x=[1.0, 2]).assign(arch=["a", None]), "row 2 .* no arch"),
            (
                pd.concat([table(0, x=[1.0, 2]), table(1, x=[1.0])]),
                "seed 1 has scores of 1 of 2 architectures",
            ),
            (table(x=[1.0]).set_axis(["arch", "seed", "seed"], axis=1), "two columns 'seed'"),
            (table(x=[1.0, 2]).assign(arch=[0.1, 0.2]), "numbers, such as 0.1, and 0.1 may have"),
        ],
    )
    def test_tables(self, scores, message):
        with pytest.raises(ZeroshotError, match=message):
            proxies_of(scores)

    @pytest.mark.parametrize(
        ("rule", "message"),
        [
            (lambda ranks: ranks.nonsense, "'mine' fails: AttributeError"),
            (lambda ranks: ranks.sum(), r"'mine' gives numbers of shape \(\) .*\(2, 1\).*axis 1"),
        ],
    )
    def test_rules(self, rule, message):
        with pytest.raises(ZeroshotError, match=message):
            rank(table(p=[1.0, 2]), Ensemble("mine", ("p",), rule, ""))

    @pytest.mark.parametrize(
        ("members", "rule", "message"),
        [
            (("p",), "rank_sum", "rule of ensemble 'mine' is 'rank_sum'; expected a function"),
            ("pq", rank_sum, "members of ensemble 'mine' are 'pq'; expected a tuple"),
            ((), rank_sum, r"members of ensemble 'mine' are \(\)"),
        ],
    )
    def test_what_is_no_ensemble(self, members, rule, message):
        with pytest.raises(ZeroshotError, match=message):
            inspect.unwrap(Ensemble.__init__)(object.__new__(Ensemble), "mine", members, rule, "")

    def test_no_rows(self):
        with pytest.raises(ZeroshotError, match="no rows"):
            rank(table(x=[1.0]).head(0), "x")


class TestExpressions:
    def test_by_hand(self):
        """Names are shares of ranks: of four, 1/4 is the worst and 1 the best."""
        shown = table(a=[1.0, 2.0, 3.0, 4.0], b=[4.0, 1.0, 3.0, 2.0])
        found = ratings(shown, "log(a) + 2*log(b) - 1/2", {"b": "lower"})
        share = {"a": [0.25, 0.5, 0.75, 1.0], "b": [0.25, 1.0, 0.5, 0.75]}
        pairs = zip(*share.values(), strict=True)
        expected = [math.log(a) + 2 * math.log(b) - 0.5 for a, b in pairs]
        assert found.tolist() == pytest.approx(expected)
        assert found.name == "log(a) + 2*log(b) - 1/2"

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("-a + +b", 0.5),
            ("min(a, b, 0.6)", 0.5),
            ("max(a, b)", 1.0),
            ("sqrt(a * b) ** 2", 0.5),
            ("exp(log(a)) / b", 0.5),
            ("10**-1 * a * b", 0.05),
            ("1 / (a - b + 0.5)", math.inf),
            ("10**400 * a * b", math.inf),
            ("-a * exp(exp(10 * b))", -math.inf),
            (f"{'-' * 90}a + 0 * b", 0.5),
        ],
    )
    def test_operations(self, text, value):
        found = expression(text)
        assert found.members == ("a", "b")
        assert found.combine(np.array([[1.0, 2.0], [1.0, 2.0]]))[0] == pytest.approx(value)

    def test_the_log_rank_of_an_ensemble_written_down(self):
        rng = np.random.default_rng(0)
        names = ENSEMBLES[-1].members
        shown = table(**{name: rng.random(8) for name in names})
        text = "+".join(f"log({name})" for name in names)
        written = ratings(shown, text)
        combined = ratings(shown, Ensemble("x", names, log_rank_sum, ""))
        assert written.tolist() == pytest.approx(combined.tolist())

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("log(a", "was never closed"),
            ("ln(a)", "there is no function 'ln'"),
            ("log(a, b)", "log of 2 values"),
            ("min()", "min of 0 values"),
            ("1 + 2", "it names no proxy"),
            ("a.b + a", "'a.b' means nothing here"),
            ("a + 'b'", "\"'b'\" means nothing here"),
            ("a < b", "'a < b' means nothing here"),
            ("a[0] + b", r"'a\[0\]' means nothing here"),
            ("__import__('os').system('false')", "means nothing here"),
            ("a + True", "'True' means nothing here"),
            ("+".join(["a"] * 2_000), "nested deeper than 100 levels"),
            ("-" * 150 + "a", "nested deeper than 100 levels"),
            ("(" * 1_000 + "a" + ")" * 1_000, "too many nested|nested too deep"),
            ("a * 1" + "0" * 400, "one of its numbers is too large"),
        ],
    )
    def test_what_cannot_be_read(self, text, words):
        with pytest.raises(ZeroshotError, match=words):
            expression(text)

    def test_a_member_that_is_an_ensemble(self):
        words = "cannot rank by 'vote [+] a': vote is an ensemble, and an expression takes proxies"
        with pytest.raises(ZeroshotError, match=words):
            ratings(table(a=[1.0, 2.0]), "vote + a")
        with pytest.raises(ZeroshotError, match=r"instead \(synflow, jacob_cov, snip\)"):
            find_members("vote + naswot")
        shown = table(a=[1.0, 2.0], vote=[2.0, 3.0])  # a column goes first
        assert ratings(shown, "vote + a").tolist() == [1.0, 2.0]

    def test_a_member_that_is_not_there(self):
        with pytest.raises(ZeroshotError, match="needs b, which the scores lack"):
            ratings(table(a=[1.0, 2.0]), "a + b")


def test_expressions_are_saved_in_text_files(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("log(a)\n  + 2 * log(b)\n")
    found = saved(path)
    assert (found.name, found.members) == ("mine", ("a", "b"))
    scores = table(a=[1.0, 2.0, 3.0], b=[3.0, 1.0, 2.0])
    by_file, by_text = (rank(scores, by) for by in (str(path), "log(a) + 2 * log(b)"))
    assert by_file.index.to_list() == by_text.index.to_list()
    assert by_file.to_list() == by_text.to_list()
    assert by_file.name == "mine"


@pytest.mark.parametrize("text", [None, "", "log(", "naswot(3)"])
def test_saved_expressions_that_are_none(tmp_path, text):
    path = tmp_path / "mine.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ZeroshotError) as error:
        saved(path)
    assert "\n" not in str(error.value)
