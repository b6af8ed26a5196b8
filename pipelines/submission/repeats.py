"""A recipe sent to a cluster by seeds and splits: all of it is checked before the first run starts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipelines.engines.axes import Axes, members_of
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
) -> list[Submission]:
    """Start a run for each seed and split; the cluster runs as many at a time as it has room for.

    Args:
        recipe: Its name.
        params_file: The file that was given.
        project: Folder of the project, in which nothing is written: its source stays that of a commit.
        axes: Over what.
        check: Checks a parameter file and compiles it.
        options: Of every run; its name goes before the seed and the split.

    Raises:
        KineflowError: An axis does not fit the recipe, a check has failed, or the server refuses.
    """
    with tempfile.TemporaryDirectory(prefix="kineflow-submit-") as folder:
        packages = []
        for number, member in enumerate(members_of(recipe, params_file, project, axes)):
            own = replace(member, params_file=Path(folder) / f"{number}.yaml")
            own.write(params_file)
            packages.append((member.name, *check(own.params_file)))
    return [
        submit(server, package, replace(options, name=f"{options.name or recipe}, {name}"))
        for name, package, server in packages
    ]
