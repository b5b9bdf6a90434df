"""Score, rank, validate and prune untrained neural networks.

    import zeroshot
    scores = zeroshot.evaluate(model, zeroshot.load_batch("noise")[0])

Names are loaded when they are first used, so that `import zeroshot` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zeroshot.commands import (
        Advice,
        Ranking,
        Validation,
        advise,
        prune,
        rank,
        score,
        search,
        validate,
    )
    from zeroshot.core import Batch, Cost, Net, Pass, Proxy
    from zeroshot.data import load_batch, load_split
    from zeroshot.deploy import export
    from zeroshot.errors import OutOfMemoryError, Undefined, ZeroshotError
    from zeroshot.eval.benchmarks import BENCHMARKS, load_benchmark, load_truth
    from zeroshot.proxies import PROXIES
    from zeroshot.pruning import Pruned, load
    from zeroshot.ranking import ENSEMBLES, Ensemble
    from zeroshot.scoring import Scores, evaluate
    from zeroshot.spaces import SPACES, Arch, Axis, Space, Task
    from zeroshot.train import Recipe, Trained, finetune, load_trained

__version__ = "0.1.0"

_HOME = {
    "zeroshot.commands": (
        *("Advice", "Ranking", "Validation"),
        *("advise", "prune", "rank", "score", "search", "validate"),
    ),
    "zeroshot.core": ("Batch", "Cost", "Net", "Pass", "Proxy"),
    "zeroshot.data": ("load_batch", "load_split"),
    "zeroshot.deploy": ("export",),
    "zeroshot.errors": ("OutOfMemoryError", "Undefined", "ZeroshotError"),
    "zeroshot.eval.benchmarks": ("BENCHMARKS", "load_benchmark", "load_truth"),
    "zeroshot.proxies": ("PROXIES",),
    "zeroshot.pruning": ("Pruned", "load"),
    "zeroshot.ranking": ("ENSEMBLES", "Ensemble"),
    "zeroshot.scoring": ("Scores", "evaluate"),
    "zeroshot.spaces": ("SPACES", "Arch", "Axis", "Space", "Task"),
    "zeroshot.train": ("Recipe", "Trained", "finetune", "load_trained"),
}

# Which documents speak of as `zeroshot.measure.latency`.
_MODULES = ("data", "initial", "measure", "passes", "proxies", "ranking", "spaces")

__all__ = [
    "BENCHMARKS",
    "ENSEMBLES",
    "PROXIES",
    "SPACES",
    "Advice",
    "Arch",
    "Axis",
    "Batch",
    "Cost",
    "Ensemble",
    "Net",
    "OutOfMemoryError",
    "Pass",
    "Proxy",
    "Pruned",
    "Ranking",
    "Recipe",
    "Scores",
    "Space",
    "Task",
    "Trained",
    "Undefined",
    "Validation",
    "ZeroshotError",
    "__version__",
    "advise",
    "evaluate",
    "export",
    "finetune",
    "load",
    "load_batch",
    "load_benchmark",
    "load_split",
    "load_trained",
    "load_truth",
    "prune",
    "rank",
    "score",
    "search",
    "validate",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            globals()[name] = getattr(import_module(module), name)
            return globals()[name]
    if name in _MODULES:
        return import_module(f"zeroshot.{name}")
    raise AttributeError(f"module 'zeroshot' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *_MODULES]
