"""What this machine has to offer."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Machine:
    """What this machine has to offer to one run.

    Attributes:
        cores: That this process may use.
        memory_mb: Free now.
        gpu: Name of the first GPU; empty where there is none.
        gpu_memory_mb: Of it; 0 where there is none.
    """

    cores: int
    memory_mb: int
    gpu: str = ""
    gpu_memory_mb: int = 0

    def __str__(self) -> str:
        gpu = f"{self.gpu}, {self.gpu_memory_mb / 1024:.0f} GB" if self.gpu else "no GPU"
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        return f"{cores}, {self.memory_mb / 1024:.0f} GB of memory free, {gpu}"


def this_machine() -> Machine:
    """This one, as it is now."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    free = int(psutil.virtual_memory().available / 2**20)
    if not torch.cuda.is_available():
        return Machine(cores, free)
    properties = torch.cuda.get_device_properties(0)
    return Machine(cores, free, properties.name, int(properties.total_memory / 2**20))
