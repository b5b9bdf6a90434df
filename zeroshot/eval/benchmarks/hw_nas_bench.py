"""HW-NAS-Bench: what NAS-Bench-201's cells cost on six devices."""

import pandas as pd

from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks.benchmark import Query, needed, tabulate, unreadable
from zeroshot.eval.benchmarks.pickles import read_pickle

FILE = "HW-NAS-Bench-v1_0.pickle"
DATASETS = ("cifar10", "cifar100", "ImageNet16-120")
COLUMNS = (
    "edgegpu_latency",
    "edgegpu_energy",
    "raspi4_latency",
    "edgetpu_latency",
    "pixel3_latency",
    "eyeriss_latency",
    "eyeriss_energy",
    "fpga_latency",
    "fpga_energy",
)


def load_hw_nas_bench(query: Query) -> pd.DataFrame:
    """Latencies in milliseconds and energies in millijoules, measured or estimated by the authors.

    A column for each device and quantity. Not read: the arithmetic intensity of Eyeriss, for it is
    better higher, and the tables for FBNet.

    The file needs plain data only, so that nothing of it is run.

    Raises:
        ZeroshotError: naming the file, if it is damaged, asks for more than that, or a column is
            not as long as there are architectures.
    """
    path = needed(query, "hw-nas-bench", FILE)
    data = read_pickle(path, trust=query.trust)
    try:
        tables = data["nasbench201"][query.dataset]
        configs = tables["config"]
        listed = configs.values() if isinstance(configs, dict) else configs
        archs = [str(config["arch_str"]) for config in listed]
        columns = {name: [float(value) for value in tables[name]] for name in COLUMNS}
    except Exception as error:  # a file of something else can have any shape
        unreadable(path, f"HW-NAS-Bench's, with nasbench201 on {query.dataset}", error)
    for name, values in columns.items():
        if len(values) != len(archs):
            raise ZeroshotError(
                f"{path}: {len(values):,} values of {name} for {len(archs):,} architectures; get "
                "it again"
            )
    each = zip(*columns.values(), strict=True)
    rows = (dict(zip(columns, values, strict=True)) for values in each)
    return tabulate(zip(archs, rows, strict=True), path)
