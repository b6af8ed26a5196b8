"""The environment that steps run in: the project on the path, telemetry off, one name for the whole run."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from kineflow.storage.errors import KineflowError
from kineflow.storage.project import PROJECT, current_project
from kineflow.storage.stopping import signals_held
from kineflow.tracking.lineage import DATA_VERSION, GIT_COMMIT, GIT_DIRTY, git_tags
from kineflow.tracking.marks import Mark, marked
from kineflow.tracking.run_variables import RECIPE, RUN_ID
from kineflow.tracking.store import tracking_uri
from pipelines.dag.sources import ROOT

_QUIET = {
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "true",
    "GX_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}


@contextmanager
def pipeline_run(recipe: str, data_version: str, told: Callable[[str], object] = str) -> Iterator[str]:
    """Name the run for all its steps (the name is given), and close its record in the tracking store as it ended.

    Args:
        recipe: Its name.
        data_version: Of what it reads, see :func:`kineflow.tracking.lineage.version_of_inputs`.
        told: Adds to the record, given the run's name, before it is closed.
    """
    project, is_closed = current_project(), False
    before = {name: os.environ.get(name) for name in (RUN_ID, RECIPE, DATA_VERSION, GIT_COMMIT, GIT_DIRTY)}
    run_id = before[RUN_ID] or uuid.uuid4().hex[:12]
    os.environ.update({RUN_ID: run_id, RECIPE: recipe, DATA_VERSION: data_version, **_git_of(project)})
    try:
        with marked(Mark("pipeline", run_id), tracking_uri(project), project):
            try:
                yield run_id
                with signals_held():  # half of an import of MLflow could close nothing any more
                    told(run_id)
                    _close(run_id, "FINISHED")
                    is_closed = True
            except BaseException as error:
                with signals_held(), suppress(KineflowError):  # a store out of use must not hide why the run ended
                    if not is_closed:
                        told(run_id)
                        _close(run_id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
                raise
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({name: value} if value else {})


def _git_of(project: Path) -> dict[str, str]:
    """What git says now, for all steps: while they run, people edit."""
    tags = git_tags(project)
    if "git.dirty" not in tags:
        return {}
    return {GIT_COMMIT: tags["git.commit"], GIT_DIRTY: tags["git.dirty"]}


def _close(run_id: str, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
    from kineflow.tracking.abandoned import close_abandoned
    from kineflow.tracking.runs import end_pipeline_run

    end_pipeline_run(run_id, status)
    close_abandoned(ended=run_id)  # steps that were killed


# A waiting OpenMP thread spins for milliseconds by default, and a machine that does anything else beside then trains
# ten times slower. With no spinning at all, a step of the demo takes a third longer on a quiet one.
_SHARED_CORES = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "4000"}


def step_environment(project: Path) -> dict[str, str]:
    """A copy of this process's environment, with what steps need: Kineflow's code, and the project with its own."""
    paths = os.pathsep.join(filter(None, [str(ROOT), str(project), os.environ.get("PYTHONPATH")]))
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    shared = {} if "OMP_WAIT_POLICY" in os.environ else _SHARED_CORES
    return {**shared, **os.environ, **_QUIET, "PATH": programs, "PYTHONPATH": paths, PROJECT: str(project)}
