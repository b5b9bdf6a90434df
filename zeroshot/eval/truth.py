"""Accuracies of one or several sources, for the architectures that were scored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks import is_file, is_negated, load_truth
from zeroshot.eval.tables import SPELLING, agreed

Respell = Callable[[str], str]


@dataclass(frozen=True)
class Truth:
    """Where accuracies are; for the attributes see `load_truth`.

    Attributes:
        specs: benchmarks and files. Where two of them tell of one architecture, they have to agree.
        column, path, trust, arch, better: of each of them.
    """

    specs: tuple[str, ...]
    column: str | None = None
    path: Path | None = None
    trust: bool = False
    arch: str = SPELLING
    better: str = "higher"

    def __str__(self) -> str:
        column = f", column {self.column}" if self.column else ""
        lower = ", lower is better" if self.better == "lower" else ""
        return " and ".join(self.specs) + column + lower

    @property
    def negated(self) -> bool:
        """Whether the accuracies are the negative of what was measured: losses or latencies.

        Raises:
            ZeroshotError: if that is so of some sources only; or there is no such source.
        """
        known = {is_negated(spec, self.column, self.better): spec for spec in self.specs}
        if len(known) > 1:
            raise ZeroshotError(
                f"less is better in {known[True]}, more in {known[False]}; validate each alone"
            )
        return True in known

    def read(self, archs: Sequence[str] = (), respell: Respell | None = None) -> pd.Series:
        """The accuracies, more is better, indexed by architecture, each once.

        Args:
            archs: those that were scored. If some are not found, all are looked for in other words.
            respell: reads the words of other notations and spells them as the scores do;
                ZeroshotError for what it cannot read.

        Raises:
            ZeroshotError: as `load_truth`, or if two sources disagree, or are in two units.
        """
        if not self.specs:
            raise ZeroshotError("no truth: expected a benchmark or a file with accuracies")
        found = [self._read(spec, archs, respell) for spec in self.specs]
        _check_units(dict(zip(self.specs, found, strict=True)))
        together = pd.concat(found)
        together.name = found[0].name
        known = together.dropna()  # what one source does not know, another may
        unknown = together[~together.index.isin(known.index)]
        return agreed(pd.concat([known, unknown]), self)

    def _read(self, spec: str, archs: Sequence[str], respell: Respell | None) -> pd.Series:
        truth = load_truth(
            spec,
            self.column,
            self.path,
            trust=self.trust,
            archs=archs,
            arch=self.arch,
            better=self.better,
        )
        scored = set(archs)
        if respell is None or scored <= set(truth.index):
            return truth
        spelt = [
            text if text in scored else _respelt(text, respell, spec)
            for text in map(str, truth.index)
        ]
        return agreed(truth.set_axis(pd.Index(spelt, name="arch", dtype=object)), spec)


def _check_units(found: Mapping[str, pd.Series]) -> None:
    """Refuse fractions beside percentages: put together, all of one would be below the other."""
    largest = {spec: truth.abs().max() for spec, truth in found.items()}
    fractions = [spec for spec, most in largest.items() if 0 < most <= 1]
    percentages = [spec for spec, most in largest.items() if most > 1.5]
    if fractions and percentages:
        raise ZeroshotError(
            f"{fractions[0]} holds values up to {largest[fractions[0]]:.4g}, {percentages[0]} up "
            f"to {largest[percentages[0]]:.4g}; write both in one unit"
        )


def _respelt(text: str, respell: Respell, spec: str) -> str:
    """An architecture in the words of the scores; ZeroshotError if a file names one of no space.

    A number stays as it is, for it may count the table's rows rather than the space's
    architectures; so does what a benchmark spells otherwise.
    """
    if text.isdecimal():
        return text
    try:
        return respell(text)
    except ZeroshotError as error:
        if is_file(spec):
            raise ZeroshotError(f"{spec}: {error}; drop its row") from error
        return text
