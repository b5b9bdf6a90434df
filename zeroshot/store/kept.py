"""What is kept of networks, and what it is kept under."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Key = tuple[str, int]  # the architecture that was built, spelled; and its seed

# What tells settings, and proxies, from one another.
SETTING_KEY = ("space", "code", "task", "batch", "init", "device", "torch")
FORMULA_KEY = ("name", "needs", "edition")


@dataclass(frozen=True)
class Setting:
    """What all networks of a run share; see `SETTING_KEY`.

    Attributes:
        space: with its network shape, as `repr` shows it.
        code: edition of the space, the task and the loss; see `zeroshot.edition`.
        task: what the networks accept and answer.
        batch: hash of what they are shown.
        init: name of the initialisation.
        device: its kind, cpu or cuda.
        torch: the version.
        name: of the space, as `find_space` takes it.
        shape: numbers and words of the network shape, as JSON.
        data: where the batch came from.
        data_seed: of the batch; None if it was not drawn here.
        samples: of the batch.
    """

    space: str
    code: str
    task: str
    batch: str
    init: str
    device: str
    torch: str
    name: str
    shape: str
    data: str
    data_seed: int | None
    samples: int


@dataclass(frozen=True)
class Formula:
    """A proxy as scores are kept of it; see `FORMULA_KEY`.

    Attributes:
        name: of the proxy.
        needs: its passes with their settings, as JSON.
        edition: see `Proxy.edition`.
        better: direction of the number.
        passes: all passes that it takes, as JSON.
    """

    name: str
    needs: str
    edition: str
    better: str
    passes: str


@dataclass(frozen=True)
class Kept:
    """What is kept of a network.

    Attributes:
        scores: by proxy name.
        reasons: why a score is NaN, by proxy name.
        seconds: what each pass took, by pass.
    """

    scores: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def __or__(self, other: "Kept") -> "Kept":
        return Kept(
            self.scores | other.scores,
            self.reasons | other.reasons,
            self.seconds | other.seconds,
        )


def facts(
    networks: Sequence[Kept],
    passes: Mapping[str, Sequence[str]],
    reasons: Mapping[str, Mapping[str, int]] | None = None,
) -> dict[str, Any]:
    """What a run's record tells of its networks: how many, why scores are NaN, what took how long.

    Args:
        networks: all that were scored.
        passes: what ran for each proxy.
        reasons: why scores are NaN that needed no network, and how many, by proxy name.
    """
    ran = set[str]().union(*passes.values())
    seconds: Counter[str] = Counter()
    why = {name: Counter((reasons or {}).get(name, {})) for name in passes}
    for kept in networks:
        seconds.update({name: took for name, took in kept.seconds.items() if name in ran})
        for name, reason in kept.reasons.items():
            why[name][reason] += 1
    return {
        "networks scored": len(networks),
        "not a number": {name: dict(found) for name, found in why.items() if found},
        "passes": dict(passes),
        "seconds per pass": {name: round(took, 3) for name, took in seconds.most_common()},
    }
