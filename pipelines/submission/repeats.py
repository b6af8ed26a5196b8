"""A recipe sent to a cluster by seeds and splits: all of it is checked before the first run starts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from kineflow.storage.errors import KineflowError
from pipelines.engines.axes import Axes, Member, members_of
from pipelines.submission.checks import Package
from pipelines.submission.server import Server
from pipelines.submission.submit import RunOptions, Submission, submit


def submit_each(
    recipe: str,
    params_file: Path,
    project: Path,
    axes: Axes,
    check: Callable[[Path], tuple[Package, Server]],
    options: RunOptions,
    say: Callable[[str], None],
) -> list[Submission]:
    """Start a run for each seed and split; the cluster runs as many at a time as it has room for.

    Args:
        recipe: Its name.
        params_file: The file that was given.
        project: Folder of the project, in which nothing is written: its source stays that of a commit.
        axes: Over what.
        check: Checks a parameter file and compiles it.
        options: Of every run; its name goes before the seed and the split.
        say: Told, in a line, of every run once it is started.

    Raises:
        KineflowError: An axis does not fit the recipe, a check has failed, or the server refuses; then what runs, and
            how the others are submitted, is in it.
    """
    with tempfile.TemporaryDirectory(prefix="kineflow-submit-") as folder:
        packages = []
        for number, member in enumerate(members_of(recipe, params_file, project, axes)):
            own = replace(member, params_file=Path(folder) / f"{number}.yaml")
            own.write(params_file)
            packages.append((member, *check(own.params_file)))
    started: list[Submission] = []
    for member, package, server in packages:
        try:
            run = submit(server, package, replace(options, name=f"{options.name or recipe}, {member.name}"))
        except KineflowError as error:
            rest = [each for each, _, _ in packages[len(started) :]]
            raise _cut_short(error, started, rest, axes) from error
        started.append(run)
        say(f"run      {run.run_id}  {run.name}")
    return started


def _cut_short(
    error: KineflowError, started: Sequence[Submission], rest: Sequence[Member], axes: Axes
) -> KineflowError:
    if not started:
        return error
    listed = "".join(f"\n  {run.run_id}  {run.name}" for run in started)
    missing = " and with ".join(each.words for each in _axes_of(rest, axes))
    return KineflowError(
        f"{error.problem}\n{len(started)} of {len(started) + len(rest)} runs are started, and go on:{listed}",
        where=error.where,
        remedy=f"{f'{error.remedy}; then ' if error.remedy else ''}submit the others with {missing}",
        exit_code=error.exit_code,
    )


def _axes_of(members: Sequence[Member], axes: Axes) -> list[Axes]:
    """Axes that make these members and no others."""
    seeds: dict[int | None, list[int]] = {}
    for member in members:
        seeds.setdefault(member.split, []).append(member.seed)
    if not axes.seeds:
        return [Axes(splits=tuple(split for split in seeds if split is not None))]
    return [Axes(tuple(of_split), () if split is None else (split,)) for split, of_split in seeds.items()]
