"""Where `jacob_cov` and `epe_nas`, as published code has them, correlate rounding errors.

    python benchmarks/rounding.py [SPACE …] [--sample 30]

Both differentiate the sum of all logits of a batch for the inputs. Where batch normalisation by the
batch's statistics is the last that is not linear, that sum is a constant and the gradient zero:
what autograd gives is rounding.

Printed for a random sample of small networks of each space (batch 16 of noise, seed 0): how large
that gradient is at most, relative to one of a sum with random signs, in double precision (median,
least and most); for how many it is rounding; and Spearman's ρ between `jacob_cov` of that gradient
in single and in double precision.
"""

import argparse

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

import zeroshot
from zeroshot.core import Net
from zeroshot.errors import Undefined
from zeroshot.models import find_space
from zeroshot.passes import Forward
from zeroshot.proxies.jacob_cov import jacob_cov

SPACES = (
    *("transnasbench101_micro", "transnasbench101_macro", "nasbench201", "nasbench101"),
    *("natsbench_size", "darts", "mobilenet"),
)


def gradient(net: Net, batch: zeroshot.Batch, signs: Tensor | None = None) -> Tensor:
    """As autograd gives it, of the sum of logits, perhaps with signs."""
    trace = Forward().run(net, batch.to(net.device, net.dtype))
    logits = trace.logits if signs is None else trace.logits * signs
    (found,) = torch.autograd.grad(logits.sum(), trace.inputs)
    return found.flatten(1)


def value(jacobian: Tensor) -> float:
    try:
        return float(jacob_cov(jacobian))
    except Undefined:  # a constant row
        return float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("spaces", nargs="*", default=SPACES)
    parser.add_argument("--sample", type=int, default=30)
    options = parser.parse_args()
    print("| | relative gradient | least | most | rounding | ρ of float32 and float64 |")
    print("|---|---|---|---|---|---|")
    for name in options.spaces:
        space = find_space(name, small=True)
        batch, task = zeroshot.load_batch("noise", batch_size=16, task=space.task)
        archs = space.sample(options.sample, np.random.default_rng(0))
        shares, single, double = [], [], []
        for arch in archs:
            net = space.network(arch, task)
            try:
                single.append(value(gradient(net, batch)))
                net.module.double()
                exact = gradient(net, batch)
                double.append(value(exact))
                coins = torch.randint(0, 2, (16, task.classes), dtype=torch.float64) * 2 - 1
                other = float(gradient(net, batch, coins).abs().max())
                shares.append(float(exact.abs().max()) / other if other else np.nan)
            except RuntimeError:  # the logits ignore the input
                del single[len(double) :]
        told = np.array(shares)[~np.isnan(shares)]
        both = np.isfinite(single) & np.isfinite(double)
        rho = spearmanr(np.array(single)[both], np.array(double)[both]).statistic
        print(
            f"| {name} | {np.median(told):.1e} | {told.min():.1e} | {told.max():.1e} | "
            f"{(told < 1e-12).sum()} of {len(told)} | {rho:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
