"""Pruning as TE-NAS measures it: the published loop against this package, and what is found.

    python benchmarks/prune.py speed [--rounds 3] [--size 72] [--threads 2]
    python benchmarks/prune.py seeds TRUTH.csv.gz --column COLUMN [--seeds 10] [--fidelity fast]

`speed` takes one NAS-Bench-201 supernet and one batch. The published loop runs backward once for
each sample, `retain_graph` set, and copies the gradients of all parameters whose name contains
'weight'; it is timed in turn with `TangentKernel`, in one run, and so are the linear regions. Times
of one measurement are multiplied by 324, as often as the published search measures each; nothing
runs 324 times here.

`seeds` prunes once for each seed and looks the cells up in TRUTH. Seeds that the JSON file holds
already are not run again.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import zeroshot
from zeroshot.eval.tables import read_truth
from zeroshot.models import find_space
from zeroshot.passes import FixedTangentKernel, Forward, Patterns, TangentKernel
from zeroshot.proxies.linear_regions import linear_regions
from zeroshot.proxies.ntk_cond import ntk_cond
from zeroshot.pruning import Pruning

MEASUREMENTS = 324  # 54 options, before and after, three times


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


def speed(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    space = find_space("nasbench201").searched
    batch, task = zeroshot.load_batch("noise", size=options.size, task=space.task, seed=0)
    net = space.network(space.prunable, task)
    patterns = Patterns(samples=3000)

    def thin() -> nn.Module:
        assert net.thin is not None
        module = net.thin()
        assert module is not None
        return module

    crops = patterns._crops(net, batch.inputs)

    def ours() -> Tensor:
        return TangentKernel().run(net, batch, Forward().run(net, batch))

    choices: dict[str, Callable[[], object]] = {
        "kernel, published loop": lambda: published_kernel(net.module, batch.inputs),
        "kernel, TangentKernel": ours,
        "kernel, FixedTangentKernel": lambda: FixedTangentKernel().run(net, batch),
        "regions, published way": lambda: published_regions(thin(), crops),
        "regions, Patterns": lambda: linear_regions(patterns.run(net, batch)),
    }
    taken: dict[str, list[float]] = {name: [] for name in choices}
    for _ in range(options.rounds):
        for name, measure in choices.items():
            start = time.perf_counter()
            measure()
            taken[name].append(time.perf_counter() - start)
    seconds = {name: statistics.median(times) for name, times in taken.items()}
    loop = published_kernel(net.module, batch.inputs).double()
    kernel = ours()
    one, other = float(ntk_cond(loop)), float(ntk_cond(kernel))
    published = seconds["kernel, published loop"]
    facts = {
        "machine": f"{platform.machine()}, {options.threads} threads",
        "versions": {"zeroshot": zeroshot.__version__, "torch": torch.__version__},
        "batch": options.size,
        "rounds": options.rounds,
        "seconds, median": {name: round(value, 3) for name, value in seconds.items()},
        f"hours, times {MEASUREMENTS}": {
            name: round(value * MEASUREMENTS / 3600, 3) for name, value in seconds.items()
        },
        "loop / TangentKernel": round(published / seconds["kernel, TangentKernel"], 2),
        "loop / FixedTangentKernel": round(published / seconds["kernel, FixedTangentKernel"], 2),
        "condition number": {"published loop": one, "TangentKernel": other},
        "condition number, relative difference": abs(one - other) / one,
        "kernel, relative difference": float((loop - kernel).norm() / loop.norm()),
    }
    print(json.dumps(facts, indent=2))


def seeds(options: argparse.Namespace) -> None:
    truth = read_truth(options.truth, options.column)
    places = truth.rank(ascending=False, method="min")
    settings = {
        "zeroshot": zeroshot.__version__,
        "torch": torch.__version__,
        "fidelity": options.fidelity,
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
            pruning = Pruning(
                find_space("nasbench201"), fidelity=options.fidelity, data=options.data, seed=seed
            )
            found = pruning.run().name
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
    fast.add_argument("--size", type=int, default=72)
    fast.add_argument("--threads", type=int, default=2)
    fast.set_defaults(run=speed)
    many = commands.add_parser("seeds")
    many.add_argument("truth", type=Path)
    many.add_argument("--column")
    many.add_argument("--data", default="noise")
    many.add_argument("--fidelity", default="fast")
    many.add_argument("--seeds", type=int, default=10)
    many.add_argument("--out", type=Path, default=Path("prune.json"))
    many.set_defaults(run=seeds)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
