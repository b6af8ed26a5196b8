"""Memory that a network's tensors leave is kept for the next ones, and not given back to the system at once."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
_KEPT_BYTES = 2**31 - 1
_LARGEST_BYTES = 2**25  # older ones of glibc refuse more


def keep_freed_memory() -> None:
    """Let glibc keep what this process frees.

    By default each of a network's tensors is memory that the system must fill with zeros anew: a tenth of the time of
    a small training. A user's own ``MALLOC_…`` settings hold instead; other allocators stay as they are.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, _LARGEST_BYTES)
