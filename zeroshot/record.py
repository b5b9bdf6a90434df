"""The record beside what a run writes: which run it is, and how it came about."""

import json
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

from zeroshot.errors import ZeroshotError
from zeroshot.files import record_path


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


def check_identity(found: Any, identity: dict[str, Any], path: Path) -> None:
    """Refuse a file, or folder, of another run, naming what differs."""
    wanted = json.loads(json.dumps(identity))
    found = found if isinstance(found, dict) else {}
    for key, value in wanted.items():
        if found.get(key) != value:
            there, here = _short(found.get(key), value), _short(value, found.get(key))
            raise ZeroshotError(
                f"{path} belongs to another run: there, {key} is {there}, now it is {here}; "
                "choose another --out, or move it away"
            )


def _short(value: Any, other: Any) -> str:
    """A value in a few words; of a dictionary the names, or what differs if these agree."""
    if isinstance(value, dict):
        same = isinstance(other, dict) and value.keys() == other.keys()
        value = {k: v for k, v in value.items() if v != other[k]} if same else ", ".join(value)
    text = str(value)
    return text if len(text) < 60 else text[:57] + "..."


def read_identity(out: Path) -> Any:
    """Of which run a table is, by the record beside it."""
    try:
        return json.loads(record_path(out).read_text(encoding="utf-8"))["run"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ZeroshotError(
            f"{record_path(out)} does not tell of which run {out} is; "
            "choose another --out, or move both away"
        ) from error
