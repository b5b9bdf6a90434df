"""Where our figures and published ones differ: one choice of the protocol at a time.

    python benchmarks/protocols.py TRUTH --column COLUMN --data npz:IMAGES [--sample 300] [--full]

TRUTH is NAS-Bench-201's table. Each row is a proxy or ensemble, measured as the package does by
default, then with what its authors do instead: images for noise, their initialisation, their
normalisation, the mean over more draws. Kendall's τ with 95 % intervals, bootstrap over cells.
"""

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import zeroshot
from zeroshot.core import Proxy
from zeroshot.eval.tables import read_truth
from zeroshot.passes import FisherInformation, SignSums
from zeroshot.proxies import GRADSIGN, VKDNW, VKDNW_ENTROPY


@dataclass(frozen=True)
class Trial:
    """A proxy or formula, and how it is measured.

    Attributes:
        by: what is compared with the accuracies.
        choice: what is said of it.
        proxies: what is computed; by default what `by` names.
        options: for `zeroshot.rank`; data "images" are those given.
    """

    by: str
    choice: str
    proxies: tuple[str | Proxy, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


OFFICIAL = FisherInformation(fidelity="official")
FISHER = replace(VKDNW, needs=(OFFICIAL,))
ENTROPY = replace(VKDNW_ENTROPY, needs=(OFFICIAL,))
SIGNS = replace(GRADSIGN, needs=(SignSums(fidelity="official"),))
KAIMING = {"init": "kaiming_normal"}
AGG = "vkdnw_agg"
AZ = ("flops", "az_expressivity", "az_progressivity", "az_trainability")

TRIALS = (
    Trial("swap", "noise, one draw"),
    Trial("swap", "images", options={"data": "images"}),
    Trial(
        "swap",
        "images, N(0, 1), 8 draws",
        options={"data": "images", "init": "gaussian", "repeats": 8},
    ),
    Trial("naswot", "noise"),
    Trial("naswot", "images", options={"data": "images"}),
    Trial("meco", "noise"),
    Trial("meco", "images", options={"data": "images"}),
    Trial("meco", "Kaiming", options=KAIMING),
    Trial("gradsign", "normalised together"),
    Trial("gradsign", "sample by sample", (SIGNS,)),
    Trial("grasp", "noise"),
    Trial("grasp", "images", options={"data": "images"}),
    Trial("vkdnw", "batch statistics, default weights"),
    Trial("vkdnw", "stored statistics, Kaiming", (FISHER,), KAIMING),
    Trial("vkdnw_entropy", "batch statistics, default weights"),
    Trial("vkdnw_entropy", "stored statistics, Kaiming", (ENTROPY,), KAIMING),
    Trial(AGG, "batch statistics, default weights"),
    Trial(AGG, "stored statistics, Kaiming", (*AZ, ENTROPY), KAIMING),
    Trial("te_nas", "default weights"),
    Trial("te_nas", "Kaiming", options=KAIMING),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("truth", type=Path)
    parser.add_argument("--column")
    parser.add_argument("--data", required=True)
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    truth = read_truth(options.truth, options.column)
    print("| | protocol | Kendall τ | 95 % | Spearman ρ |\n|---|---|---|---|---|", flush=True)
    for trial in TRIALS:
        asked = dict(trial.options)
        if asked.get("data") == "images":
            asked["data"] = options.data
        found = zeroshot.rank(
            "nasbench201",
            sample=options.sample,
            small=not options.full,
            batch_size=options.batch_size,
            by=trial.by,
            proxies=trial.proxies or None,
            **asked,
        )
        row = zeroshot.validate(found, truth).table.set_index("name").loc[trial.by]
        low, high = row["kendall_lo"], row["kendall_hi"]
        words = f"{row['kendall']:.3f} | {low:.2f} … {high:.2f} | {row['spearman']:.3f}"
        print(f"| `{trial.by}` | {trial.choice} | {words} |".replace("-0.", "−0."), flush=True)


if __name__ == "__main__":
    main()
