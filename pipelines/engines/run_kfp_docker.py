"""Run a recipe's KFP package with KFP's Docker runner: one container a task, on this machine.

Containers run as a user without rights, on a root file system that is read-only. Of this machine they see the data that
the parameters name (read-only), the folder of this engine's outputs, and the tracking store where that is a file. Where
the run needs a network they have the host's, else none; ``KINEFLOW_DOCKER_NETWORK`` names another. GPUs are theirs if
Docker has NVIDIA's runtime.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from components.frontend.image import IMAGE
from components.frontend.inputs import local_inputs
from kineflow.storage.errors import KineflowError
from kineflow.storage.project import PROJECT, current_project, find_project, media_folder
from kineflow.tracking.lineage import data_md5, tree_digest
from kineflow.tracking.run_variables import RUN_ID
from kineflow.tracking.store import database_file, tracking_uri
from pipelines.dag.graph import graph_of
from pipelines.dag.params import schema_of
from pipelines.dag.sources import ROOT
from pipelines.engines.container_settings import (
    NETWORK,
    named_files,
    needs_network,
    open_to_group,
    run_settings,
    step_mounts,
    step_user,
    store_files,
)
from pipelines.engines.kfp_execution import RunStoppedError, execute_recipe, task_names
from pipelines.engines.outcome import Outcome

CONTAINER_RUN_LABEL = "kineflow.run"
SOURCE_LABEL = "kineflow.source-digest"
_START_AN_ENGINE = "install and start Docker, or use another engine: --engine kfp"
_BUILD = "build it: python deploy/build_image.py"


def run_kfp_docker(recipe: str, params: Mapping[str, Any], pipeline_root: Path) -> Outcome:
    """Execute every task of a recipe in KFP's order, each in its own container.

    Args:
        recipe: Its name.
        params: Checked parameters, one a parameter of the pipeline.
        pipeline_root: Outputs are written below it, in a folder of this run.

    Raises:
        KineflowError: There is no engine, or no image of the present code; or a task has not written its outputs.
    """
    uri = tracking_uri()
    store = database_file(uri)
    kinds = schema_of(graph_of(recipe, params))
    inputs = [Path(name) for key, kind in kinds.items() for name in local_inputs(kind, params[key])]
    network = os.environ.get(NETWORK) or ("host" if needs_network(params, uri) else "none")
    environment = {**os.environ, "KINEFLOW_IMAGE": IMAGE, "MLFLOW_TRACKING_URI": uri}
    environment |= {"KINEFLOW_DATA_VERSION": version} if (version := data_md5(current_project())) else {}
    media = _media(pipeline_root)
    environment |= {PROJECT: str(media.parent)} if media else {}
    user = step_user(os.getuid(), os.getgid())
    settings = run_settings(environment, network=network, user=user, folder=Path.cwd())
    inputs += named_files(settings["environment"])

    pipeline_root.mkdir(parents=True, exist_ok=True)
    if not os.getuid():
        open_to_group([pipeline_root, *(store_files(store) if store else []), *_folders(media)])
    check_image(IMAGE, tree_digest(ROOT))
    with step_containers(settings, lambda: step_mounts(inputs, store, media)) as (runner, failed):
        try:
            return execute_recipe(recipe, params, runner, pipeline_root.absolute())
        except RunStoppedError as stopped:
            raise _failure(stopped, failed, task_names(recipe, params)) from None


def _media(pipeline_root: Path) -> Path | None:
    """The store of the project that outputs lie in, made where it is not there."""
    project = find_project(pipeline_root)
    if project is None:
        return None
    media_folder(project).mkdir(exist_ok=True)
    return media_folder(project)


def _folders(media: Path | None) -> list[Path]:
    return [Path(below) for below, _, _ in os.walk(media)] if media else []


def check_image(image: str, digest: str) -> None:
    """See that an engine answers and has the image, made from the present code.

    Args:
        image: Its name.
        digest: Of the present source, :func:`kineflow.tracking.lineage.tree_digest`.

    Raises:
        KineflowError: One of them is not so.
    """
    with _engine() as client:
        from docker.errors import ImageNotFound

        try:
            labels = client.images.get(image).labels
        except ImageNotFound:
            raise KineflowError(
                f"there is no image {image}", remedy=f"{_BUILD}; or docker pull one, and set KINEFLOW_IMAGE to its name"
            ) from None
    if labels.get(SOURCE_LABEL) and labels[SOURCE_LABEL] != digest:
        raise KineflowError(f"image {image} was built from other source code than this", remedy=_BUILD)


@contextlib.contextmanager
def step_containers(
    settings: Mapping[str, Any], mounts: Callable[[], Any]
) -> Iterator[tuple[Any, list[tuple[str, list[str]]]]]:
    """A runner whose containers are judged by their outputs, and do not outlive the block.

    Args:
        settings: Arguments for ``docker run``.
        mounts: Says before each step what its container sees of this machine, as ``Mount``.

    Yields:
        KFP's runner, and a list that grows by each task that failed: KFP's name, and what it has not written.

    Raises:
        KineflowError: There is no engine, or it refuses to run a container.
    """
    from docker.errors import DockerException
    from docker.types import DeviceRequest
    from docker.types import Mount as DockerMount
    from kfp.local import DockerRunner, docker_task_handler

    from pipelines.engines.checked_tasks import checked_tasks, run_container

    run_id = os.environ.get(RUN_ID) or uuid.uuid4().hex[:12]

    def bind_mounts() -> list[Any]:
        return [
            DockerMount(str(mount.target), str(mount.source), type="bind", read_only=mount.read_only)
            for mount in mounts()
        ]

    handler = checked_tasks(bind_mounts)
    standard = docker_task_handler.DockerTaskHandler, docker_task_handler.run_docker_container
    with _engine() as client:
        has_gpus = "nvidia" in client.info().get("Runtimes", {})
        gpus = {"device_requests": [DeviceRequest(count=-1, capabilities=[["gpu"]])]} if has_gpus else {}
        docker_task_handler.DockerTaskHandler, docker_task_handler.run_docker_container = handler, run_container
        try:
            yield DockerRunner(**settings, **gpus, labels={CONTAINER_RUN_LABEL: run_id}), handler.failed
        except DockerException as error:
            raise KineflowError(f"the container engine refuses: {error}") from None
        finally:
            docker_task_handler.DockerTaskHandler, docker_task_handler.run_docker_container = standard
            _kill(client, run_id)


def _failure(stopped: RunStoppedError, failed: list[tuple[str, list[str]]], names: Mapping[str, str]) -> KineflowError:
    if not failed:
        return KineflowError(f"the run stopped: {stopped}")
    key, missing = failed[-1]
    last_lines = "\n".join(f"  {line}" for line in stopped.last_lines) or "  (nothing)"
    wrote = f"it has not written {', '.join(missing)}" if missing else "it ended with an error"
    return KineflowError(
        f"{names.get(key, key)} failed: {wrote}. It said last:\n{last_lines}",
        remedy="what comes after it has not run",
    )


@contextlib.contextmanager
def _engine() -> Iterator[Any]:
    import docker

    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        reason = str(error).splitlines()[0]
        raise KineflowError(f"no container engine answers: {reason}", remedy=_START_AN_ENGINE) from None
    with contextlib.closing(client):
        yield client


def _kill(client: Any, run_id: str) -> None:
    """Stop and remove what of a run is still there."""
    from docker.errors import DockerException

    with contextlib.suppress(DockerException):
        for container in client.containers.list(all=True, filters={"label": f"{CONTAINER_RUN_LABEL}={run_id}"}):
            with contextlib.suppress(DockerException):  # it may just have gone
                container.remove(force=True)
