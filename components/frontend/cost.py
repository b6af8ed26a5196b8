"""What a step has cost: time and memory, with those of the processes that it started and that have ended."""

from __future__ import annotations

import resource
import sys
import time

_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


class Meter:
    """Measures from when it is made."""

    def __init__(self) -> None:
        self._start_sec, self._start_cpu_sec = time.monotonic(), _cpu_sec()

    def figures(self) -> dict[str, float]:
        """``cost/wall_s``, ``cost/cpu_s``, and ``cost/peak_memory_mb`` of the greatest single process.

        Where this process has used a GPU, also ``cost/peak_gpu_memory_mb``, the most that it reserved there.
        """
        return {
            **_gpu_figures(),
            "cost/wall_s": time.monotonic() - self._start_sec,
            "cost/cpu_s": _cpu_sec() - self._start_cpu_sec,
            "cost/peak_memory_mb": max(usage.ru_maxrss for usage in _usages()) * _MAXRSS_BYTES / 2**20,
        }


def _gpu_figures() -> dict[str, float]:
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return {}
    return {"cost/peak_gpu_memory_mb": cuda.max_memory_reserved() / 2**20}


def _cpu_sec() -> float:
    return sum(usage.ru_utime + usage.ru_stime for usage in _usages())


def _usages() -> list[resource.struct_rusage]:
    return [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
