import math
import zlib

import pandas as pd
import pytest

from zeroshot.eval.verdict import advice, duration, verdict

NAN = math.nan


def row(name, kendall, kind="proxy", **changes):
    """A proxy that is worse than the best and better than size, stable, alone and cheap."""
    usual = {
        "name": name,
        "kind": kind,
        "n": 100,
        "coverage": 1.0,
        "infinite": 0,
        "constant": 0,
        "ties": 0.0,
        "kendall": kendall,
        "kendall_lo": kendall - 0.1,
        "kendall_hi": kendall + 0.1,
        "best_delta_hi": -0.1,
        "baseline_delta_lo": 0.1,
        "cluster": zlib.crc32(name.encode()),
        "seeds": 3,
        "seed_agreement": 0.95,
        "seconds": 0.5,
    }
    return usual | changes


SIZE = row("params", 0.5, "baseline", baseline_delta_lo=NAN, seconds=0.0)
BEST = row("best", 0.8, best_delta_hi=NAN, seconds=1.0)


def said(*rows):
    """The intervals that hold for all at once are as each alone, unless a row says otherwise."""
    alone = ("kendall_lo", "kendall_hi", "best_delta_hi", "baseline_delta_lo")
    every = {name: f"{name[:-3]}_all{name[-3:]}" for name in alone}
    return verdict(pd.DataFrame([{every[name]: row[name] for name in alone} | row for row in rows]))


def test_the_best_alone():
    found = said(SIZE, row("other", 0.6), BEST)
    assert found == (
        "Use best (1 s a network).",
        "The best is best: Kendall's τ = 0.80, with 95 % confidence 0.70 to 0.90.",
        "Every other proxy is worse than it, beyond chance.",
    )


def test_the_cheapest_of_those_not_told_apart():
    level = row("level", 0.75, best_delta_hi=0.01)
    cheap = row("cheap", 0.7, best_delta_hi=0.0, seconds=0.02)
    found = said(level, cheap, BEST, SIZE)
    assert found[0] == "Use cheap (20 ms a network): not told apart from the best, and cheaper."
    assert "Not told apart from it: level and cheap." in found


def test_infinite_scores_and_silent_members():
    endless = row("endless", 0.6, infinite=1234)
    few = row("few", 0.6, "ensemble", constant=2, infinite=1234)
    found = said(SIZE, BEST, endless, few)
    assert found[-2:] == (
        "Infinite for some architectures, and ranked as such: endless (1,234).",
        "Members that are the same for all have no say: 2 in few.",
    )


def test_the_unstable_are_passed_over():
    shaky = BEST | {"seed_agreement": 0.5}
    level = row("level", 0.75, best_delta_hi=0.01, seconds=2.0)
    found = said(shaky, level, SIZE)
    assert found[0] == "Use level (2 s a network): not told apart from the best, and more stable."
    assert "Unstable over seeds (mean Spearman's ρ below 0.8): best (0.50)." in found
    assert said(shaky, SIZE)[0] == "Use best (1 s a network)."  # there is no other


def test_nothing_beats_size():
    weak = BEST | {"baseline_delta_lo": -0.01}
    worse = row("worse", 0.4, baseline_delta_lo=-0.3)
    found = said(weak, worse, SIZE)
    assert found[0] == "Use params: no proxy is shown to beat this baseline."
    assert found[1].startswith("The best is best: ")
    assert (
        "Not shown to be better than params (τ = 0.50), the best baseline: best and worse." in found
    )


def test_a_baseline_is_the_best():
    found = said(BEST | {"baseline_delta_lo": -0.3}, row("params", 0.9, "baseline"))
    assert found[0] == "Use params: no proxy is shown to beat this baseline."
    assert found[1].startswith("The best that is no baseline is best: Kendall's τ = 0.80")


def test_one_that_beats_size_when_the_best_does_not():
    weak = BEST | {"baseline_delta_lo": -0.01}
    sure = row("sure", 0.7, best_delta_hi=0.1, seconds=NAN)
    assert said(weak, sure, SIZE)[0] == "Use sure: unlike the best, it beats the best baseline."


def test_the_cost_of_the_best_is_not_known():
    level = row("level", 0.75, best_delta_hi=0.01)
    assert said(BEST | {"seconds": NAN}, level, SIZE)[0] == (
        "Use level (0.5 s a network): not told apart from the best, whose cost is not known."
    )


def test_what_is_not_compared_is_not_called_worse():
    apart = row("apart", 0.6, best_delta_hi=NAN, baseline_delta_lo=NAN)
    found = said(BEST, apart, row("other", 0.5), SIZE)
    assert not any("Every other" in words for words in found)
    assert any(words.startswith("Not shown to be better") and "apart" in words for words in found)


def test_redundant_and_misleading():
    twins = row("one", 0.6, cluster=7), row("two", 0.55, cluster=7)
    wrong = row("wrong", -0.3)
    found = said(*twins, wrong, BEST, SIZE)
    assert (
        "Redundant (mean |Spearman's ρ| of at least 0.9), one of each is enough: one and two."
        in found
    )
    assert "Misleading, worse than chance: wrong (τ = −0.30)." in found
    assert not any("Misleading" in words for words in said(row("weak", -0.05), BEST, SIZE))


def test_all_point_the_wrong_way():
    wrong = [row(name, -0.6, best_delta_hi=0.0) for name in "ab"]
    size = row("params", -0.5, "baseline", baseline_delta_lo=NAN, seconds=0.0)
    assert "--lower-is-better" in said(*wrong, size)[-1]
    assert "--lower-is-better" not in " ".join(said(*wrong, SIZE))


def test_a_part_of_the_architectures():
    found = said(BEST | {"coverage": 0.6}, row("other", 0.6, coverage=0.95), SIZE)
    assert "Judged on a part of the architectures only: best (60 %)." in found
    assert found[0].startswith("Use other")
    few = row("few", 1.0, n=9, coverage=0.9), row("wrong", -1.0, n=4, coverage=0.04)
    found = said(*few, row("other", 0.6), SIZE)
    assert found[0].startswith("Use other")
    assert "Judged on a part of the architectures only: few (90 %) and wrong (4 %)." in found
    assert not any("Misleading" in words for words in found)
    assert said(few[0], SIZE)[0].startswith("9 architectures are too few")
    alone = said(BEST | {"coverage": 0.6}, SIZE)  # there is no other
    assert alone[0] == "Use best (1 s a network)."


def test_chance_is_not_advised():
    nothing = (
        "No score is shown to order these architectures better than chance, allowing for how many "
        "are compared."
    )
    noise, wrong = row("noise", 0.02), row("wrong", -0.5)
    size = row("params", 0.05, "baseline", baseline_delta_lo=NAN)
    assert said(noise)[0] == said(wrong)[0] == said(noise, wrong, size)[0] == nothing
    weak = row("weak", 0.2, baseline_delta_lo=-0.1)
    assert said(weak, size)[0] == "Use weak (0.5 s a network)."
    lucky = row("lucky", 0.3, kendall_lo=-0.1, best_delta_hi=NAN, baseline_delta_lo=-0.1)
    assert said(lucky, weak | {"best_delta_hi": 0.1}, size)[0] == (
        "Use weak (0.5 s a network): unlike the best, it is shown to be better than chance."
    )


def test_luck_among_many_is_not_advised():
    """What decides are the intervals that hold for all at once."""
    lucky = BEST | {"baseline_delta_all_lo": -0.01}
    assert said(lucky, SIZE)[0] == "Use params: no proxy is shown to beat this baseline."
    chance = BEST | {"kendall_all_lo": -0.01}
    assert said(chance)[0].startswith("No score is shown")


def test_what_cannot_be_told():
    rows = [r | {"seeds": 1, "seconds": NAN, "seed_agreement": NAN} for r in (BEST, SIZE)]
    found = said(*rows)
    assert found[0] == "Use best."
    assert found[-2:] == (
        "There is one seed: how much the scores depend on it is not told.",
        "There is no record of passes and seconds: what the proxies cost is not told.",
    )
    alone = BEST | {"baseline_delta_lo": NAN}
    assert said(alone)[-1] == (
        "There are no params, flops or depth: a comparison with size is not told."
    )
    assert said(alone)[0] == "Use best (1 s a network)."


def test_too_little_to_say():
    silent = row("flat", NAN, ties=1.0), row("none", NAN, n=0, ties=NAN)
    found = said(*silent, BEST, SIZE)
    assert "Nothing is said here by flat (the same for all) and none (no score)." in found
    assert said(*silent)[0].startswith("No score orders these architectures")
    assert said(SIZE) == ("There are only baselines: no proxy to compare with them.",)
    few = said(BEST | {"n": 9}, SIZE | {"n": 9})
    assert few == ("9 architectures are too few to tell proxies apart; at least 10 are needed.",)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "no time"),
        (NAN, "–"),
        (0.00093, "0.93 ms"),
        (0.0123, "12 ms"),
        (0.0999, "0.1 s"),
        (0.42, "0.42 s"),
        (31.4, "31 s"),
        (600.0, "10.0 min"),
    ],
)
def test_duration(seconds, words):
    assert duration(seconds) == words


def advised(*rows):
    usual = {
        "kind": "proxy",
        "n": 50,
        "cluster": 1,
        "seconds": NAN,
        "seeds": 3,
        "reason": "",
        "keep": False,
    }
    return advice(pd.DataFrame([usual | {"findings": ""} | r for r in rows]))


def test_advice():
    found = advised(
        {"name": "params", "kind": "baseline", "seconds": 0.0, "findings": "tied"},
        {"name": "good", "cluster": 2, "keep": True, "seconds": 0.02},
        {"name": "twin", "cluster": 2, "seconds": 3.0},
        {"name": "mute", "cluster": 3, "findings": "undefined, unstable", "reason": "no ReLU"},
        {"name": "still", "cluster": 4, "findings": "undefined"},
    )
    assert found[0] == "Worth computing: good."
    assert found[2:] == (
        "Undefined (NaN for at least 10 % of the networks): mute (no ReLU) and still.",
        "Tied (at least 10 % of the pairs have equal scores): params.",
        "Unstable (Spearman's ρ between seeds is below 0.8 on average): mute.",
        "Redundant (mean |Spearman's ρ| of at least 0.9), one of each is enough: good and twin.",
        "Cost: good takes 20 ms a network, twin 3 s.",
    )


@pytest.mark.parametrize("n", [9, 10])
def test_advice_from_few_architectures(n):
    found = advised({"name": "good", "keep": True, "n": n})
    few = "9 architectures are too few to rely on this; take at least 10."
    assert found[n == 9] == "Worth computing: good."
    assert (few in found) == (n == 9)


def test_advice_for_nothing():
    found = advised({"name": "flat", "findings": "constant", "seeds": 1})
    assert found[0] == "No proxy is without findings here."
    assert "Constant (the same score for all): flat." in found
    assert any("one seed" in words for words in found)
    assert any("no record" in words for words in found)
    assert any("comparison with size" in words for words in found)
