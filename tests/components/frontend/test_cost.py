import subprocess
import sys

from components.frontend.cost import Meter


def test_work_of_this_process_and_of_its_children_counts() -> None:
    meter = Meter()
    subprocess.run([sys.executable, "-c", "x = bytes(200 * 2**20); sum(range(3_000_000))"], check=True)
    figures = meter.figures()
    assert figures["cost/cpu_s"] > 0.01
    assert figures["cost/wall_s"] > 0.01
    assert figures["cost/peak_memory_mb"] > 190
