"""A recipe's package, executed on this machine by KFP, whatever its tasks run in."""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.dag.graph import graph_of
from pipelines.dag.package import compile_package
from pipelines.engines.kfp_output import OnlySteps
from pipelines.engines.outcome import Outcome

EXECUTOR_OUTPUT = "executor_output.json"


class RunStoppedError(Exception):
    """KFP has stopped a run because a task failed.

    Attributes:
        last_lines: What that task said last; it has been printed.
    """

    def __init__(self, reason: str, last_lines: tuple[str, ...]) -> None:
        super().__init__(reason)
        self.last_lines = last_lines


def execute_recipe(recipe: str, params: Mapping[str, Any], runner: Any, pipeline_root: Path) -> Outcome:
    """Execute every task of a recipe in KFP's order.

    Args:
        recipe: Its name.
        params: Checked parameters, one a parameter of the pipeline.
        runner: One of ``kfp.local``.
        pipeline_root: Outputs are written below it, in a folder of this run.

    Raises:
        RunStoppedError: A task failed.
        KeyboardInterrupt: The user stopped it; says how to go on.
    """
    before = set(pipeline_root.glob(f"{recipe}-*"))
    try:
        execute_package(compile_package(recipe, params), task_names(recipe, params), runner, pipeline_root)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{recipe} starts from the beginning with this engine; with dvc it goes on") from None
    (folder,) = set(pipeline_root.glob(f"{recipe}-*")) - before
    return _outcome(task_names(recipe, params), folder)


def execute_package(package: str, names: Mapping[str, str], runner: Any, pipeline_root: Path) -> None:
    """Execute a compiled package, and print what its tasks say.

    Args:
        package: YAML.
        names: What to call a task, by KFP's name.
        runner: One of ``kfp.local``.
        pipeline_root: Outputs are written below it.

    Raises:
        RunStoppedError: A task failed.
    """
    from kfp import components, local

    for kind in (FutureWarning, RuntimeWarning, UserWarning):
        warnings.filterwarnings("ignore", category=kind, module="kfp")
    pipeline = components.load_component_from_text(package)
    local.init(runner, pipeline_root=str(pipeline_root))
    step_output = OnlySteps(sys.stdout, names)
    try:
        with contextlib.redirect_stdout(step_output):
            pipeline()
    except RuntimeError as error:
        raise RunStoppedError(str(error), tuple(step_output.last_lines)) from None


def task_names(recipe: str, params: Mapping[str, Any]) -> dict[str, str]:
    """What a recipe calls its tasks, by KFP's name: ``train-2`` is ``plain``."""
    return {task.key: task.name for task in graph_of(recipe, params).tasks}


def _outcome(names: Mapping[str, str], folder: Path) -> Outcome:
    """Read which tasks ran from what they wrote, not from what the runner says."""
    executed = sorted(folder.glob(f"*/{EXECUTOR_OUTPUT}"), key=lambda path: path.stat().st_mtime)
    outputs: dict[str, dict[str, Path]] = {}
    for written in executed:
        artifacts = json.loads(written.read_text()).get("artifacts", {})
        outputs[names[written.parent.name]] = {
            name: Path(listed["artifacts"][0]["uri"]) for name, listed in artifacts.items() if listed["artifacts"]
        }
    return Outcome(tuple(outputs), outputs)
