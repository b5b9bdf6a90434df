"""Spaces in which not every combination of options is an architecture."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from zeroshot.errors import ZeroshotError
from zeroshot.spaces.space import Arch, Space


@dataclass(frozen=True)
class Constrained(Space):
    """A space whose points are those combinations of options that have no `flaw`.

    It must also say how many there are and in which order: `count`, `subspace`, `at`, `index`.
    """

    @abstractmethod
    def flaw(self, genes: tuple[int, ...]) -> str | None:
        """Why options, one for each axis, are no architecture, in words; None if they are one."""

    def arch(self, *genes: int) -> Arch:
        """The architecture with these options; ZeroshotError if they have a flaw."""
        found = super().arch(*genes)
        if flaw := self.flaw(genes):
            raise ZeroshotError(f"{self.name}: {flaw}")
        return found

    def neighbours(self, arch: Arch) -> list[Arch]:
        """All architectures that differ on exactly one axis."""
        changed = self._one_changed(arch)
        return [self.arch(*other) for other in changed if self.flaw(other) is None]

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """One of the neighbours, all equally likely; ZeroshotError if there is none."""
        around = self.neighbours(arch)
        if not around:
            raise ZeroshotError(f"{arch} has no neighbours in {self.name}")
        return around[int(rng.integers(len(around)))]

    def cross(self, one: Arch, other: Arch, rng: np.random.Generator) -> Arch:
        """A child that takes each axis from either parent, drawn again while it has a flaw."""
        pairs = tuple(zip(self.genes(one), self.genes(other), strict=True))
        while True:  # ends: the parents themselves can be drawn
            genes = tuple(pair[int(rng.integers(2))] for pair in pairs)
            if self.flaw(genes) is None:
                return self.arch(*genes)
