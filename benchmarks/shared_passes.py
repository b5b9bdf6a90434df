"""Eight measures together against each alone, on one NAS-Bench-201 network, in one run.

    python benchmarks/shared_passes.py [--architecture 13714] [--rounds 3]

Prints seconds of each (the least of `rounds`), their sum, and the ratio. The networks have C=16,
N=5, the batch 64 noise images; every round goes through all measures in turn, so that a machine
that changes its speed changes it for all.
"""

import argparse
import json
import platform
import time

import torch

import zeroshot
from zeroshot.models import find_proxies
from zeroshot.spaces import NASBENCH201

EIGHT = "fisher,grad_norm,grasp,jacob_cov,plain,snip,synflow,synflow_bn"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architecture", default="13714")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    batch, task = zeroshot.load_batch("noise", batch_size=64)
    net = NASBENCH201.network(NASBENCH201.parse(options.architecture), task)
    eight = find_proxies(EIGHT)
    choices = {proxy.name: (proxy,) for proxy in eight} | {"together": eight}
    zeroshot.evaluate(net, batch, eight)  # warm up
    best = dict.fromkeys(choices, float("inf"))
    for _ in range(options.rounds):
        for name, proxies in choices.items():
            start = time.perf_counter()
            zeroshot.evaluate(net, batch, proxies)
            best[name] = min(best[name], time.perf_counter() - start)
    alone = sum(seconds for name, seconds in best.items() if name != "together")
    facts = {
        "architecture": options.architecture,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": {"zeroshot": zeroshot.__version__, "torch": torch.__version__},
        "seconds": {name: round(seconds, 3) for name, seconds in best.items()},
        "sum of each alone": round(alone, 3),
        "together / sum of each alone": round(best["together"] / alone, 3),
    }
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
