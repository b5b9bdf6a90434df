"""Every test runs with shapes and types enforced, on one thread."""

import os
from itertools import count

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook("zeroshot", "beartype.beartype")
torch.set_num_threads(1)  # the tests themselves are spread over the cores
os.environ["LOKY_MAX_CPU_COUNT"] = "1"  # likewise, no worker processes but where a test asks


@pytest.fixture(scope="session")
def _stores(tmp_path_factory):
    """Files that are not there yet; a folder for each would take as long as some tests."""
    folder = tmp_path_factory.mktemp("stores")
    return (str(folder / f"{number}.sqlite") for number in count())


@pytest.fixture(autouse=True)
def _store_of_its_own(monkeypatch, _stores):
    """No test looks at or writes the user's scores; nor do processes that it starts."""
    monkeypatch.setenv("ZEROSHOT_STORE", next(_stores))


@pytest.fixture
def evaluations(monkeypatch):
    """The number of networks that are evaluated."""
    import zeroshot.worker
    from zeroshot.scoring import evaluate

    count = []

    def counted(*args):
        count.append(args)
        return evaluate(*args)

    monkeypatch.setattr(zeroshot.worker, "evaluate", counted)
    return count
