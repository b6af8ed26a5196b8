"""Run a recipe's KFP package with KFP's local runner: one subprocess a task, on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kineflow.storage.environment import variables_set
from kineflow.storage.errors import KineflowError
from kineflow.storage.project import current_project
from pipelines.engines.environment import step_environment
from pipelines.engines.kfp_execution import RunStoppedError, execute_recipe
from pipelines.engines.outcome import Outcome


def run_kfp_local(recipe: str, params: Mapping[str, Any], pipeline_root: Path) -> Outcome:
    """Execute every task of a recipe in KFP's order.

    Args:
        recipe: Its name.
        params: Checked parameters, one a parameter of the pipeline.
        pipeline_root: Outputs are written below it, in a folder of this run.

    Raises:
        KineflowError: A task failed; its log has been printed.
    """
    from kfp import local

    try:
        with variables_set(step_environment(current_project())):
            return execute_recipe(recipe, params, local.SubprocessRunner(use_venv=False), pipeline_root)
    except RunStoppedError as stopped:
        raise KineflowError(f"the run stopped: {stopped}", remedy="see the failed task's message above") from None
