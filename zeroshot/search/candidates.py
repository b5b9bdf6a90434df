"""Which architectures to score: a sample, all, or a file's, within limits on size."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zeroshot.errors import ZeroshotError
from zeroshot.eval.tables import read_table
from zeroshot.spaces.space import Arch, Space, Task


@dataclass(frozen=True)
class Limits:
    """What a candidate may weigh at most; None is no limit."""

    params: float | None = None
    flops: float | None = None

    def admit(self, space: Space, arch: Arch, task: Task) -> bool:
        """Whether an architecture is within the limits."""
        if self.params is None and self.flops is None:
            return True
        cost = space.cost(arch, task)
        small = self.params is None or cost.params <= self.params
        return small and (self.flops is None or cost.macs <= self.flops)

    def __str__(self) -> str:
        stated = (("parameters", self.params), ("multiply-adds", self.flops))
        return " and ".join(f"{limit:,.0f} {what}" for what, limit in stated if limit is not None)


def choose(
    space: Space, task: Task, *, sample: int | None, limits: Limits, rng: np.random.Generator
) -> list[Arch]:
    """Architectures within the limits: `sample` different ones at random, or all in index order.

    Raises:
        ZeroshotError: if there are none, or fewer than `sample`.
    """
    everything: Iterable[Arch] = space if sample is None else _shuffled(space, sample, rng)
    chosen: list[Arch] = []
    for arch in everything:
        if limits.admit(space, arch, task):
            chosen.append(arch)
            if len(chosen) == sample:
                break
    if (sample is not None and len(chosen) < sample) or not chosen:
        wanted = "any" if sample is None else f"a sample of {sample:,}"
        within = f" with at most {limits}" if str(limits) else ""
        raise ZeroshotError(
            f"{wanted}: {space.name} has {len(chosen):,} architectures{within}; "
            "ask for fewer or raise the limits"
        )
    return chosen


def read_archs(space: Space, path: Path) -> list[Arch]:
    """Architectures of a file: one per line, or the `arch` column of a .csv or .parquet.

    Raises:
        ZeroshotError: if it cannot be read, names none, names one twice or a malformed one (with
            its line).
    """
    if path.suffix in (".csv", ".parquet"):
        table = read_table(path)
        if "arch" not in table.columns:
            raise ZeroshotError(f"{path} has no column 'arch', only {', '.join(table.columns)}")
        lines = [str(text) for text in table["arch"]]
    else:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ZeroshotError(f"{path} cannot be read: {error}") from error
    found: dict[Arch, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            arch = space.parse(line)
        except ZeroshotError as error:
            raise ZeroshotError(f"{path}, entry {number}: {error}") from error
        if arch in found:
            raise ZeroshotError(f"{path}: entries {found[arch]} and {number} are the same")
        found[arch] = number
    if not found:
        raise ZeroshotError(f"{path} names no architecture; expected one per line")
    return list(found)


def _shuffled(space: Space, sample: int, rng: np.random.Generator) -> list[Arch]:
    """Different architectures in random order: all, or of a huge space many more than needed."""
    return space.sample(len(space) if len(space) <= 1_000_000 else 100 * sample, rng)
