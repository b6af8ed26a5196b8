"""What this machine has to offer."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil

_BUSY = 0.5


@dataclass(frozen=True)
class Machine:
    """What this machine has to offer to one run.

    Attributes:
        cores: That this process may use.
        memory_mb: Free now.
        gpu: Name of the first GPU; empty where there is none.
        gpu_memory_mb: Of it; 0 where there is none.
        load: Threads that wanted to run in the last minute, on average, for each core of the whole machine.
    """

    cores: int
    memory_mb: int
    gpu: str = ""
    gpu_memory_mb: int = 0
    load: float = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether a run would have to share the cores."""
        return self.load >= _BUSY

    def __str__(self) -> str:
        gpu = f"{self.gpu}, {self.gpu_memory_mb / 1024:.0f} GB" if self.gpu else "no GPU"
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        return f"{cores}, {self.memory_mb / 1024:.0f} GB of memory free, {gpu}"


def this_machine() -> Machine:
    """This one, as it is now."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 0.0
    free = int(psutil.virtual_memory().available / 2**20)
    if not torch.cuda.is_available():
        return Machine(cores, free, load=load)
    properties = torch.cuda.get_device_properties(0)
    return Machine(cores, free, properties.name, int(properties.total_memory / 2**20), load)
