import subprocess
import sys

import pytest
import torch

from components.frontend.cost import Meter


def test_work_of_this_process_and_of_its_children_counts() -> None:
    meter = Meter()
    subprocess.run([sys.executable, "-c", "x = bytes(200 * 2**20); sum(range(3_000_000))"], check=True)
    figures = meter.figures()
    assert figures["cost/cpu_s"] > 0.01
    assert figures["cost/wall_s"] > 0.01
    assert figures["cost/peak_memory_mb"] > 190


def test_a_gpu_counts_where_one_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cost/peak_gpu_memory_mb" not in Meter().figures() or torch.cuda.is_initialized()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 3 * 2**20)
    assert Meter().figures()["cost/peak_gpu_memory_mb"] == 3
