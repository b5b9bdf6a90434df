"""Memory that is freed stays at hand, and goes back when it is much."""

import subprocess
import sys

import pytest

from zeroshot import malloc

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc's")

ROUNDS = """
import resource, torch
from zeroshot import malloc
{before}
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(2**21) for _ in range(40)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(*(faults() for _ in range(8)))
"""


def faults(before: str) -> list[int]:
    code = ROUNDS.format(before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


def test_what_is_held_is_not_asked_for_again():
    first, *later = faults("malloc.hold()")
    assert later[-1] < first / 100
    first, *later = faults("")
    assert max(later) > first / 2  # or `hold` is not needed any more


def test_much_is_given_back():
    first, *later = faults(
        "malloc.hold(); malloc.HELD = 0; ones = torch.ones\n"
        "torch.ones = lambda n: (malloc.give_back(), ones(n))[1]"
    )
    assert max(later) > first / 2


def test_another_c_library(monkeypatch):
    monkeypatch.setattr(malloc.ctypes, "CDLL", lambda _: object())
    monkeypatch.setattr(malloc, "HELD", 0)
    malloc.hold()
    malloc.give_back()
