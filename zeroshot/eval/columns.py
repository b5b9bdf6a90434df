"""The columns of the pages' tables: heading, meaning, and how a cell shows its figure."""

from html import escape

from zeroshot.eval.advise import FINDINGS
from zeroshot.eval.compare import ALIKE
from zeroshot.eval.page import Column, digits, estimate, number, percent
from zeroshot.eval.verdict import duration

NAME = ("proxy", "The proxy; <i>ensemble</i>s combine the ranks of several, <i>baseline</i>s cost "
        "nothing to compute: a proxy is worth its time only if it beats them.")  # fmt: skip
TIES = Column(
    "ties", "Share of pairs with equal scores, which the proxy cannot order.",
    lambda row, _: percent(row["ties"]),
)  # fmt: skip
STATISTICS = (
    Column(
        "Kendall τ", "Kendall’s τ-b between score and accuracy: of all pairs of "
        "architectures, the share ordered correctly minus the share ordered wrongly, corrected for "
        "ties. Directions are applied, so 1 is perfect, 0 is chance, and below 0 the proxy "
        "misleads. Below it, the 95 % bootstrap interval over architectures. It is that of one "
        "row alone, as all in these tables; the sentences above go by wider ones, which hold for "
        "all rows at once.",
        estimate("kendall"),
    ),
    Column(
        "Spearman ρ", "The correlation of the ranks, with its 95 % interval.",
        estimate("spearman"),
    ),
    Column(
        "top 10 %", "Share of the 10 % best by score that are among the 10 % best "
        "by accuracy; chance is 10 %.", lambda row, _: percent(row["precision_top10"]),
    ),
    Column(
        "nDCG", "How good the top of the order is: gain 2<sup>accuracy</sup>, so one "
        "percentage point less halves it, discounted by position; 1 is perfect. Only for "
        "accuracies and errors, of at most 100 %.",
        lambda row, _: number(row["ndcg"], 3),
    ),
    Column(
        "picked", "What was measured of the architecture the score puts first (the mean, if "
        "several tie), as it was given.", lambda row, _: digits(row["picked"]),
    ),
    Column(
        "n", "Architectures with both a score and an accuracy.", lambda row, _: f"{row['n']:,}"
    ),
    Column(
        "coverage", "Share of the architectures with an accuracy that the proxy could "
        "score; the rest are left out of its statistics.", lambda row, _: percent(row["coverage"]),
    ),
    TIES,
)  # fmt: skip
DIFFERENCES = (
    Column(
        "τ − best", "By how much Kendall’s τ is higher than that of the best proxy or "
        "ensemble, on the same architectures, with the interval of that difference over the same "
        "resamples. An interval that reaches 0 does not tell the two apart. That one was chosen as "
        "the best on these very data, which flatters it.", estimate("best_delta", most=0.0),
    ),
    Column(
        "beats best", "Share of the resamples in which the proxy beats the best one.",
        lambda row, _: percent(row["beats_best"]),
    ),
    Column(
        "τ − baseline", "The same against the best of params, flops and depth.",
        estimate("baseline_delta", most=0.0),
    ),
    Column(
        "beats baseline", "Share of the resamples in which the proxy beats the best baseline.",
        lambda row, _: percent(row["beats_baseline"]),
    ),
)  # fmt: skip
SIZE = (
    Column(
        "ρ params", "Spearman’s ρ of the score with the number of parameters.",
        lambda row, _: number(row["spearman_params"], 2),
    ),
    Column(
        "ρ flops", "Spearman’s ρ of the score with the multiply-adds.",
        lambda row, _: number(row["spearman_flops"], 2),
    ),
)  # fmt: skip
PARTIAL = Column(
    "ρ given size", "Partial Spearman with the accuracy, given the ranks of parameters "
    "and multiply-adds: what the score knows beyond how large the network is.",
    lambda row, _: number(row["partial_spearman"], 2),
)  # fmt: skip
AGREEMENT = Column(
    "seeds agree", "Spearman’s ρ between the scores of two seeds (weights and the "
    "proxy’s own draws; the batch is the same), the mean over all pairs of seeds.",
    lambda row, _: number(row["seed_agreement"], 3),
)  # fmt: skip
SPREAD = Column(
    "τ of one seed", "The lowest and the highest Kendall’s τ that a single seed gives.",
    lambda row, _: f"{number(row['kendall_seed_lo'], 2)} to {number(row['kendall_seed_hi'], 2)}"
    if row["kendall_seed_lo"] == row["kendall_seed_lo"] else "–",
)  # fmt: skip
COST = Column(
    "time", "Seconds per network of all passes the proxy needs, on one thread; a pass "
    "that proxies share counts for each.", lambda row, _: duration(row["seconds"]),
)  # fmt: skip
CLUSTER = Column(
    "cluster", "Proxies of the same number order architectures alike: average linkage on "
    f"1 − |Spearman’s ρ|, cut at a mean |ρ| of {ALIKE}.", lambda row, _: str(row["cluster"]),
)  # fmt: skip
BESIDES = (*SIZE, PARTIAL, AGREEMENT, SPREAD, COST, CLUSTER)
ADVICE = (
    Column(
        "keep", "✓ the cheapest without findings of its cluster.",
        lambda row, _: "✓" if row["keep"] else "",
    ),
    Column(
        "findings", "; ".join(f"<i>{name}</i>: {escape(meaning)}" for name, meaning in
        FINDINGS.items()) + ". Below, the most frequent reason for a score that is not a number.",
        lambda row, _: (escape(row["findings"]) or "–")
        + (f"<small>{escape(row['reason'])}</small>" if row["reason"] else ""), words=True,
    ),
    CLUSTER,
    AGREEMENT,
    *SIZE,
    TIES,
    Column(
        "undefined", "Share of the scores that are not a number.",
        lambda row, _: percent(row["undefined"]),
    ),
    COST,
)  # fmt: skip
