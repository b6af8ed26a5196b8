"""Run a recipe's KFP package with KFP's local runner: one subprocess a task, on this machine."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kineflow.storage.environment import variables_set
from kineflow.storage.errors import KineflowError
from kineflow.storage.project import current_project
from kineflow.tracking.run_variables import RUN_ID
from pipelines.engines.environment import step_environment
from pipelines.engines.kfp_execution import RunStoppedError, execute_recipe
from pipelines.engines.outcome import Outcome
from pipelines.engines.process_tree import ProcessTree
from pipelines.engines.run_lock import lifeline


def run_kfp_local(recipe: str, params: Mapping[str, Any], pipeline_root: Path) -> Outcome:
    """Execute every task of a recipe in KFP's order.

    Args:
        recipe: Its name.
        params: Checked parameters, one a parameter of the pipeline.
        pipeline_root: Outputs are written below it, in a folder of this run.

    Raises:
        KineflowError: A task failed; its log has been printed.
        KeyboardInterrupt: Ctrl-C, or SIGTERM; the task that ran has ended.
    """
    from kfp import local

    project, tree = current_project(), ProcessTree()
    run_id = os.environ.get(RUN_ID) or uuid.uuid4().hex
    try:
        with lifeline(project, recipe, run_id) as ending, variables_set(step_environment(project) | ending):
            return execute_recipe(recipe, params, local.SubprocessRunner(use_venv=False), pipeline_root)
    except KeyboardInterrupt:
        tree.stop()
        raise
    except RunStoppedError as stopped:
        raise KineflowError(f"the run stopped: {stopped}", remedy="see the failed task's message above") from None
