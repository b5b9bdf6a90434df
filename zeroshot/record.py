"""What the record of every run tells besides its own: command, time, versions and machine."""

import platform
import shlex
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch


def circumstances(device: str) -> dict[str, Any]:
    """Of a run on a device that ends now; PyTorch's version is a part of what identifies it."""
    return {
        "command": shlex.join(sys.argv),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "pandas": pd.__version__,
        },
        "machine": {"system": platform.platform(), "device": device_name(device)},
    }


def device_name(device: str) -> str:
    """The GPU's name, or the processor's and how many threads."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {torch.get_num_threads()} threads"


@cache
def processor() -> str:
    """What this machine's calls itself, where the system tells, or else its kind."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()} ({platform.machine()})"
    return platform.processor() or platform.machine()
