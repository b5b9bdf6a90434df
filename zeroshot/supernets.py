"""How supernets are measured: with which batches and weights, by what, in worker processes too."""

import zlib
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from zeroshot.core import Batch, Net, Pass, Proxy, out_of_memory
from zeroshot.data import load_batch
from zeroshot.errors import OutOfMemoryError, ZeroshotError, in_a_line
from zeroshot.passes import FixedTangentKernel, Patterns, TangentKernel
from zeroshot.proxies.linear_regions import linear_regions
from zeroshot.proxies.ntk_cond import ntk_cond
from zeroshot.scoring import evaluate
from zeroshot.searches.prune import Measured, Without, without
from zeroshot.spaces.space import Arch, Space, Task


@dataclass(frozen=True)
class Fidelity:
    """How supernets are measured.

    Attributes:
        kernel: the pass that gives the tangent kernel.
        patterns: the pass that gives activation patterns.
        batch_size: samples of the kernel.
        repeats: measurements to average.
        init: initialisation of the supernets.
        common: whether all options of a round share weights, batch and the supernet's own values
            in each repeat. Otherwise, as in the authors' code, every repeat of every option has a
            batch of its own, every option a draw of the thin network, and a round one of the other.
        digits: see `zeroshot.searches.prune.te_nas`.
        capped: whether `Space.shown`, which is how many samples the published code takes in that
            space, is the most of them. The paper names one number for all spaces.
    """

    kernel: Pass[Any]
    patterns: Patterns
    batch_size: int
    repeats: int
    init: str
    common: bool
    digits: int | None = None
    capped: bool = True

    @property
    def proxies(self) -> tuple[Proxy, Proxy]:
        """κ and the number of linear regions, measured this way."""
        return (
            Proxy("condition", (self.kernel,), ntk_cond, "lower", "arXiv:2102.11535"),
            Proxy("regions", (self.patterns,), linear_regions, "higher", "arXiv:2102.11535"),
        )

    @property
    def singular(self) -> Proxy:
        """Whether the authors' code would see an eigenvalue below zero, and take κ for the best."""
        return Proxy("singular", (self.kernel,), _below_zero, "lower", "arXiv:2102.11535")


def _below_zero(kernel: Float64[Tensor, "n n"]) -> Float64[Tensor, ""]:
    return (torch.linalg.eigvalsh(kernel.float())[0] <= 0).double()


FIDELITIES: dict[str, Fidelity] = {
    # The same criterion from far less work; the default. With Kaiming weights and 32 samples, as
    # in the paper, this kernel finds worse cells (docs/reproductions.md).
    "fast": Fidelity(FixedTangentKernel(), Patterns(), 64, 3, "default", common=True),
    # As the paper says: Kaiming weights drawn anew for each repeat, batch 32, 5,000 samples.
    "paper": Fidelity(
        TangentKernel(), Patterns(samples=5000), 32, 3, "kaiming_normal", common=True, capped=False
    ),
    # As the published code does it: its re-initialisation has no effect, so that repeats differ
    # in data alone, and changes are rounded to three figures.
    "official": Fidelity(
        TangentKernel(), Patterns(samples=3000), 72, 3, "default", common=False, digits=3
    ),
}


@dataclass(frozen=True)
class Supernets:
    """How the supernets of a run are measured. It travels to worker processes.

    Attributes:
        space: with the network shape of supernets.
        how: batch, repeats, initialisation.
        proxies: the criterion's, in its order.
        data: what supernets are shown.
        seed: of weights and batches.
        device: where they run.
    """

    space: Space
    how: Fidelity
    proxies: tuple[Proxy, ...]
    data: str
    seed: int
    device: str

    def repeats(self, arch: Arch, axis: int, option: int, number: int) -> list[Without]:
        """What dropping an option does, repeat by repeat.

        Raises:
            ZeroshotError: if a proxy says nothing about one of the two supernets.
        """
        less = without(arch, axis, option)
        found: list[Without] = []
        if self.how.common:
            for repeat in range(self.how.repeats):
                drawn, net = _supernet(self, arch, f"{number} {repeat}")
                after = self.measure(self.net(less, drawn, net), drawn)
                found.append(Without(_whole(self, arch, f"{number} {repeat}"), after))
            return found
        _, net = _supernet(self, arch, f"{number}")
        net = replace(net, thin=self.net(arch, self.draw(f"{number} {axis} {option}")).thin)
        for repeat in range(self.how.repeats):
            drawn = self.draw(f"{number} {axis} {option} {repeat}")
            own = self.net(less, drawn, net)
            found.append(Without(self.measure(net, drawn), self.measure(own, drawn)))
        return found

    def alone(self, arch: Arch) -> dict[str, float]:
        """What the proxies say of one supernet: means over the repeats, NaN where undefined."""
        found = []
        for repeat in range(self.how.repeats):
            drawn = self.draw(f"alone {repeat}")
            net = replace(self.net(arch, drawn), seed=drawn.seed)
            found.append(evaluate(net, drawn.batch, self.proxies).found)
        with np.errstate(invalid="ignore"):  # +∞ and −∞
            return {name: float(np.mean([one[name] for one in found])) for name in found[0]}

    def draw(self, purpose: str) -> "_Drawn":
        """A batch, and the seed of it and of the weights that go with it."""
        seed = self.seed ^ zlib.crc32(purpose.encode())
        size = self.how.batch_size
        if self.how.capped:
            size = min(size, self.space.shown)
        batch, task = load_batch(self.data, batch_size=size, task=self.space.task, seed=seed)
        return _Drawn(batch, task, seed)

    def net(self, arch: Arch, drawn: "_Drawn", like: Net | None = None) -> Net:
        """A supernet, with the weights of another that holds it or with new ones."""
        how = {"init": self.how.init, "seed": drawn.seed, "device": self.device, "like": like}
        try:
            return self.space.network(arch, drawn.task, as_given=True, **how)
        except ZeroshotError:
            raise
        except Exception as error:  # `build` may be the caller's own
            if out_of_memory(error):
                raise OutOfMemoryError(
                    f"out of memory while a supernet of {self.space.name} was built: lower the "
                    "workers, or take a smaller network"
                ) from error
            words = in_a_line(error)
            raise ZeroshotError(f"{self.space.name} cannot build {arch}: {words}") from error

    def measure(self, net: Net, drawn: "_Drawn") -> Measured:
        """What the proxies say; the seed is the batch's, so that crops are the same too."""
        scores = evaluate(replace(net, seed=drawn.seed), drawn.batch, self.proxies)
        for name, reason in scores.reasons.items():
            raise ZeroshotError(
                f"{name} says nothing about a supernet of {self.space.name}: {reason}; choose "
                "another --criterion"
            )
        values = dict(scores)
        singular = bool(values.pop("singular", 0.0))
        return Measured(tuple(values.values()), singular)


@dataclass(frozen=True, eq=False)
class _Drawn:
    batch: Batch
    task: Task
    seed: int


# The repeats of a round, of which there are three, are the same for all of its options.


@lru_cache(maxsize=3)
def _supernet(supernets: Supernets, arch: Arch, purpose: str) -> tuple[_Drawn, Net]:
    drawn = supernets.draw(purpose)
    return drawn, supernets.net(arch, drawn)


@lru_cache(maxsize=3)
def _whole(supernets: Supernets, arch: Arch, purpose: str) -> Measured:
    drawn, net = _supernet(supernets, arch, purpose)
    return supernets.measure(net, drawn)


def forget() -> None:
    """Let go of the supernets of the last round that this process has measured."""
    _supernet.cache_clear()
    _whole.cache_clear()
