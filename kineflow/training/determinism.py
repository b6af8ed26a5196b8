"""Whether a training that is repeated gives the same bits, or is as fast as it can be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """Within the block, torch gives the same results each time, wherever it can; or else takes what is fastest."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it once in a process
    mode, benchmark = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    memory: Any = torch.utils.deterministic  # a module whose attribute is a property, which no type checker sees
    filling = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    torch.backends.cudnn.benchmark = not wanted
    # To fill all new memory with NaN takes 15 % of the time, and shows mistakes of torch's own alone.
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        memory.fill_uninitialized_memory = filling
        torch.backends.cudnn.benchmark = benchmark
        torch.set_deterministic_debug_mode(mode)
