"""TE-NAS' pruning on NAS-Bench-201 for several seeds: what it finds, and how long it takes.

    python benchmarks/te_nas.py TRUTH.csv.gz --column COLUMN [--data noise] [--seeds 10]

Prints the accuracy of each found cell in TRUTH, its rank among all, and the mean over seeds.
"""

import argparse
import time
from pathlib import Path

import zeroshot
from zeroshot.eval.tables import read_truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--column")
    parser.add_argument("--data", default="noise")
    parser.add_argument("--fidelity", default="fast")
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    truth = read_truth(options.truth, options.column)
    places = truth.rank(ascending=False, method="min")
    accuracies = []
    for seed in range(options.seeds):
        start = time.perf_counter()
        found = zeroshot.prune(
            "nasbench201", fidelity=options.fidelity, data=options.data, seed=seed
        ).name
        seconds = time.perf_counter() - start
        accuracies.append(float(truth[found]))
        place = f"rank {int(places[found]):,}"
        print(f"seed {seed}: {truth[found]:.2f} %, {place}, {seconds:.0f} s, {found}", flush=True)
    mean = sum(accuracies) / len(accuracies)
    spread = (sum((a - mean) ** 2 for a in accuracies) / max(1, len(accuracies) - 1)) ** 0.5
    print(f"mean {mean:.2f} ± {spread:.2f} (standard deviation) over {len(accuracies)} seeds")


if __name__ == "__main__":
    main()
