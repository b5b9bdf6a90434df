"""What operations that cannot reach the output do to proxies, and so to published figures.

    python benchmarks/dead_operations.py TABLES [--only nasbench201,transnasbench101] [--sample 300]

The package scores the network that is computed; published code scores the network that is written,
with weights and activations that are multiplied by zero. TABLES is the folder of accuracies, the
sample and the small networks are those of quality.py: batch 32 of noise, seed 0. Printed:
Spearman's ρ with the accuracies both ways, over the cells that both rate.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch
from joblib import Parallel, delayed
from quality import TABLES

import zeroshot
from zeroshot.core import Net
from zeroshot.eval.correlate import spearman
from zeroshot.models import find_space
from zeroshot.proxies import PROXIES

NAMES = (
    *("l2_norm", "grad_norm", "snip", "grasp", "fisher", "synflow", "jacob_cov", "naswot", "zen"),
    *("epe_nas", "zico"),
)
CHOSEN = tuple(proxy for proxy in PROXIES if proxy.name in NAMES)


def both(space_name: str, text: str) -> list[dict[str, float]]:
    """The scores of the canonical network, and of the one that is written."""
    space = find_space(space_name, small=True)
    arch = space.parse(text)
    batch, task = zeroshot.load_batch("noise", batch_size=32, task=space.task)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    networks = space.network(arch, task), Net(space.build(arch, task))
    return [dict(zeroshot.evaluate(net, batch, CHOSEN)) for net in networks]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", type=Path)
    parser.add_argument("--only", default="nasbench201,transnasbench101")
    parser.add_argument("--sample", type=int, default=300)
    options = parser.parse_args()
    for table in TABLES:
        if table.name not in options.only.split(","):
            continue
        truth = table.read(options.tables, options.sample)[table.columns[0]]
        jobs = (delayed(both)(table.space, arch) for arch in truth.index)
        found = list(Parallel(n_jobs=-1)(jobs))
        ours, theirs = (pd.DataFrame([pair[i] for pair in found], truth.index) for i in (0, 1))
        print(f"\n| {table.name} | computed (ours) | written |\n|---|---|---|")
        for proxy in CHOSEN:
            sign = 1 if proxy.better == "higher" else -1
            known = ours[proxy.name].notna() & theirs[proxy.name].notna()
            values = (
                sign * spearman(scores[proxy.name][known], truth[known])
                for scores in (ours, theirs)
            )
            cells = " | ".join(f"{value:.2f}" for value in values)
            print(f"| `{proxy.name}` | {cells} |".replace("-0.", "−0."), flush=True)


if __name__ == "__main__":
    main()
