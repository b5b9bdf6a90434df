"""Ways to search a space, against each other and against a random sample of the same size.

    python benchmarks/search.py nasbench201 [--methods random,evolve,climb] [--budget 500]
        [--population 50] [--refine 50] [--seeds 10] [--max-flops 3e8] [--by default]
        [--truth TABLE --column COLUMN] [--out search]

For each seed every method searches the small networks of the space; the weights of a network are
the same for all methods, so that scores are. What they found is put into one ranking then, and of
each method is told: the place in it of the best that it has found (1 is the best of all), how many
of the best ten it has found, and, with a table of accuracies, that of the one that it picks: by
--refine, if that many were ranked once more, else by the ranking of what it has found alone.

Means over seeds, with the standard deviation of accuracies. Scores are kept in OUT, so that an
interrupted run goes on.
"""

import argparse
from pathlib import Path

import pandas as pd

import zeroshot
from zeroshot import ranking
from zeroshot.eval.tables import read_truth
from zeroshot.models import find_space
from zeroshot.proxies import PROXIES
from zeroshot.record import processor
from zeroshot.searches import BUDGET, POPULATION, REFINED

BETTER = {proxy.name: proxy.better for proxy in PROXIES}


def placed(found: dict[str, zeroshot.Ranking]) -> dict[str, dict[str, float]]:
    """Of each method the place of its best in the ranking of all, and how many of the best ten."""
    scores = pd.concat([each.scores for each in found.values()])
    scores = scores.drop_duplicates(["arch", "seed"])
    by = next(iter(found.values())).order.name
    order = ranking.rank(scores, str(by), BETTER).index
    return {
        method: {
            "best": 1 + min(int(order.get_loc(arch)) for arch in each.order.index),
            "of ten": len(set(order[:10]) & set(each.order.index)),
            "all": len(order),
        }
        for method, each in found.items()
    }


def main() -> None:
    """Search, compare, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("space")
    parser.add_argument("--methods", default="random,evolve,climb")
    parser.add_argument("--budget", type=int, default=BUDGET)
    parser.add_argument("--population", type=int, default=POPULATION)
    parser.add_argument("--refine", type=int, default=REFINED)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--max-flops", type=float)
    parser.add_argument("--by")
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--column")
    parser.add_argument("--out", type=Path, default=Path("search"))
    asked = parser.parse_args()
    truth = None
    if asked.truth:
        space = find_space(asked.space)
        truth = read_truth(asked.truth, asked.column)
        truth.index = [space.spell(space.parse(str(arch))) for arch in truth.index]
    asked.out.mkdir(exist_ok=True)
    rows = []
    for seed in range(asked.seeds):
        found = {}
        for method in asked.methods.split(","):
            found[method] = zeroshot.search(
                asked.space,
                method=method,
                budget=asked.budget,
                population=asked.population,
                refine=asked.refine,
                max_flops=asked.max_flops,
                by=asked.by,
                small=True,
                seed=seed,
                store=asked.out / "scores.sqlite",
            )
            row: dict[str, str | float] = {"method": method, "seed": seed}
            if truth is not None:
                row["picked"] = float(truth[found[method].best])
            rows.append(row)
        for row in rows[-len(found) :]:
            row |= placed(found)[str(row["method"])]
    table = pd.DataFrame(rows)
    means = table.drop(columns="seed").groupby("method", sort=False).mean()
    if truth is not None:
        means["sd"] = table.groupby("method")["picked"].std()
        means["least"] = table.groupby("method")["picked"].min()
    print(
        f"\n{asked.space}, {asked.budget} of small networks, {asked.seeds} seeds, {processor()}\n"
    )
    print(means.round(2).to_string())
    print()
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
