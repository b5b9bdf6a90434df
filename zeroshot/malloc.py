"""When memory goes back to the system, in processes that do nothing but the package's work.

What a pass frees the next one asks for. glibc gives it back meanwhile, and the system hands it out
again page by page, cleared: a tenth and more of the time of passes that keep a graph.
"""

import ctypes
import mmap
import sys
from contextlib import suppress
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
LARGE = 32 * 2**20  # bytes; glibc takes no more: what is larger goes back when it is freed
FREE = 2**30  # bytes that are held during a network
HELD = 2 * 2**30  # bytes that a process may hold between networks


def hold() -> None:
    """From now on, hold what is freed. Does nothing where the C library is another."""
    if sys.platform == "linux":
        with suppress(AttributeError):
            libc = ctypes.CDLL(None)
            libc.mallopt(M_MMAP_THRESHOLD, LARGE)
            libc.mallopt(M_TRIM_THRESHOLD, FREE)


def give_back() -> None:
    """After a large network, let other processes have its memory."""
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            if pages * mmap.PAGESIZE > HELD:
                ctypes.CDLL(None).malloc_trim(0)
