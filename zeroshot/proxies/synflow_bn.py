"""SynFlow with batch normalisation kept: the flow that normalisation leaves; a control."""

from zeroshot.core import Proxy
from zeroshot.passes import Synflow
from zeroshot.proxies.synflow import synflow

SYNFLOW_BN = Proxy(
    "synflow_bn", (Synflow(keep_bn=True),), synflow, "higher", "arXiv:2101.08134", log=True
)
