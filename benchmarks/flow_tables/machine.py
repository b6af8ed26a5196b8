"""The machine and the versions a table was measured with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def machine() -> str:
    """One line for the foot of a table."""
    parts = [f"{_processor()}, {os.cpu_count()} cores"]
    if torch.cuda.is_available():
        parts += [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    names = {"numba": "numba", "triton": "triton", "opencv-contrib-python-headless": "OpenCV", "av": "PyAV"}
    parts += [f"Python {platform.python_version()}", f"torch {torch.__version__}"]
    parts += [f"{shown} {_version(name)}" for name, shown in names.items() if _version(name)]
    return "; ".join(parts)


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
