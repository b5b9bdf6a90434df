"""What pruning found, and how it is read again."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from zeroshot.core import Net
from zeroshot.errors import ZeroshotError
from zeroshot.files import replace_file, write_json, writing
from zeroshot.models import find_device, find_space
from zeroshot.run import spelled
from zeroshot.spaces.space import Arch, Space, shape_of, with_shape


@dataclass(frozen=True, eq=False)
class Pruned:
    """What pruning found.

    Attributes:
        arch: the single-path network.
        name: as the space spells it.
        history: every option of every round; see `zeroshot.searches.prune.Candidate`.
        finalists: the networks that pruning left, best first: how each is `rated` as one
            initialisation, and the best again, `refined`, as several others.
        scores: what the criterion's proxies say of the network in the shape of supernets, the mean
            over the repeats; and, of several finalists, how it is rated.
        record: how it came about.
    """

    arch: Arch
    name: str
    history: pd.DataFrame
    finalists: pd.DataFrame
    scores: dict[str, float]
    record: dict[str, Any]

    def write(self, out: Path, space: Space, seed: int) -> None:
        """Write architecture.json, history.csv, pruning.png and record.json into a folder."""
        from zeroshot.eval.plots import pruning

        axes = [(axis.name, axis.options) for axis in space.axes]
        chosen = [name for (name,) in space.names(self.arch)]
        found = {
            "space": spelled(space),
            "shape": shape_of(space),
            "arch": self.name,
            "genotype": dict(zip((name for name, _ in axes), chosen, strict=True)),
            "seed": seed,
            "scores": {name: x if math.isfinite(x) else str(x) for name, x in self.scores.items()},
        }
        figure = pruning(self.history, axes, chosen)
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
            for name, text in (("architecture", found), ("record", self.record)):
                write_json(out / f"{name}.json", text)
            replace_file(out / "history.csv", lambda path: self.history.to_csv(path, index=False))
            replace_file(out / "pruning.png", lambda path: figure.savefig(path, format="png"))


def load(folder: str | Path, *, device: str = "cpu") -> Net:
    """The network that `prune` found, freshly initialised from the seed of that run.

    Raises:
        ZeroshotError: if the folder is not one that `prune` wrote.
    """
    path = Path(folder) / "architecture.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        name, shape, arch, seed = (found[key] for key in ("space", "shape", "arch", "seed"))
        space = with_shape(find_space(str(name)), shape)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, ZeroshotError):
            raise
        raise ZeroshotError(
            f"{path} is not there or damaged; expected a folder that `zeroshot prune` wrote"
        ) from error
    return space.network(space.parse(arch), seed=int(seed), device=find_device(device))
