"""However a run is disturbed, the next one ends with the bytes of an undisturbed one, and nothing is left behind.

``DISTURBANCES=200 make test-long`` shows 200 of them (20 by default, from ``CHAOS_SEED``, 0): one costs a stage of a
small recipe, about fifteen seconds of CPU. All other stages are done, so that only the disturbed one is computed; were
its result another one, DVC would do the stages after it again, and the test would see that.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

import psutil
import pytest

from tests.chaos.disturbance import Disturbance, Place
from tests.chaos.project import ChaosProject

pytestmark = pytest.mark.long

COUNT, FIRST = int(os.environ.get("DISTURBANCES", "20")), int(os.environ.get("CHAOS_SEED", "0"))
_END_SECONDS = 60.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> ChaosProject:
    return ChaosProject(tmp_path_factory.mktemp("chaos"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
def test_the_next_run_ends_as_if_nothing_had_been(project: ChaosProject, seed: int) -> None:
    disturbance = Disturbance.draw(seed, project.seconds_of, project.startup_seconds)
    stage = disturbance.stage
    project.undo(stage)
    place = Place(project.path, stage, (project.path / "dvc.lock").stat().st_size)

    process = project.start()
    leader = psutil.Process(process.pid)
    usual = project.startup_seconds + project.seconds_of[stage]
    if disturbance.wait(place, leader, usual):
        with suppress(psutil.NoSuchProcess, ProcessLookupError):  # it has ended just now
            disturbance.strike(leader)
    said, _ = process.communicate(timeout=600)
    deadline = time.monotonic() + _END_SECONDS
    while (left := project.processes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left, f"{disturbance}: orphans {left}\n{said}"

    ended = project.run()
    told = f"{disturbance}\n--- disturbed, {process.returncode}\n{said}\n--- again, {ended.code}\n{ended.said}"
    assert "Traceback" not in said + ended.said, told
    assert ended.code == 0, told
    assert project.made() == project.outputs, told
    assert set(ended.ran) <= {stage}, told
    assert project.leftovers() == [], told
    assert project.running() == [], told
    assert project.processes() == [], told
