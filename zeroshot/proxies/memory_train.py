"""Memory of training: what a device must hold to take one step."""

from zeroshot.core import Proxy
from zeroshot.passes import PeakMemory


def memory_train(peak: int) -> float:
    """Bytes alive at the worst moment of a forward and backward run of the batch; lower is better.

    Range: (0, ∞), whole numbers, in the network's precision; parameters and their gradients plus a
        part that grows in proportion to the batch. An optimiser's state comes on top. A cost to
        set a limit to, rather than a sign of accuracy. Undefined for outputs that are no classes'.
    Source: of no paper; a cost as every device has it.
    """
    return float(peak)


MEMORY_TRAIN = Proxy("memory_train", (PeakMemory(training=True),), memory_train, "lower", "cost")
