"""How fast the package is: beside plain runs of the same network, the literature's loops, floors.

    python benchmarks/performance.py [--quick] [--check] [--out benchmarks/performance.json]
        [--architectures 13714,5] [--rounds 3] [--threads N] [--plots docs]

Measured are (a) proxies alone and together, in multiples of one plain forward and backward run of
the network; (b) the loops of `naive.py` beside the package, whose results have to agree to 1e-4 in
float64 or no ratio is given; (c) scaling with workers, batch, network and number of architectures;
(d) peak memory; and the floors of four passes: multiply-adds over the measured peak, and bytes that
operations read and write over the measured bandwidth. Whatever is compared runs in turn, round by
round, in one process; a ratio is the median of the rounds' ratios. With `--threads 1` seconds are
those of the processor, which other jobs on the machine change little. On CUDA the device is waited
for around every timing.

`--quick` takes one architecture and one round, and leaves (c), (d), floors and commands out.
`--check` measures, compares the ratios with those of the committed file, and ends with code 1
and a line for each that is more than `TOLERANCE` times as large: a slower machine changes no ratio.
"""

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import naive
import numpy as np
import torch
import torch.nn.functional as F
from apart import Work, seconds_of
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

import zeroshot
from zeroshot import malloc, passes
from zeroshot.core import Batch, Net
from zeroshot.models import find_proxies
from zeroshot.passes.footprint import counting_memory
from zeroshot.record import processor
from zeroshot.run import Run, execute
from zeroshot.spaces import NASBENCH201
from zeroshot.spaces.nasbench201 import NasBench201
from zeroshot.spaces.space import Arch, Task

COMMITTED = Path(__file__).with_suffix(".json")
TOLERANCE = 1.5  # times the committed ratio; two runs on a busy machine differ by up to 1.3
AGREE = 1e-4

EIGHT = tuple(naive.EIGHT)
COMBINED = (
    *("naswot", "synflow", "jacob_cov", "zico"),
    *("az_expressivity", "az_progressivity", "az_trainability", "flops"),
)
Seconds = dict[str, list[float]]


# -- measuring -------------------------------------------------------------------------------------


def timed(tasks: Mapping[str, Work], rounds: int) -> Seconds:
    """Seconds of each task in each round.

    Each runs once before that does not count: what memory it is the first to touch the system has
    to find, which takes as long as some tasks.
    """
    found: Seconds = {name: [] for name in tasks}
    for task in tasks.values():
        task()
    for _ in range(rounds):
        for name, task in tasks.items():
            found[name].append(seconds_of(task))
    return found


def over(seconds: Seconds, name: str, unit: str) -> float:
    """The median over rounds of how many times as long one task takes as another."""
    pairs = zip(seconds[name], seconds[unit], strict=True)
    return statistics.median(one / other for one, other in pairs)


@contextmanager
def single_threaded() -> Iterator[None]:
    """As the package runs networks when there are many."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def plain_run(net: Net, batch: Batch) -> Work:
    """One forward and backward run of the mean loss, in the network's own layout."""
    module = copy.deepcopy(net.module).train().requires_grad_()

    def run() -> None:
        module.zero_grad()
        F.cross_entropy(module(batch.inputs), batch.targets).backward()

    return run


def peaks(device: torch.device) -> dict[str, float]:
    """The machine's best: multiply-adds of a matrix product and a convolution, bytes of a copy."""
    a, b = (torch.randn(2048, 2048, device=device) for _ in range(2))
    maps = torch.randn(64, 64, 32, 32, device=device).to(memory_format=torch.channels_last)
    kernel = torch.randn(64, 64, 3, 3, device=device).to(memory_format=torch.channels_last)
    long = torch.randn(2**25, device=device)
    other = torch.empty_like(long)
    seconds = timed(
        {
            "gemm": lambda: a @ b,
            "convolution": lambda: F.conv2d(maps, kernel, padding=1),
            "copy": lambda: other.copy_(long),
        },
        8,
    )
    return {
        "gemm, multiply-adds a second": 2048**3 / min(seconds["gemm"]),
        "convolution, multiply-adds a second": 64 * 32**2 * 9 * 64**2 / min(seconds["convolution"]),
        "copy, bytes a second": 2 * 4 * len(long) / min(seconds["copy"]),
    }


# -- (a) and (b): proxies, alone, together, and beside naive loops ---------------------------------


def double(net: Net) -> Net:
    """The same network in float64."""
    return replace(net, module=copy.deepcopy(net.module).double(), cost=None, thin=None)


def agreeing(net: Net, batch: Batch, names: Sequence[str]) -> dict[str, float]:
    """How far the package is from the naive loops, relatively, both in float64.

    In float32, rounding alone moves some proxies by more than 1e-4: of an input that is almost 0,
    another sign is seen in another memory layout, and `plain` is a sum that cancels.
    """
    few = Batch(batch.inputs[:16], batch.targets[:16])
    exact = double(net), few.to(net.device, torch.float64)
    ours = zeroshot.evaluate(*exact, find_proxies(",".join(names)))
    found = {}
    for name in names:
        theirs = (naive.EIGHT | naive.OTHERS)[name](*exact)
        gap = abs(ours[name] - theirs)
        found[name] = 0.0 if ours[name] == theirs else gap / max(abs(theirs), 1e-300)
    return found


def proxies_alone(net: Net, batch: Batch, rounds: int, names: Sequence[str]) -> dict[str, float]:
    """Each proxy, and all together, in forward and backward runs."""
    tasks: dict[str, Work] = {"unit": plain_run(net, batch)}
    for name in names:
        tasks[name] = partial(zeroshot.evaluate, net, batch, find_proxies(name))
    tasks["all together"] = partial(zeroshot.evaluate, net, batch, find_proxies(",".join(names)))
    seconds = timed(tasks, rounds)
    return {name: round(over(seconds, name, "unit"), 3) for name in tasks if name != "unit"}


def one_network(net: Net, batch: Batch, small: Net, rounds: int) -> dict[str, Any]:
    """The two groups of the targets, each proxy of them alone, and the naive loops."""
    names = tuple(dict.fromkeys((*EIGHT, *COMBINED, "linear_regions")))
    default = replace(net, module=naive.copied(net))
    tasks: dict[str, Work] = {
        "unit": plain_run(net, batch),
        "unit, default layout": plain_run(default, batch),
    }
    for name, group in (("eight", EIGHT), ("combined", COMBINED)):
        tasks[name] = partial(zeroshot.evaluate, net, batch, find_proxies(",".join(group)))
    for name in names:
        tasks[name] = partial(zeroshot.evaluate, net, batch, find_proxies(name))
    for name in names:
        loop = (naive.EIGHT | naive.OTHERS)[name]
        tasks[f"naive {name}"] = partial(loop, net, batch)
    seconds = timed(tasks, rounds)
    for name, group in (("eight", EIGHT), ("combined", COMBINED)):
        rows = zip(*(seconds[f"naive {member}"] for member in group), strict=True)
        seconds[f"naive {name}"] = [sum(row) for row in rows]
    gaps = agreeing(small, batch, [name for name in names if name != "linear_regions"])
    regions = zeroshot.evaluate(net, batch, find_proxies("linear_regions"))["linear_regions"]
    gaps["linear_regions"] = abs(regions - naive.linear_regions(net, batch))
    gaps |= {
        name: max(gaps[member] for member in g)
        for name, g in (("eight", EIGHT), ("combined", COMBINED))
    }
    rows = {}
    for name in ("eight", "combined", *names):
        rows[name] = {
            "forward+backward runs": round(over(seconds, name, "unit"), 3),
            "naive / ours": round(over(seconds, f"naive {name}", name), 2)
            if gaps[name] <= AGREE
            else None,
            "relative difference in float64": gaps[name],
        }
    return {
        "seconds of a forward+backward run": round(statistics.median(seconds["unit"]), 4),
        "the same in the default layout / it": round(
            over(seconds, "unit, default layout", "unit"), 3
        ),
        "rows": rows,
    }


def kernel_of(net: Net, batch: Batch, small: Net, rounds: int) -> dict[str, Any]:
    """The exact tangent kernel of 32 samples beside the loop that keeps the graph."""
    few = Batch(batch.inputs[:32], batch.targets[:32])
    proxy = find_proxies("ntk_cond")
    seconds = timed(
        {
            "unit": plain_run(net, few),
            "ours": lambda: zeroshot.evaluate(net, few, proxy),
            "naive": lambda: naive.ntk_cond(net, few),
        },
        rounds,
    )
    gap = agreeing(small, few, ["ntk_cond"])["ntk_cond"]
    return {
        "forward+backward runs": round(over(seconds, "ours", "unit"), 2),
        "naive / ours": round(over(seconds, "naive", "ours"), 2) if gap <= AGREE else None,
        "relative difference in float64": gap,
        "seconds": round(statistics.median(seconds["ours"]), 2),
    }


# -- (c): scaling ----------------------------------------------------------------------------------


def scaling(batch: Batch, task: Task, archs: list[Arch], device: str) -> dict[str, Any]:
    """Seconds a network: by batch and width on one thread, by workers and number of networks."""
    proxies = find_proxies(",".join(COMBINED))
    arch = NASBENCH201.parse("13714")

    def seconds(channels: int, n: int) -> float:
        net = NasBench201(channels=channels, cells=3).network(arch, task, device=device)
        some = Batch(batch.inputs[:n].to(device), batch.targets[:n].to(device))
        alone = timed({"": lambda: zeroshot.evaluate(net, some, proxies)}, 3)
        return round(min(alone[""]), 4)

    def rate(count: int, workers: int) -> float:
        space = NASBENCH201.small
        run = Run(space, tuple(archs[:count]), batch, proxies, (0,), task, device=device)
        start = time.perf_counter()
        execute(run, workers=workers)
        return round((time.perf_counter() - start) / count, 4)

    with single_threaded():
        by_batch = {str(n): seconds(4, n) for n in (8, 16, 32, 64)}
        by_channels = {str(c): seconds(c, 64) for c in (4, 8, 16, 32)}
    rate(2, 2)  # starts the worker processes
    return {
        "by batch (4 channels, 3 cells)": by_batch,
        "by channels (3 cells, batch 64)": by_channels,
        "by workers (24 small networks)": {str(w): rate(24, w) for w in (1, 2)},
        "by networks (small, 2 workers)": {str(n): rate(n, 2) for n in (6, 12, 24, 48)},
    }


# -- (d): memory, and floors -----------------------------------------------------------------------


def memory(net: Net, batch: Batch, names: Sequence[str]) -> dict[str, float]:
    """MiB of tensors alive at the worst moment, parameters included, of each proxy."""

    def peak(task: Work) -> float:
        with counting_memory(net.module.parameters()) as counted:
            task()
        return round(counted.peak / 2**20, 1)

    found = {"forward+backward": peak(plain_run(net, batch))}
    for name in names:
        found[name] = peak(partial(zeroshot.evaluate, net, batch, find_proxies(name)))
    return found


class counting_bytes(TorchDispatchMode):  # noqa: N801 - reads as `with counting…`
    """Count the bytes that operations read and write, each tensor once for each operation."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        made = [t for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
        read = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        old = {t.untyped_storage()._cdata for t in read}
        if any(t.untyped_storage()._cdata not in old for t in made) or func._schema.is_mutable:
            self.total += sum(t.nbytes for t in (*read, *made))  # views move nothing
        return result


def floors(net: Net, batch: Batch, best: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """What four passes take, beside what their arithmetic and their bytes would take at best."""
    few = Batch(batch.inputs[:32], batch.targets[:32])
    trace = passes.Forward().run(net, batch)
    tasks: dict[str, Work] = {
        "forward": lambda: passes.Forward().run(net, batch),
        "gradients of the loss": lambda: passes.LossBackward().run(net, batch, trace),
        "tangent kernel, 32 rows": lambda: passes.TangentKernel().run(net, few),
        "linear regions, 3,000 crops": lambda: passes.Patterns().run(net, batch),
    }
    peak = max(best[name] for name in best if "multiply-adds" in name)
    found = {}
    for name, task in tasks.items():
        with FlopCounterMode(display=False) as counter:
            task()
        with counting_bytes() as moved:
            task()
        seconds = seconds_of(task)
        adds = counter.get_total_flops() / 2
        found[name] = {
            "seconds": round(seconds, 4),
            "multiply-adds": adds,
            "bytes": float(moved.total),
            "arithmetic floor, seconds": round(adds / peak, 4),
            "bytes floor, seconds": round(moved.total / best["copy, bytes a second"], 4),
        }
    return found


# -- commands --------------------------------------------------------------------------------------


def commands() -> dict[str, float]:
    """Seconds of commands and imports, start-up included: the least of three, rankings once."""

    def least(*words: str, times: int = 3) -> float:
        found = []
        for _ in range(times):
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                subprocess.run(
                    [sys.executable, *words], check=True, capture_output=True, cwd=folder
                )
            found.append(time.perf_counter() - start)
        return round(min(found), 3)

    main = ("-m", "zeroshot")
    rank = (*main, "rank", "nasbench201", "--sample", "100", "--by", "default", "--no-store")
    torch_alone = least("-c", "import torch")
    return {
        "import torch": torch_alone,
        "import torch, zeroshot": least("-c", "import torch, zeroshot"),
        "import torch and all of zeroshot": least(
            "-c", "import torch, zeroshot; zeroshot.evaluate"
        ),
        "zeroshot --help": least(*main, "--help"),
        "rank 100 --small": least(*rank, "--small", "--out", "scores.csv", times=1),
        "rank 100": least(*rank, "--out", "scores.csv", times=1),
    }


def overhead(net: Net, batch: Batch) -> float:
    """Milliseconds that an evaluation takes beyond its passes; the least of 20."""
    proxies = find_proxies("flops,params")
    found = []
    for _ in range(20):
        start = time.perf_counter()
        scores = zeroshot.evaluate(net, batch, proxies)
        found.append(time.perf_counter() - start - sum(scores.seconds.values()))
    return round(1000 * min(found), 3)


# -- the whole -------------------------------------------------------------------------------------


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, as it goes into the file."""
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch, task = zeroshot.load_batch("noise", batch_size=64)
    batch = batch.to(device, torch.float32)
    names = options.architectures.split(",")
    names = names[-1:] if options.quick else names
    rounds = 1 if options.quick else options.rounds

    def network(space: NasBench201, name: str) -> Net:
        return space.network(NASBENCH201.parse(name), task, device=device)

    small = network(NASBENCH201.small, "13714")
    full = {name: network(NASBENCH201, name) for name in names}
    best = peaks(device)
    found: dict[str, Any] = {
        "machine": {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "processor": f"{processor()}, {os.cpu_count()} cores",
            "threads": torch.get_num_threads(),
            "load of the last minute": round(os.getloadavg()[0], 1),
        },
        "versions": {"zeroshot": zeroshot.__version__, "torch": torch.__version__},
        "peaks": best,
        "networks": {
            name: one_network(net, batch, network(NASBENCH201.small, name), rounds)
            for name, net in full.items()
        },
    }
    every = [proxy.name for proxy in zeroshot.PROXIES]
    with single_threaded():
        few = Batch(batch.inputs[:16], batch.targets[:16])
        found["every proxy, small network, batch 16, one thread"] = proxies_alone(
            small, few, rounds, every
        )
        found["engine, milliseconds a network"] = overhead(small, batch)
    if not options.quick:
        found["MiB, small network, batch 16"] = memory(small, few, every)
        found["tangent kernel of 32 samples"] = {
            name: kernel_of(net, batch, small, 1) for name, net in full.items()
        }
        found["floors"] = {name: floors(net, batch, best) for name, net in full.items()}
        archs = NASBENCH201.sample(48, np.random.default_rng(0))
        found["scaling, seconds a network"] = scaling(batch, task, archs, str(device))
        found["commands, seconds"] = commands()
    return found


def ratios(found: Mapping[str, Any]) -> dict[str, float]:
    """What is compared with the committed file: multiples of plain runs of the same network."""
    flat = {
        f"{name}: {row}": values["forward+backward runs"]
        for name, network in found["networks"].items()
        for row, values in network["rows"].items()
    }
    every = found["every proxy, small network, batch 16, one thread"]
    return flat | {f"small: {name}": value for name, value in every.items()}


def regressions(found: Mapping[str, Any], committed: Mapping[str, Any]) -> list[str]:
    """A line for each ratio that has grown by more than the tolerance.

    Proxies that take less than a tenth of a plain run are left out: there timers decide.
    """
    before, now = ratios(committed), ratios(found)
    return [
        f"{name}: {now[name]:g} forward+backward runs, {before[name]:g} as committed"
        for name in now
        if name in before and now[name] > TOLERANCE * max(before[name], 0.1)
    ]


def table(found: Mapping[str, Any]) -> str:
    """The two groups and their proxies, as Markdown."""
    lines = ["| network | proxy | forward+backward runs | naive / ours |", "|---|---|---|---|"]
    for name, network in found["networks"].items():
        for row, values in network["rows"].items():
            ratio = values["naive / ours"]
            shown = "results differ" if ratio is None else f"{ratio:.1f}"
            lines.append(f"| {name} | {row} | {values['forward+backward runs']:.2f} | {shown} |")
    for name, kernel in found.get("tangent kernel of 32 samples", {}).items():
        lines.append(
            f"| {name} | ntk_cond, batch 32 | {kernel['forward+backward runs']:.1f} "
            f"| {kernel['naive / ours']} |"
        )
    return "\n".join(lines)


def plot(found: Mapping[str, Any], folder: Path) -> None:
    """What proxies cost beside the naive loops, and how times scale."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    name, network = next(iter(found["networks"].items()))
    rows = {row: values for row, values in network["rows"].items() if values["naive / ours"]}
    figure, axes = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
    places = np.arange(len(rows))
    ours = np.array([values["forward+backward runs"] for values in rows.values()])
    theirs = ours * [values["naive / ours"] for values in rows.values()]
    axes.barh(places - 0.2, theirs, 0.4, label="loops as in the literature", color="0.7")
    axes.barh(places + 0.2, ours, 0.4, label="zeroshot", color="tab:blue")
    axes.set_yticks(places, list(rows))
    axes.invert_yaxis()
    axes.set_xlabel(f"plain forward and backward runs (NAS-Bench-201 {name}, batch 64)")
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(folder / "performance.svg")
    plt.close(figure)
    if "scaling, seconds a network" not in found:
        return
    parts = found["scaling, seconds a network"]
    figure, panels = plt.subplots(1, len(parts), figsize=(10, 2.6), layout="constrained")
    for axes, (title, values) in zip(panels, parts.items(), strict=True):
        axes.plot([int(x) for x in values], list(values.values()), "o-", color="tab:blue")
        axes.set_xscale("log", base=2)
        axes.set_xticks([int(x) for x in values], list(values))
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_title(title.replace(" (", "\n("), fontsize=9)
    panels[0].set_ylabel("seconds a network")
    figure.savefig(folder / "scaling.svg")
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--architectures", default="13714,5")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--out", type=Path, help="a JSON file")
    parser.add_argument("--plots", type=Path, help="a folder")
    options = parser.parse_args()
    malloc.hold()  # as the package's own processes do: for the loops as well
    found = measure(options)
    print(table(found))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.plots:
        options.plots.mkdir(parents=True, exist_ok=True)
        plot(found, options.plots)
    if options.check:
        worse = regressions(found, json.loads(COMMITTED.read_text(encoding="utf-8")))
        print("\n".join(worse) or f"no ratio above {TOLERANCE} times the committed one")
        sys.exit(bool(worse))


if __name__ == "__main__":
    main()
