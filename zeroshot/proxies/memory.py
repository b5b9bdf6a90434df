"""Memory of inference: what a device must hold to run the network."""

from zeroshot.core import Proxy
from zeroshot.passes import PeakMemory


def memory(peak: int) -> float:
    """Bytes alive at the worst moment while the batch is run without gradients; lower is better.

    Range: (0, ∞), whole numbers, in the network's precision; parameters plus a part that grows in
        proportion to the batch. A cost to set a limit to, rather than a sign of accuracy.
    Source: of no paper; a cost as every device has it.
    """
    return float(peak)


MEMORY = Proxy("memory", (PeakMemory(),), memory, "lower", "cost")
