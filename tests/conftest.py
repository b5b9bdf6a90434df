"""Every test runs with shapes and types enforced, on one thread."""

import os

import torch
from jaxtyping import install_import_hook

install_import_hook("zeroshot", "beartype.beartype")
torch.set_num_threads(1)  # the tests themselves are spread over the cores
os.environ["LOKY_MAX_CPU_COUNT"] = "1"  # likewise, no worker processes but where a test asks
