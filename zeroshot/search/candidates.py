"""Which architectures to score: a sample, all, or a file's, within limits on size."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zeroshot.errors import ZeroshotError
from zeroshot.eval.tables import SUFFIXES, read_table, read_text
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
    if sample is not None and sample < 1:
        raise ZeroshotError(f"a sample of {sample}; expected at least 1")
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
    """Architectures of a file: one per line, or the `arch` column of a table.

    A table of scores has an architecture once per seed: it counts once.

    Raises:
        ZeroshotError: if it cannot be read, names none, names one twice or a malformed one (with
            its line).
    """
    if path.name.endswith(SUFFIXES):
        table = read_table(path)
        if "arch" not in table.columns:
            listed = ", ".join(map(str, table.columns))
            raise ZeroshotError(f"{path} has no column 'arch', only {listed}")
        if "seed" in table.columns:
            table = table.drop_duplicates("arch")
        entries = [(f"row {row}", text) for row, text in enumerate(table["arch"], start=1)]
    else:
        lines = enumerate(read_text(path).splitlines(), start=1)
        entries = [(f"line {number}", line) for number, line in lines if line.strip()]
    if not entries:
        raise ZeroshotError(f"{path} names no architecture; expected one per line")
    return _parsed(space, entries, f"{path}, ")


def list_archs(space: Space, archs: Sequence[str | int | Arch]) -> list[Arch]:
    """Architectures given as strings, indices or values.

    Raises:
        ZeroshotError: if there are none, or one is malformed, of another space or there twice.
    """
    if not len(archs):
        raise ZeroshotError("the list of architectures is empty; expected at least one")
    return _parsed(space, [(f"entry {n}", arch) for n, arch in enumerate(archs, start=1)], "")


def _parsed(
    space: Space, entries: Sequence[tuple[str, str | int | Arch]], source: str
) -> list[Arch]:
    found: dict[Arch, str] = {}
    for place, entry in entries:
        try:
            arch = entry if isinstance(entry, Arch) else space.parse(str(entry))
            if arch.space != space.name:
                raise ZeroshotError(f"{arch} is no architecture of {space.name}")
            space.spell(arch)  # a supernet has no name
        except ZeroshotError as error:
            raise ZeroshotError(f"{source}{place}: {error}") from error
        if arch in found:
            raise ZeroshotError(
                f"{source}{place} is the same architecture as {found[arch]}; keep one"
            )
        found[arch] = place
    return list(found)


def _shuffled(space: Space, sample: int, rng: np.random.Generator) -> list[Arch]:
    """Different architectures in random order: all, or of a huge space many more than needed."""
    return space.sample(space.size if space.size <= 1_000_000 else 100 * sample, rng)
