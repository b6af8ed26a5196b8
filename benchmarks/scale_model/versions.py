"""DVC's time: a slope a file, and a hash a byte."""

from __future__ import annotations

from dataclasses import dataclass

from scale_model.figures import Figures


@dataclass(frozen=True)
class DvcHours:
    """CPU hours of one command on a folder, one core; ``dir_bytes`` is the list of its files, read by each of them."""

    add: float
    status: float
    push: float
    checkout: float
    dir_bytes: float


def dvc_hours(files: float, total_bytes: float, figures: Figures) -> DvcHours:
    """``files`` with ``total_bytes`` under one ``.dvc`` file; only ``add`` reads the bytes."""
    dvc = figures.dvc

    def hours(cpu_ms_a_file: float, more_s: float = 0.0) -> float:
        return (dvc.start_cpu_s + files * cpu_ms_a_file / 1000 + more_s) / 3600

    return DvcHours(
        add=hours(dvc.add_cpu_ms, total_bytes / dvc.md5_bytes_a_cpu_s),
        status=hours(dvc.status_cpu_ms),
        push=hours(dvc.push_cpu_ms),
        checkout=hours(dvc.checkout_cpu_ms),
        dir_bytes=files * dvc.dir_file_bytes,
    )
