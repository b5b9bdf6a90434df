"""Pruning as TE-NAS measures it: the published loop against this package, and what is found.

    python benchmarks/prune.py speed [--rounds 3]
    python benchmarks/prune.py seeds TRUTH.csv.gz --column COLUMN [--seeds 10] [--fidelity fast]
        [--criterion te_nas] [--method prune] [--finalists 1] [--data noise] [--out prune.json]

`speed` times what measuring an option of the NAS-Bench-201 supernet takes, and multiplies it with
the 54 options of a search; no whole search runs. The published way: every option a module of its
own with its own ReLU or pooling, times a weight that is a softmax of parameters (which get
gradients as well), one backward run for each of 72 samples with `retain_graph` set, the gradients
of all parameters whose name contains 'weight' copied side by side, on all threads.
An option takes six such kernels (before and after dropping it, three times), of which one is timed.
Ours is timed as `zeroshot prune` does it: a worker process for each core, some options at a time.

`seeds` prunes once for each seed and looks the cells up in TRUTH. Seeds that the JSON file holds
already are not run again.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import zeroshot
from zeroshot import malloc
from zeroshot.core import Net
from zeroshot.eval.tables import read_truth
from zeroshot.models import find_space
from zeroshot.passes import Patterns, TangentKernel
from zeroshot.proxies.ntk_cond import ntk_cond
from zeroshot.pruning import Pruning, Supernets
from zeroshot.run import processor
from zeroshot.spaces.mixed import Mixed
from zeroshot.spaces.nasbench201 import EDGES, OPS, Cell
from zeroshot.spread import spread

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


def speed(options: argparse.Namespace) -> None:
    cores = torch.get_num_threads()
    space = find_space("nasbench201").searched
    batch, task = zeroshot.load_batch("noise", batch_size=72, task=space.task, seed=0)
    net = space.network(space.prunable, task)
    published = as_published(net)
    thin = net.thin() if net.thin else None
    assert thin is not None
    crops = Patterns(samples=3000)._crops(net, batch.inputs)

    def kernel() -> Tensor:
        return TangentKernel().run(net, batch)

    # What is timed, on how many threads, and how many options it measures.
    choices: dict[str, tuple[int, float, Callable[[], object]]] = {
        "published kernel": (cores, 1 / 6, lambda: published_kernel(published, batch.inputs)),
        "published regions": (cores, 1 / 6, lambda: published_regions(thin, crops)),
        "published kernel, one thread": (
            1,
            1 / 6,
            lambda: published_kernel(published, batch.inputs),
        ),
        "TangentKernel, one thread": (1, 1 / 6, kernel),
        "official": (1, 2, lambda: some_options("official", 2, cores)),
        "fast": (1, 12, lambda: some_options("fast", 12, cores)),
    }
    some_options("fast", 2, cores)  # starts the worker processes
    taken: dict[str, list[float]] = {name: [] for name in choices}
    for _ in range(options.rounds):
        for name, (threads, count, measure) in choices.items():
            torch.set_num_threads(threads)
            start = time.perf_counter()
            measure()
            taken[name].append((time.perf_counter() - start) / count)
    seconds = {name: statistics.median(times) for name, times in taken.items()}
    whole = seconds["published kernel"] + seconds["published regions"]
    loop, ours = published_kernel(published, batch.inputs).double(), kernel()
    one, other = float(ntk_cond(loop)), float(ntk_cond(ours))
    # In single precision κ is rounded, differently in each; in double the two must agree.
    net.module.double()
    exact = batch.to(torch.device("cpu"), torch.float64)
    loop = published_kernel(as_published(net), exact.inputs)
    ours = TangentKernel().run(net, exact)
    gap = abs(float(ntk_cond(ours)) / float(ntk_cond(loop)) - 1)
    if gap > 1e-4:
        raise SystemExit(f"in float64 the two condition numbers differ by {gap:.1e}")
    facts = {
        "machine": f"{processor()}, {cores} cores",
        "versions": {"zeroshot": zeroshot.__version__, "torch": torch.__version__},
        "rounds": options.rounds,
        "seconds an option, median": {name: round(value, 2) for name, value in seconds.items()},
        f"minutes of {OPTIONS} options": {
            "published": round(OPTIONS * whole / 60, 1),
            "official": round(OPTIONS * seconds["official"] / 60, 1),
            "fast": round(OPTIONS * seconds["fast"] / 60, 1),
        },
        "published / official": round(whole / seconds["official"], 1),
        "published / fast": round(whole / seconds["fast"], 1),
        "one thread: published kernel / TangentKernel": round(
            seconds["published kernel, one thread"] / seconds["TangentKernel, one thread"], 2
        ),
        "condition number": {"published": one, "TangentKernel": other},
        "condition number, relative difference": abs(one - other) / one,
        "condition number, relative difference in float64": gap,
    }
    print(json.dumps(facts, indent=2))


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
    malloc.hold()  # as the package's own processes do: for the loops as well
    options.run(options)


if __name__ == "__main__":
    main()
