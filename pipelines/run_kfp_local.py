"""Run a recipe's KFP package with KFP's local runner: one subprocess a task, on this machine."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from kineflow.errors import KineflowError
from pipelines.environment import step_environment
from pipelines.graph import graph_of
from pipelines.outcome import Outcome
from pipelines.package import compile_package


def run_kfp_local(recipe: str, params: Mapping[str, Any], pipeline_root: Path) -> Outcome:
    """Execute every task of a recipe in KFP's order.

    Args:
        recipe: Its name.
        params: Checked parameters, one a parameter of the pipeline.
        pipeline_root: Outputs are written below it, in a folder of this run.

    Raises:
        KineflowError: A task failed; its log has been printed.
    """
    from kfp import components, local

    warnings.filterwarnings("ignore", category=FutureWarning, module="kfp")
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="kfp")
    before = set(pipeline_root.glob(f"{recipe}-*"))
    pipeline = components.load_component_from_text(compile_package(recipe, params))
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(pipeline_root))
    try:
        with _environment(step_environment()), contextlib.redirect_stdout(_OnlySteps(sys.stdout)):
            pipeline()
    except RuntimeError as error:
        raise KineflowError(f"the run stopped: {error}", remedy="see the failed task's message above") from None
    (folder,) = set(pipeline_root.glob(f"{recipe}-*")) - before
    return _outcome(recipe, folder)


def _outcome(recipe: str, folder: Path) -> Outcome:
    """Read which tasks ran from what they wrote, not from what the runner says."""
    executed = sorted(folder.glob("*/executor_output.json"), key=lambda path: path.stat().st_mtime)
    names = {task.key: task.name for task in graph_of(recipe).tasks}  # "train-2" is the recipe's "plain"
    outputs: dict[str, dict[str, Path]] = {}
    for written in executed:
        artifacts = json.loads(written.read_text()).get("artifacts", {})
        outputs[names[written.parent.name]] = {
            name: Path(listed["artifacts"][0]["uri"]) for name, listed in artifacts.items() if listed["artifacts"]
        }
    return Outcome(tuple(outputs), outputs)


class _OnlySteps(io.TextIOBase):
    """Passes on what steps say, and drops the executor's own JSON."""

    def __init__(self, target: TextIO) -> None:
        self._target, self._line, self._in_json = target, "", False

    def write(self, text: str) -> int:
        *whole, self._line = (self._line + text).split("\n")
        for line in whole:
            self._pass(line.rstrip())
        return len(text)

    def _pass(self, line: str) -> None:
        bare = line.strip()
        if not bare or bare in ("{", "}") or bare.startswith(("[KFP Executor", '"', "---")):
            return
        self._target.write(bare + "\n")
        self._target.flush()


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
