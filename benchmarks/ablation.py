"""What each member of the ensemble `default` is worth.

    python benchmarks/ablation.py TABLES TABLE=SCORES [TABLE=SCORES …] [--by FORMULA …]

TABLES is the folder of accuracies and TABLE the name of one, both as in quality.py; SCORES are
files that `zeroshot rank` wrote, or quality.py, with the members of `default` (several of one run
with commas). Of each the first column of accuracies counts, or that of TABLE:COLUMN. Printed for
each: Kendall's τ of `default`, without each of its members, with every weight 1, of each formula
given whose members are there, and of size. Cells whose logits ignore the input have a jacob_cov of
−∞, so come last.
"""

import argparse
import re
from pathlib import Path

import pandas as pd
from quality import TABLES

from zeroshot.commands.validated import BETTER
from zeroshot.eval.correlate import kendall
from zeroshot.eval.recorded import read_recorded
from zeroshot.models import find_members
from zeroshot.ranking import ENSEMBLES, ratings

DEFAULT = next(ensemble for ensemble in ENSEMBLES if ensemble.name == "default")
FORMULA = DEFAULT.combine.__name__


def variants() -> dict[str, str]:
    """Formulas by what is said of them."""
    dropped = {f"without {name}": _without(name) for name in DEFAULT.members if name != "flops"}
    dropped["without size"] = _without("params", "flops")
    del dropped["without params"]
    ones = " + ".join(f"log({name})" for name in DEFAULT.members)
    return {"`default`": FORMULA, **dropped, "every weight 1": ones}


def _without(*names: str) -> str:
    """The formula with some members' terms made 0."""
    return re.sub(rf"log\(({'|'.join(names)})\)", "0", FORMULA)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", type=Path)
    parser.add_argument("scores", nargs="+")
    parser.add_argument("--by", nargs="*", default=[])
    options = parser.parse_args()
    known = {table.name: table for table in TABLES}
    found: dict[str, dict[str, float]] = {}
    for pair in options.scores:
        place, _, file = pair.partition("=")
        name, _, column = place.partition(":")
        if name not in known or not file:
            parser.error(f"{pair}: expected TABLE=SCORES, TABLE one of {', '.join(known)}")
        truth = known[name].read(options.tables, 0)
        accuracy = truth[column or truth.columns[0]].dropna()
        scores, _ = read_recorded([Path(path) for path in file.split(",")])
        asked = variants() | {text: text for text in options.by}
        asked |= {size: size for size in ("params", "flops", "depth") if size in scores}
        for words, by in asked.items():
            if set(find_members(by)[0].members) - set(scores.columns):
                continue
            rated = ratings(scores, by, BETTER).dropna()
            rated = rated[rated.index.isin(accuracy.index)]
            row = found.setdefault(words, {})
            row[f"{place} ({len(rated):,})"] = kendall(rated, accuracy.loc[rated.index])
    table = pd.DataFrame(found).T
    print(f"| | {' | '.join(table.columns)} |\n|---{'|---' * len(table.columns)}|")
    for words, row in table.iterrows():
        cells = ("–" if value != value else f"{value:.3f}" for value in row)
        print(f"| {words} | {' | '.join(cells)} |".replace("-0.", "−0."))


if __name__ == "__main__":
    main()
