"""The proxies, in reading order. To add one: a file with its name, and a line here."""

from collections.abc import Callable, Iterable
from typing import Any

from zeroshot.core import Proxy
from zeroshot.errors import ZeroshotError, brief, nearest
from zeroshot.proxies.apd import APD
from zeroshot.proxies.az_expressivity import AZ_EXPRESSIVITY
from zeroshot.proxies.az_progressivity import AZ_PROGRESSIVITY
from zeroshot.proxies.az_trainability import AZ_TRAINABILITY
from zeroshot.proxies.deepmad import DEEPMAD
from zeroshot.proxies.depth import DEPTH
from zeroshot.proxies.dss import DSS
from zeroshot.proxies.epe_nas import EPE_NAS
from zeroshot.proxies.epsilon import EPSILON
from zeroshot.proxies.fisher import FISHER
from zeroshot.proxies.flops import FLOPS
from zeroshot.proxies.grad_norm import GRAD_NORM
from zeroshot.proxies.gradsign import GRADSIGN
from zeroshot.proxies.grasp import GRASP
from zeroshot.proxies.intrain import INTRAIN
from zeroshot.proxies.jacob_cov import JACOB_COV
from zeroshot.proxies.l2_norm import L2_NORM
from zeroshot.proxies.label_alignment import LABEL_ALIGNMENT
from zeroshot.proxies.linear_regions import LINEAR_REGIONS
from zeroshot.proxies.logsynflow import LOGSYNFLOW
from zeroshot.proxies.meco import MECO
from zeroshot.proxies.meco_opt import MECO_OPT
from zeroshot.proxies.memory import MEMORY
from zeroshot.proxies.memory_train import MEMORY_TRAIN
from zeroshot.proxies.naswot import NASWOT
from zeroshot.proxies.ntk_cond import NTK_COND
from zeroshot.proxies.ntk_krr import NTK_KRR
from zeroshot.proxies.ntk_trace import NTK_TRACE
from zeroshot.proxies.params import PARAMS
from zeroshot.proxies.plain import PLAIN
from zeroshot.proxies.snip import SNIP
from zeroshot.proxies.swap import SWAP
from zeroshot.proxies.swap_reg import SWAP_REG
from zeroshot.proxies.synflow import SYNFLOW
from zeroshot.proxies.synflow_bn import SYNFLOW_BN
from zeroshot.proxies.vkdnw import VKDNW
from zeroshot.proxies.vkdnw_entropy import VKDNW_ENTROPY
from zeroshot.proxies.wrcor import WRCOR
from zeroshot.proxies.zen import ZEN
from zeroshot.proxies.zico import ZICO

PROXIES: tuple[Proxy, ...] = (
    PARAMS,
    FLOPS,
    DEPTH,
    MEMORY,
    MEMORY_TRAIN,
    DEEPMAD,
    L2_NORM,
    GRAD_NORM,
    SNIP,
    GRASP,
    FISHER,
    PLAIN,
    ZICO,
    GRADSIGN,
    SYNFLOW,
    SYNFLOW_BN,
    LOGSYNFLOW,
    DSS,
    JACOB_COV,
    EPE_NAS,
    NASWOT,
    SWAP,
    SWAP_REG,
    WRCOR,
    MECO,
    MECO_OPT,
    APD,
    INTRAIN,
    AZ_EXPRESSIVITY,
    AZ_PROGRESSIVITY,
    AZ_TRAINABILITY,
    ZEN,
    EPSILON,
    NTK_COND,
    NTK_TRACE,
    NTK_KRR,
    LABEL_ALIGNMENT,
    VKDNW,
    VKDNW_ENTROPY,
    LINEAR_REGIONS,
)


def unknown(word: object) -> Proxy:
    """Says which proxies there are."""
    names = [proxy.name for proxy in PROXIES]
    if callable(word):
        raise ZeroshotError(
            f"{brief(word)} is no proxy; a formula becomes one with the passes that it needs, as "
            "zeroshot.Proxy('mine', (LossGrads(),), formula, 'higher', 'where it is from')"
        )
    hint = nearest(word, names)
    raise ZeroshotError(
        f"unknown proxy {word!r}; {hint}expected a zeroshot.Proxy or one of {', '.join(names)}"
    )


def listed(
    asked: str | Proxy | Iterable[str | Proxy], other: Callable[[Any], Proxy] = unknown
) -> tuple[Proxy, ...]:
    """The proxies that are meant: each once, by name (with commas, or 'all'), or as they are.

    Args:
        asked: one or several.
        other: gives the proxy of what is neither, or says what is wrong.

    Raises:
        ZeroshotError: for two of one name that differ.
    """
    known = {proxy.name: proxy for proxy in PROXIES}
    several = isinstance(asked, Iterable) and not isinstance(asked, (str, Proxy))
    words: Any = asked if several else (asked,)
    parts: list[Any] = []
    for word in words:
        parts += word.split(",") if isinstance(word, str) else [word]
    names = [part.strip() if isinstance(part, str) else part for part in parts]
    if names == ["all"]:
        return PROXIES
    found: dict[str, Proxy] = {}
    for name in names:
        proxy = known.get(name) if isinstance(name, str) else name
        proxy = proxy if isinstance(proxy, Proxy) else other(name)
        if found.setdefault(proxy.name, proxy) != proxy:
            raise ZeroshotError(f"two proxies are called {proxy.name!r}; give one another name")
    return tuple(found.values())
