"""Pruning as TE-NAS measures it: the published loop against this package, and what is found.

    python benchmarks/prune.py speed [--rounds 3]
    python benchmarks/prune.py seeds TRUTH.csv.gz --column COLUMN [--seeds 10] [--fidelity fast]
        [--criterion te_nas] [--method prune] [--finalists 1] [--data noise] [--out prune.json]

`speed` times what measuring an option of the NAS-Bench-201 supernet takes, and multiplies it with
the 54 options of a search; no whole search runs. The published way: every option a module of its
own with its own ReLU or pooling, times a weight that is a softmax of parameters (which get
gradients as well), one backward run for each of 72 samples with `retain_graph` set, the gradients
of all parameters whose name contains 'weight' copied side by side, on all threads.
An option takes six such kernels (before and after dropping it, three times), of which one is
timed: in a plain Python process, as whoever runs that code does, and once more in one that holds
the memory that it frees, as the package's processes do, so that what is due to that is seen.
Ours is timed as `zeroshot prune` does it: a worker process for each core, some options at a time.

`seeds` prunes once for each seed and looks the cells up in TRUTH. Seeds that the JSON file holds
already are not run again.
"""

import argparse
import copy
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from apart import Apart, Work, seconds_of
from torch import Tensor, nn

import zeroshot
from zeroshot import malloc
from zeroshot.core import Batch, Net
from zeroshot.eval.tables import read_truth
from zeroshot.models import find_space
from zeroshot.passes import Patterns, TangentKernel
from zeroshot.proxies.ntk_cond import ntk_cond
from zeroshot.pruning import Pruning
from zeroshot.record import processor
from zeroshot.spaces.cells import EDGES, OPS, Cell
from zeroshot.spaces.mixed import Mixed
from zeroshot.spread import spread
from zeroshot.supernets import Supernets

ONE = "one thread"
OPTIONS = 54  # of a search; each is measured before and after dropping it, three times


def published_kernel(module: nn.Module, inputs: Tensor) -> Tensor:
    """One backward run for each sample, gradients kept side by side."""
    module.train()
    logits = module(inputs)
    rows = []
    for sample in range(len(inputs)):
        module.zero_grad()
        one = logits[sample : sample + 1]
        one.backward(torch.ones_like(one), retain_graph=True)
        rows.append(
            torch.cat(
                [
                    parameter.grad.flatten().clone()
                    for name, parameter in module.named_parameters()
                    if "weight" in name and parameter.grad is not None
                ]
            )
        )
    jacobian = torch.stack(rows)
    return jacobian @ jacobian.T


def published_regions(module: nn.Module, crops: Tensor) -> int:
    """Different patterns of all ReLUs over the crops, by comparing each with each."""
    codes: list[Tensor] = []
    hooks = [
        relu.register_forward_hook(lambda _, __, out: codes.append(out.detach().sign().flatten(1)))
        for relu in module.modules()
        if isinstance(relu, nn.ReLU)
    ]
    with torch.no_grad():
        module.train()(crops)
    for hook in hooks:
        hook.remove()
    signs = torch.cat(codes, dim=1)
    different = signs @ (1 - signs).T
    same = different + different.T == 0
    return round(float((1 / same.sum(1)).sum()))


class PublishedMixture(nn.Module):
    """Every open operation times its weight, then their sum.

    The weights are a softmax over parameters, equal as long as TE-NAS prunes. As these are
    parameters, a backward run computes gradients for them too, though nobody looks at them.
    """

    def __init__(self, operations: nn.ModuleDict, alphas: nn.Parameter, edge: int) -> None:
        super().__init__()
        self.operations, self.alphas, self.edge = operations, alphas, edge

    def forward(self, inputs: Tensor, _: object = None) -> Tensor:
        """The mixture of this edge."""
        weights = self.alphas[self.edge].softmax(0)
        parts = zip(self.operations.values(), weights, strict=True)
        found = (op(inputs) * weight for op, weight in parts if weight > 0.01)
        return sum(found, start=torch.zeros(()))


def as_published(net: Net) -> nn.Module:
    """The supernet with nothing shared between options, in PyTorch's default layout."""
    module = copy.deepcopy(net.module).to(memory_format=torch.contiguous_format)
    cells = [part for part in module.modules() if isinstance(part, Cell)]
    # Options of an edge are all open; TE-NAS drops zero before it begins.
    alphas = nn.Parameter(torch.zeros(len(EDGES), len(OPS) - 1))
    for cell in cells:
        cell.is_mixed = False
        for edge, (name, mixture) in enumerate(cell.mixtures.items()):
            assert isinstance(mixture, Mixed)
            cell.mixtures[name] = PublishedMixture(mixture, alphas, edge)
    return module


def supernet() -> tuple[Net, Batch]:
    """TE-NAS' supernet of NAS-Bench-201, and the images that its kernel is of."""
    space = find_space("nasbench201").searched
    batch, task = zeroshot.load_batch("noise", batch_size=72, task=space.task, seed=0)
    return space.network(space.prunable, task), batch


def published() -> dict[str, Callable[[], Any]]:
    """What the published code does for a sixth of an option."""
    net, batch = supernet()
    module = as_published(net)
    thin = net.thin() if net.thin else None
    assert thin is not None
    crops = Patterns(samples=3000)._crops(net, batch.inputs)
    return {
        "kernel": partial(published_kernel, module, batch.inputs),
        "regions": partial(published_regions, thin, crops),
    }


def speed(options: argparse.Namespace) -> None:
    cores = torch.get_num_threads()
    net, batch = supernet()
    held = published()
    ours: dict[str, tuple[int, Work]] = {  # how many options are measured
        "official": (2, partial(some_options, "official", 2, cores)),
        "fast": (12, partial(some_options, "fast", 12, cores)),
    }
    alone = partial(TangentKernel().run, net, batch)
    some_options("fast", 2, cores)  # starts the worker processes
    taken: dict[str, list[float]] = defaultdict(list)
    with Apart(published) as plain:
        for part in held:  # what memory they are the first to touch the system has to find
            plain.seconds(part, cores)
            held[part]()
        for _ in range(options.rounds):
            for part in held:
                taken[f"published {part}"].append(6 * plain.seconds(part, cores))
                taken[f"published {part}, memory held"].append(6 * seconds_of(held[part]))
            for name, (count, measure) in ours.items():
                start = time.perf_counter()
                measure()
                taken[name].append((time.perf_counter() - start) / count)
            torch.set_num_threads(1)
            taken[f"published kernel, {ONE}"].append(6 * plain.seconds("kernel", 1))
            taken[f"published kernel, memory held, {ONE}"].append(6 * seconds_of(held["kernel"]))
            taken[f"TangentKernel, {ONE}"].append(6 * seconds_of(alone))
            torch.set_num_threads(cores)
    for suffix in ("", ", memory held"):
        parts = zip(*(taken[f"published {part}{suffix}"] for part in held), strict=True)
        taken[f"published{suffix}"] = [sum(pair) for pair in parts]
    kernels = f"{{}}, {ONE}: published kernel / TangentKernel".format
    compared = {  # ratios, round by round
        "published / official": ("published", "official"),
        "published / fast": ("published", "fast"),
        "memory held: published / official": ("published, memory held", "official"),
        "memory held: published / fast": ("published, memory held", "fast"),
        kernels("plain"): (f"published kernel, {ONE}", f"TangentKernel, {ONE}"),
        kernels("memory held"): (f"published kernel, memory held, {ONE}", f"TangentKernel, {ONE}"),
    }
    facts = {
        "machine": f"{processor()}, {cores} cores",
        "versions": {"zeroshot": zeroshot.__version__, "torch": torch.__version__},
        "rounds": options.rounds,
        "seconds an option, median": {
            name: round(statistics.median(times), 2) for name, times in taken.items()
        },
        f"minutes of {OPTIONS} options": {
            name: round(OPTIONS * statistics.median(taken[name]) / 60, 1)
            for name in ("published", "published, memory held", *ours)
        },
        "ratios: median, least, most of the rounds": {
            name: spread_of(taken[one], taken[other]) for name, (one, other) in compared.items()
        },
        **agreement(net, batch, held["kernel"]),
    }
    print(json.dumps(facts, indent=2))


def spread_of(one: list[float], other: list[float]) -> list[float]:
    """The median, least and most of ratios."""
    ratios = sorted(a / b for a, b in zip(one, other, strict=True))
    return [round(ratio, 1) for ratio in (statistics.median(ratios), ratios[0], ratios[-1])]


def agreement(net: Net, batch: Batch, loop: Callable[[], Tensor]) -> dict[str, object]:
    """κ of both; SystemExit if they differ by more than 1e-4 in float64.

    In single precision κ is rounded, differently in each.
    """
    one = float(ntk_cond(loop().double()))
    other = float(ntk_cond(TangentKernel().run(net, batch)))
    net.module.double()
    exact = batch.to(torch.device("cpu"), torch.float64)
    expected = float(ntk_cond(published_kernel(as_published(net), exact.inputs)))
    gap = abs(float(ntk_cond(TangentKernel().run(net, exact))) / expected - 1)
    if gap > 1e-4:
        raise SystemExit(f"in float64 the two condition numbers differ by {gap:.1e}")
    return {
        "condition number": {"published": one, "TangentKernel": other},
        "condition number, relative difference": abs(one - other) / one,
        "condition number, relative difference in float64": gap,
    }


def some_options(fidelity: str, count: int, workers: int) -> None:
    """Measure the first options of the first round, as `zeroshot prune` does."""
    pruning = Pruning(find_space("nasbench201"), fidelity=fidelity)
    arch = pruning.space.prunable
    items = [
        (arch, axis, option, 1) for axis, options in enumerate(arch.open) for option in options
    ]
    measure = Supernets.repeats
    list(spread(measure, pruning.supernets, items[:count], workers, "the batch", in_order=True))


def seeds(options: argparse.Namespace) -> None:
    truth = read_truth(options.truth, options.column)
    places = truth.rank(ascending=False, method="min")
    settings = {
        "zeroshot": zeroshot.__version__,
        "torch": torch.__version__,
        "criterion": options.criterion,
        "method": options.method,
        "fidelity": options.fidelity,
        "finalists": options.finalists,
        "data": options.data,
        "truth": options.truth.name,
        "column": options.column,
    }
    held = {"settings": settings, "runs": {}}
    if options.out.exists():
        held = json.loads(options.out.read_text())
        if held["settings"] != settings:
            raise SystemExit(f"{options.out} holds runs with other settings: {held['settings']}")
    for seed in range(options.seeds):
        if str(seed) not in held["runs"]:
            start = time.perf_counter()
            found = zeroshot.prune(
                "nasbench201",
                criterion=options.criterion,
                method=options.method,
                fidelity=options.fidelity,
                finalists=options.finalists,
                data=options.data,
                seed=seed,
            ).name
            held["runs"][str(seed)] = {
                "cell": found,
                "accuracy": float(truth[found]),
                "rank": int(places[found]),
                "seconds": round(time.perf_counter() - start, 1),
            }
            options.out.write_text(json.dumps(held, indent=2) + "\n")
        run = held["runs"][str(seed)]
        print(
            f"| {seed} | {run['accuracy']:.2f} % | {run['rank']:,} | {run['seconds']:.0f} s | "
            f"`{run['cell']}` |",
            flush=True,
        )
    accuracies = [held["runs"][str(seed)]["accuracy"] for seed in range(options.seeds)]
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    print(
        f"mean {statistics.mean(accuracies):.2f} ± {spread:.2f} (standard deviation), least "
        f"{min(accuracies):.2f} % over {len(accuracies)} seeds, among {len(truth):,} cells"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    fast = commands.add_parser("speed")
    fast.add_argument("--rounds", type=int, default=3)
    fast.set_defaults(run=speed)
    many = commands.add_parser("seeds")
    many.add_argument("truth", type=Path)
    many.add_argument("--column")
    many.add_argument("--data", default="noise")
    many.add_argument("--criterion", default="te_nas")
    many.add_argument("--method", default="prune")
    many.add_argument("--fidelity", default="fast")
    many.add_argument("--finalists", type=int, default=1)
    many.add_argument("--seeds", type=int, default=10)
    many.add_argument("--out", type=Path, default=Path("prune.json"))
    many.set_defaults(run=seeds)
    options = parser.parse_args()
    malloc.hold()  # as the package's own processes do
    options.run(options)


if __name__ == "__main__":
    main()
