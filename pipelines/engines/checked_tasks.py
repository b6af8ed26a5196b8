"""KFP's Docker runner, with each step judged by what it wrote.

The runner lets Docker remove a container as soon as it ends, and asks for its exit code and its last words afterwards:
what is gone by then is taken for success, which when it was tried was so for up to a third of all failures. So here
containers are removed when all has been read; and a step is judged by what it wrote. KFP's executor writes
``executor_output.json`` last, and only when the step has returned: that file, whole, and the outputs it names prove
that a step has succeeded.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kfp.local import docker_task_handler
from kfp.local.status import Status

# Kinds of artifacts that are figures in executor_output.json, and no files.
_WITHOUT_FILE = {"system.Metrics", "system.ClassificationMetrics", "system.SlicedClassificationMetrics"}
_INPUT_FLAG = "--executor_input"


class CheckedTask(docker_task_handler.DockerTaskHandler):  # type: ignore[misc]
    """A step in a container, which has succeeded if all its outputs are there."""

    failed: list[tuple[str, list[str]]]  # KFP's name of each task that failed, and what it did not write
    mounts: Callable[[], list[Any]]

    def run(self) -> Status:
        """Run the container, and judge it."""
        self.runner.container_run_args["mounts"] = type(self).mounts()
        ended = super().run()
        given = executor_input(self.full_command)
        missing = missing_outputs(given)
        succeeded = ended is Status.SUCCESS and not missing
        if not succeeded:
            self.failed.append((Path(given["outputs"]["outputFile"]).parent.name, missing))
        return Status.SUCCESS if succeeded else Status.FAILURE


def checked_tasks(mounts: Callable[[], list[Any]]) -> type[CheckedTask]:
    """A handler class for one run.

    Args:
        mounts: Called before each step; what its container sees of this machine beside the outputs.
    """
    return type("CheckedTask", (CheckedTask,), {"failed": [], "mounts": staticmethod(mounts)})


def run_container(client: Any, image: str, command: Sequence[str], volumes: Any, **arguments: Any) -> int:
    """Run a container to its end and print what it says; in place of KFP's function of this kind.

    Args:
        client: Of Docker.
        image, command, volumes: Of the container.
        **arguments: More of ``docker run``.

    Returns:
        Its exit code.
    """
    container = client.containers.run(image, command, volumes=volumes, detach=True, **arguments)
    try:
        for chunk in container.logs(stream=True):
            sys.stdout.write(chunk.decode(errors="replace"))
        return int(container.wait()["StatusCode"])
    finally:
        container.remove(force=True)


def executor_input(command: Sequence[str]) -> dict[str, Any]:
    """What KFP tells a step's executor, read from its command."""
    given: dict[str, Any] = json.loads(command[command.index(_INPUT_FLAG) + 1])
    return given


def missing_outputs(given: Mapping[str, Any]) -> list[str]:
    """What a step was to write and has not.

    Args:
        given: :func:`executor_input` of its command.
    """
    declared = given["outputs"]
    file = Path(declared["outputFile"])
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return [file.name]
    artifacts = {name: listed["artifacts"][0] for name, listed in declared.get("artifacts", {}).items()}
    missing = [name for name in artifacts if name not in written.get("artifacts", {})]
    missing += [
        name
        for name, artifact in artifacts.items()
        if artifact.get("type", {}).get("schemaTitle") not in _WITHOUT_FILE and not Path(artifact["uri"]).exists()
    ]
    missing += [
        name
        for name, parameter in declared.get("parameters", {}).items()
        if name not in written.get("parameterValues", {}) and not Path(parameter["outputFile"]).exists()
    ]
    return sorted(set(missing))
