"""One run of a recipe on this machine: checked, tracked, done by an engine, and published where that is asked."""

from __future__ import annotations

from contextlib import chdir
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from kineflow.storage.errors import KineflowError
from kineflow.storage.project import project_around
from pipelines.engines.outcome import Outcome

if TYPE_CHECKING:
    from pipelines.preflight import Checked


class Engine(StrEnum):
    """Who runs a recipe on this machine."""

    DVC = "dvc"
    KFP = "kfp"
    DOCKER = "docker"


@dataclass(frozen=True)
class RunRequest:
    """What is to be run.

    Attributes:
        recipe: Its name.
        params_file: Its parameters.
        project: Folder of the project.
        engine: Who runs it.
        force: Do every step again (DVC).
        publish: ``s3://bucket/prefix`` that models and reports are put to; empty: nowhere.
    """

    recipe: str
    params_file: Path
    project: Path
    engine: Engine = Engine.DVC
    force: bool = False
    publish: str = ""


@dataclass(frozen=True)
class Done:
    """What came out.

    Attributes:
        outcome: What was left behind.
        published: Address of the index of what was published; empty where nothing was.
    """

    outcome: Outcome
    published: str = ""


def prepare_tracking() -> None:
    """Have a store to record in, and close the records of runs whose process is gone.

    Raises:
        KineflowError: The store cannot be used.
    """
    from kineflow.tracking.abandoned import close_abandoned
    from kineflow.tracking.store import prepare_store

    prepare_store()
    close_abandoned()


def run_once(request: RunRequest, checked: Checked) -> Done:
    """Run a recipe whose parameters have been checked (:func:`pipelines.preflight.check_run`).

    Raises:
        KineflowError: A step failed, or the tracking store cannot be used.
        KeyboardInterrupt: Ctrl-C, or SIGTERM; what was finished is kept.
    """
    from components.frontend.inputs import places_read
    from kineflow.tracking.lineage import version_of_inputs
    from kineflow.tracking.parent import record_parent
    from pipelines.engines.environment import pipeline_run
    from pipelines.engines.publish import publish
    from pipelines.run_record import record_of

    recipe, chosen, project = request.recipe, request.params_file, request.project
    outcome: Outcome | None = None

    def told(run_id: str) -> None:
        record_parent(run_id, lambda: record_of(recipe, chosen, checked.values, project, outcome))

    version = version_of_inputs(project, places_read(checked.values["ingestion"]))
    with pipeline_run(recipe, version, told) as run_id:
        outcome = _run(request, checked)
        published = publish(outcome, request.publish, recipe=recipe, run_id=run_id)[-1] if request.publish else ""
    return Done(outcome, published)


def _run(request: RunRequest, checked: Checked) -> Outcome:
    recipe, project = request.recipe, request.project
    if request.engine is Engine.DVC:
        if project_around(project) != project:  # named, and without DVC's folder
            raise KineflowError("no project", where=project, remedy=f"make it one with: kineflow init {project}")
        from pipelines.engines.run_dvc import run_dvc

        return run_dvc(recipe, request.params_file, project, force=request.force)
    with chdir(project):  # KFP's runners start tasks in the working folder
        if request.engine is Engine.DOCKER:
            from pipelines.engines.run_kfp_docker import run_kfp_docker

            return run_kfp_docker(recipe, checked.values, project / "outputs" / "docker")
        from pipelines.engines.run_kfp_local import run_kfp_local

        return run_kfp_local(recipe, checked.values, project / "outputs" / "kfp")
