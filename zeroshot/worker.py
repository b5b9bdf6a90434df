"""What a worker process does: build a network and score it. Each loads this, so keep it light."""

from dataclasses import dataclass

import torch

from zeroshot.core import Batch, Net, Proxy, out_of_memory, planned
from zeroshot.errors import FailedFormula, OutOfMemoryError, in_a_line
from zeroshot.scoring import Scores, evaluate
from zeroshot.spaces.space import Arch, Space, Task


@dataclass(frozen=True, eq=False)
class Work:
    """What all networks of a run have in common; see `zeroshot.run.Run`."""

    space: Space
    batch: Batch
    proxies: tuple[Proxy, ...]
    task: Task
    init: str
    device: str

    def score(
        self, number: int, arch: Arch, seed: int, lacking: tuple[str, ...]
    ) -> tuple[Arch, int, Scores | None, dict[str, str]]:
        """The scores that a network lacks, None if it cannot be scored; why there are none.

        Seconds are told of every pass that the proxies need, also where a dearer one ran instead.
        """
        proxies = tuple(proxy for proxy in self.proxies if proxy.name in lacking)
        failed: dict[str, str] = {}
        try:
            device = placed(self.device, number)
            net = self.space.network(arch, self.task, init=self.init, seed=seed, device=device)
            scores, proxies = _evaluated(net, self.batch, proxies, failed)
        except OutOfMemoryError:
            raise
        except Exception as error:  # this network alone cannot be scored; the others can
            if out_of_memory(error):
                raise OutOfMemoryError(
                    f"out of memory while {self.space.spell(arch)} was built: lower the workers, "
                    "or take a smaller network"
                ) from error
            return arch, seed, None, dict.fromkeys(lacking, in_a_line(error))
        seconds: dict[str, float] = {}
        for wanted, ran in planned(proxies).items():
            if repr(ran) in scores.seconds:  # nothing is run behind what is undefined
                seconds[repr(wanted)] = scores.seconds[repr(ran)]
        return arch, seed, Scores(scores.found, scores.reasons, seconds), failed


def _evaluated(
    net: Net, batch: Batch, proxies: tuple[Proxy, ...], failed: dict[str, str]
) -> tuple[Scores, tuple[Proxy, ...]]:
    """Scores by all formulas that do not fail, and these; why others do is added to `failed`."""
    while proxies:
        try:
            return evaluate(net, batch, proxies), proxies
        except FailedFormula as error:
            failed[error.proxy] = str(error)
            proxies = tuple(proxy for proxy in proxies if proxy.name != error.proxy)
    return Scores({}), ()


def placed(device: str, number: int) -> str:
    """Where the network of that number runs: of several GPUs, if none is named, each in turn."""
    gpus = torch.cuda.device_count() if device == "cuda" else 0
    return f"cuda:{number % gpus}" if gpus > 1 else device
