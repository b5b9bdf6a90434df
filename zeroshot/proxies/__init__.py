"""The proxies, in reading order. To add one: a file with its name, and a line here."""

from zeroshot.core import Proxy
from zeroshot.proxies.depth import DEPTH
from zeroshot.proxies.epe_nas import EPE_NAS
from zeroshot.proxies.fisher import FISHER
from zeroshot.proxies.flops import FLOPS
from zeroshot.proxies.grad_norm import GRAD_NORM
from zeroshot.proxies.grasp import GRASP
from zeroshot.proxies.jacob_cov import JACOB_COV
from zeroshot.proxies.l2_norm import L2_NORM
from zeroshot.proxies.linear_regions import LINEAR_REGIONS
from zeroshot.proxies.naswot import NASWOT
from zeroshot.proxies.ntk_cond import NTK_COND
from zeroshot.proxies.params import PARAMS
from zeroshot.proxies.plain import PLAIN
from zeroshot.proxies.snip import SNIP
from zeroshot.proxies.synflow import SYNFLOW
from zeroshot.proxies.synflow_bn import SYNFLOW_BN
from zeroshot.proxies.zen import ZEN

PROXIES: tuple[Proxy, ...] = (
    PARAMS,
    FLOPS,
    DEPTH,
    L2_NORM,
    GRAD_NORM,
    SNIP,
    GRASP,
    FISHER,
    PLAIN,
    SYNFLOW,
    SYNFLOW_BN,
    JACOB_COV,
    EPE_NAS,
    NASWOT,
    ZEN,
    NTK_COND,
    LINEAR_REGIONS,
)
