"""A recipe by seeds and splits: one run after the other, each in a place of its own, and one report of all.

Stored clips, flow and features are found by content, so that runs share them; what a step has done is kept in its run's
own place, so that none overwrites another's. A run that fails does not end the others. The same command again does what
is missing only.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from components.dvc.workspace_files import OUTPUTS
from kineflow.comparison.repeats import Repeat, Repeated, RepeatsReport, RunState, repeated
from kineflow.comparison.repeats_page import write_page
from kineflow.storage.errors import KineflowError, raise_together
from kineflow.storage.files import atomic_file
from kineflow.tracking.groups import run_group
from kineflow.tracking.run_variables import RUN_ID
from kineflow.tracking.runs import StepRun
from pipelines.dag.params import graph_for
from pipelines.engines.axes import Axes, Member, members_of
from pipelines.engines.outcome import Outcome
from pipelines.engines.workspace import Workspace, variant_folder
from pipelines.preflight import Checked, check_run
from pipelines.run_once import Engine, RunRequest, prepare_tracking, run_once

PAGE, FIGURES = "report.html", "report.json"
_SIGNALS = 128  # a shell's exit codes above it stand for signals


def check_repeats(request: RunRequest, axes: Axes) -> list[tuple[Member, Checked]]:
    """Check every run before the first begins; their parameter files are written.

    Raises:
        KineflowError: The engine keeps one set of outputs only, the environment names one run, an axis does not fit the
            recipe, or something stands in the way of a run.
    """
    if request.engine is not Engine.DVC:
        raise KineflowError(
            f"{axes.words} cannot go by the engine {request.engine}, which keeps the outputs of one run",
            remedy="leave --engine out",
        )
    if os.environ.get(RUN_ID):
        raise KineflowError(
            f"{axes.words} makes several runs, and {RUN_ID} names one", remedy=f"unset {RUN_ID}; each run gets its own"
        )
    members = members_of(request.recipe, request.params_file, request.project, axes)
    checked: list[tuple[Member, Checked]] = []
    faults: dict[str, KineflowError] = {}
    for member in members:
        member.write(request.params_file)
        try:
            checked.append((member, check_run(request.recipe, member.params_file, request.project)))
        except KineflowError as error:
            faults.setdefault(error.problem, error)
    raise_together(list(faults.values()), where=request.params_file, remedy="mend them; nothing has run")
    return checked


def run_repeats(
    request: RunRequest,
    axes: Axes,
    checked: Sequence[tuple[Member, Checked]],
    tell: Callable[[RepeatsReport, Path], None],
) -> None:
    """Do the runs, and write their report.

    Args:
        request: What is run, of the file that was given.
        axes: Over what.
        checked: Of :func:`check_repeats`.
        tell: Given the report and its page, when all runs have ended.

    Raises:
        KineflowError: Some runs failed, the store cannot be used, the disk is full, or a run was told to stop.
        KeyboardInterrupt: Ctrl-C, or SIGTERM; what was finished is kept.
    """
    prepare_tracking()
    recipe, project = request.recipe, request.project
    params = Workspace.of(recipe, request.params_file, project).params
    key = hashlib.sha256(f"{recipe}\0{params}\0{axes.words}".encode()).hexdigest()[:16]
    tags = {"recipe": recipe, "params": params, "axes": axes.words}
    with run_group(f"{recipe} {axes.words}", key=key, experiment=recipe, tags=tags) as group:
        outcomes, states, failures = _run_all(request, checked)
        command = f"kineflow run {recipe} --params {params} {axes.words}"
        report = RepeatsReport(recipe, command, states, _evaluations(request, outcomes))
        folder = variant_folder(recipe, request.params_file, project, "repeats") / OUTPUTS
        _write(folder, report)
        _record(group, folder, report)
        tell(report, folder / PAGE)
        if failures:
            raise KineflowError(
                f"{len(failures)} of {len(states)} runs failed",
                remedy="mend what they say, then run the same again: what is finished is kept",
                exit_code=failures[0].exit_code,
            )


def _run_all(
    request: RunRequest, checked: Sequence[tuple[Member, Checked]]
) -> tuple[list[tuple[Member, Outcome]], tuple[RunState, ...], list[KineflowError]]:
    """What came out of the runs that did not fail, how each ended, and why some failed."""
    outcomes: list[tuple[Member, Outcome]] = []
    states: list[RunState] = []
    failures: list[KineflowError] = []
    for number, (member, of_member) in enumerate(checked, start=1):
        place = Workspace.of(request.recipe, member.params_file, request.project).folder
        named = os.path.relpath(place, request.project)
        _say(f"\n━━ run {number} of {len(checked)}: {member.name}")
        try:
            done = run_once(replace(request, params_file=member.params_file), of_member)
        except KineflowError as error:
            if error.exit_code > _SIGNALS or error.exit_code == errno.ENOSPC:
                raise
            sys.stderr.write(f"error: {error}\n")
            failures.append(error)
            states.append(RunState(member.name, named, str(error)))
            continue
        outcomes.append((member, done.outcome))
        states.append(RunState(member.name, named))
        if done.published:
            _say(f" published  {done.published}")
    return outcomes, tuple(states), failures


def _evaluations(request: RunRequest, outcomes: Sequence[tuple[Member, Outcome]]) -> dict[str, Repeated]:
    """Each evaluation of the recipe over the runs that have it, by its task."""
    graph = graph_for(request.recipe, request.params_file)
    found = {}
    for task in graph.tasks:
        if "evaluation" in task.outputs and outcomes:
            repeats = [
                Repeat(member.seed, member.split, outcome.outputs[task.name]["evaluation"])
                for member, outcome in outcomes
            ]
            section = outcomes[0][0].values.get(task.sections.get("params", ""), {})
            found[task.name] = repeated(repeats, baseline=section.get("baseline"))
    return found


def _write(folder: Path, report: RepeatsReport) -> None:
    write_page(folder / PAGE, report)
    with atomic_file(folder / FIGURES) as partial:
        partial.write_text(json.dumps(report.plain(), indent=1) + "\n", encoding="utf-8")


def _record(group: StepRun, folder: Path, report: RepeatsReport) -> None:
    for task, evaluation in report.evaluations.items():
        figures = {}
        for row in evaluation.rows:
            for name, spread in row.figures.items():
                figures[f"{task}/{row.name}/{name}/mean"] = spread.mean
                if spread.deviation is not None:
                    figures[f"{task}/{row.name}/{name}/sd"] = spread.deviation
        group.log_metrics(figures)
    for name in (PAGE, FIGURES):
        group.log_artifact(folder / name)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
