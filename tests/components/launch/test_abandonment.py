"""A node of a training job ends well once nobody touches the job's folder, and not before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
NODE = """
import signal, sys
from pathlib import Path
from components.launch import abandonment
abandonment.ABANDONED_SEC = 1.0
abandonment.end_when_abandoned(Path(sys.argv[1]))
print("watching", flush=True)
signal.pause()
"""


@pytest.mark.slow
def test_a_node_ends_when_its_launcher_is_gone(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", NODE, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as node:
        assert node.stdout
        assert node.stdout.readline() == "watching\n"
        for _ in range(20):
            os.utime(tmp_path)
            time.sleep(0.1)
        assert node.poll() is None
        assert node.wait(timeout=60) == -signal.SIGTERM
    assert (tmp_path / "abandoned").exists()


def test_a_node_of_an_abandoned_job_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "abandoned").touch()
    node = subprocess.run(
        [sys.executable, "-m", "components.frontend.trainjob_node"],
        cwd=ROOT, env={**os.environ, "KINEFLOW_LAUNCH": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert node.returncode == 0
