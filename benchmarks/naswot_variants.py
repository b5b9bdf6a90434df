"""NASWOT as we count codes, and as its authors' code counts them, on NAS-Bench-201.

    python benchmarks/naswot_variants.py SCORES.csv TRUTH.csv.gz --column COLUMN

For the architectures of SCORES, seed 0, batch 64 of noise, C=16, N=5. Variants:

- ours: codes of operations that reach the output;
- dead too: also of operations that do not ('none' multiplies by zero and so keeps them visited);
- authors': dead too, and every code of a cell or reduction twice, for their hooks match the class
  names of both the activation and the block around it.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch
from scipy.stats import kendalltau
from torch import Tensor, nn

import zeroshot
from zeroshot.core import Net
from zeroshot.eval.tables import read_scores, read_truth
from zeroshot.observe import watching_activations
from zeroshot.proxies.naswot import naswot
from zeroshot.spaces import NASBENCH201, Arch
from zeroshot.spaces.cells import EDGES, NONE, Cell, Operations


class FullCell(nn.Module):
    """A cell that computes everything, and multiplies by zero where the operation is 'none'."""

    def __init__(self, genes: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.genes = genes
        self.operations = nn.ModuleList(
            nn.Identity() if op == NONE else Operations(channels, channels).mixed((op,))
            for op in genes
        )

    def forward(self, inputs: Tensor) -> Tensor:
        nodes = [inputs]
        for node in range(1, 4):
            terms = [
                operation(nodes[i]) * (0.0 if op == NONE else 1.0)
                for (i, j), op, operation in zip(EDGES, self.genes, self.operations, strict=True)
                if j == node
            ]
            nodes.append(torch.stack(terms).sum(0))
        return nodes[-1]


def codes_of(net: Net, inputs: Tensor) -> tuple[Tensor, ...]:
    codes: list[Tensor] = []
    with torch.no_grad(), watching_activations(codes):
        net(inputs)
    return tuple(code.flatten(1) for code in codes)


def full(arch: Arch) -> Net:
    net = NASBENCH201.network(arch)
    body = net.module.body
    for position, module in enumerate(body):
        if isinstance(module, Cell):
            width = 16 * 2 ** (position // 6)
            body[position] = FullCell(arch.genes, width)
    return net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scores", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--column")
    options = parser.parse_args()
    torch.manual_seed(0)
    batch, _ = zeroshot.load_batch("noise", batch_size=64)
    truth = read_truth(options.truth, options.column)
    rows = []
    for text in read_scores(options.scores)["arch"].unique():
        arch = NASBENCH201.parse(text)
        ours = codes_of(NASBENCH201.network(arch), batch.inputs)
        everything = codes_of(full(arch), batch.inputs)
        doubled = (*everything, *everything[:-1])  # the last is the activation of the head
        found = (truth[text], naswot(ours), naswot(everything), naswot(doubled))
        rows.append([float(value) for value in found])
    table = pd.DataFrame(rows, columns=["accuracy", "ours", "dead too", "authors'"])
    for name in table.columns[1:]:
        print(f"{name:10s} Kendall {kendalltau(table[name], table.accuracy).statistic:.3f}")


if __name__ == "__main__":
    main()
