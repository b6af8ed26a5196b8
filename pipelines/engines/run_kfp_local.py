"""Run a recipe's KFP package with KFP's local runner: one subprocess a task, on this machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kineflow.storage.errors import KineflowError
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
        with _environment(step_environment()):
            return execute_recipe(recipe, params, local.SubprocessRunner(use_venv=False), pipeline_root)
    except RunStoppedError as stopped:
        raise KineflowError(f"the run stopped: {stopped}", remedy="see the failed task's message above") from None


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """KFP's subprocesses inherit this process's environment; give them ours while they run."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
