"""Rank agreement with another implementation's scores of the same architectures.

    python benchmarks/compare_reference.py SCORES.csv TABLE.csv.gz

SCORES is what `zeroshot rank` wrote; TABLE has a column `arch` and columns `ref_<proxy>`, as the
scores of NAS-Bench-Suite-Zero come. Weights and images differ, so ranks are compared, not values.
"""

import argparse
from pathlib import Path

import pandas as pd
from scipy.stats import spearmanr

from zeroshot.eval.tables import read_scores, read_table

NAMES = {"naswot": "nwot", "jacob_cov": "jacov"}  # theirs, where it differs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scores", type=Path)
    parser.add_argument("table", type=Path)
    options = parser.parse_args()
    scores = read_scores(options.scores).groupby("arch").mean()
    theirs = read_table(options.table).set_index("arch")
    rows = []
    for name in scores.columns.drop("seed"):
        column = f"ref_{NAMES.get(name, name)}"
        if column in theirs.columns:
            pair = pd.concat([scores[name], theirs[column]], axis=1).dropna()
            rows.append((name, len(pair), spearmanr(*pair.to_numpy().T).statistic))
    print(pd.DataFrame(rows, columns=["proxy", "n", "spearman"]).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
