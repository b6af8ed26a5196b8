"""A training in a pod keeps its checkpoints on the shared volume, where its next attempt, in another pod, finds them.

Beside the output, where they are elsewhere, they would be gone with the pod: a machine that the cloud takes back, or a
result that could not be stored, would cost the whole training. They lie in the folder that a training job of several
nodes would have (:mod:`components.launch.job_folder`), until the run has ended well.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.launch.job_folder import JobFolder, remove_run
from components.launch.trainjob_spec import job_name, label
from kineflow.storage.files import KEEP_WORK, keep_work_in
from kineflow.tracking.run_variables import RUN_ID

VOLUME = "KINEFLOW_VOLUME"
"""The environment variable in which a pod finds where the shared volume is mounted."""


def keep_work(module: str, given: Mapping[str, Any], outputs: Sequence[str]) -> None:
    """Have this process, and those that it starts, keep a training's work on the shared volume; nothing without one.

    Args:
        module: Of the step.
        given: Its arguments by name.
        outputs: Which of them are paths to write.

    Raises:
        KineflowError: The volume cannot be written to.
    """
    volume, run = os.environ.get(VOLUME, ""), os.environ.get(RUN_ID, "")
    if not volume or not label(run):
        return
    step = module.rpartition(".")[2]
    folder = JobFolder(Path(volume), label(run), job_name(run, step, str(given.get("name", step))))
    for name in (key for key in outputs if key in given):
        keep_work_in(folder.work(), Path(given[name]))
    os.environ[KEEP_WORK] = "1"  # until the run has ended well: what was made may not reach its store


def remove_kept_work(run: str) -> None:
    """Remove what the trainings of a run have kept, which has ended well."""
    if (volume := os.environ.get(VOLUME, "")) and label(run):
        remove_run(Path(volume), label(run))
