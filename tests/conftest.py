"""Every test runs with shapes and types enforced, on one thread."""

import os

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook("zeroshot", "beartype.beartype")
torch.set_num_threads(1)  # the tests themselves are spread over the cores
os.environ["LOKY_MAX_CPU_COUNT"] = "1"  # likewise, no worker processes but where a test asks


@pytest.fixture(autouse=True)
def _store_of_its_own(monkeypatch, tmp_path_factory):
    """No test looks at or writes the user's scores; nor do processes that it starts."""
    monkeypatch.setenv("ZEROSHOT_STORE", str(tmp_path_factory.mktemp("store") / "scores.sqlite"))
