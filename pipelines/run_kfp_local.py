"""Run a recipe's KFP package with KFP's local runner: one subprocess a task, on this machine."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
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

# What KFP's local runner prints: its own log, and a task's output, indented, among it the executor's log and its input.
_RUNNER = re.compile(r"\d\d:\d\d:\d\d\.\d+ - [A-Z]+ - (.*)")
_STARTED = re.compile(r"Executing task '(.*)'")
_STREAMING = "Streamed logs:"
_EXECUTOR = re.compile(r"^\[KFP Executor [^\]]*\]: ")
_EXECUTOR_TALK = (
    "Looking for component", "Loading KFP component", "Got executor_input", "Wrote executor output", "Did not write",
)  # fmt: skip
_COLOUR = re.compile(r"\x1b\[\d+m")
_INDENT = "    "


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

    for kind in (FutureWarning, RuntimeWarning, UserWarning):
        warnings.filterwarnings("ignore", category=kind, module="kfp")
    before = set(pipeline_root.glob(f"{recipe}-*"))
    pipeline = components.load_component_from_text(compile_package(recipe, params))
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(pipeline_root))
    try:
        names = {task.key: task.name for task in graph_of(recipe).tasks}  # "train-2" is the recipe's "plain"
        with _environment(step_environment()), contextlib.redirect_stdout(_OnlySteps(sys.stdout, names)):
            pipeline()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{recipe} starts from the beginning with this engine; with dvc it goes on") from None
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
    """Passes on what steps say, below a heading a task, and drops what the runner and its executor say of themselves.

    Args:
        target: Where to.
        names: What the recipe calls a task, by KFP's name.
    """

    def __init__(self, target: TextIO, names: Mapping[str, str]) -> None:
        self._target, self._names = target, names
        self._line, self._in_task, self._in_json = "", False, False

    def write(self, text: str) -> int:
        *whole, self._line = (self._line + text).split("\n")
        for line in whole:
            self._pass(_COLOUR.sub("", line).rstrip())
        return len(text)

    def _pass(self, line: str) -> None:
        if by_runner := _RUNNER.match(line):
            started = _STARTED.fullmatch(by_runner[1])
            if started:
                self._say(f"\n── {self._names.get(started[1], started[1])}")
            self._in_task, self._in_json = started is not None or by_runner[1] == _STREAMING, False
        elif self._in_json:
            self._in_json = line != f"{_INDENT}}}"
        elif self._in_task and line.strip():
            said = _EXECUTOR.sub("", line.removeprefix(_INDENT))
            self._in_json = said.startswith("Got executor_input")
            if not said.startswith(_EXECUTOR_TALK):
                self._say(said)

    def _say(self, line: str) -> None:
        self._target.write(line + "\n")
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
