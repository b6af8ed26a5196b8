"""What a process frees stays its own: no system calls for memory at each step."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HELD_BY_THE_SYSTEM = """
import ctypes
from kineflow.models.freed_memory import keep_freed_memory

class Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ("arena", "ordblks", "smblks", "mapped", *"abcdef")]

libc = ctypes.CDLL(None)
libc.mallinfo.restype = Counts
libc.malloc.restype = ctypes.c_void_p
keep_freed_memory()
before = libc.mallinfo().mapped
libc.malloc(ctypes.c_size_t(20 << 20))
print(libc.mallinfo().mapped - before)
"""


@pytest.mark.skipif(
    not hasattr(os, "confstr") or "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""), reason="no glibc"
)
@pytest.mark.parametrize(("own", "mapped"), [({}, "0"), ({"MALLOC_ARENA_MAX": "2"}, "1")])
def test_large_memory_comes_from_the_heap_unless_the_user_has_said_how(own: dict[str, str], mapped: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | own
    done = subprocess.run(
        [sys.executable, "-c", HELD_BY_THE_SYSTEM], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == mapped
