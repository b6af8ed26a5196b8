"""Where a recipe with one parameter file keeps its ``dvc.yaml``, its lock and its outputs, apart from all others."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

DVC_FILE = "dvc.yaml"
LOCK_FILE = "dvc.lock"
PARAMS_FILE = "params.yaml"
RUNS = "runs"

KEPT_AS = {DVC_FILE: "dvc.yaml.txt", LOCK_FILE: "dvc.lock.txt", "digests.yaml": "digests.yaml"}
"""How a run's record calls the files of its workspace: DVC reads every ``dvc.yaml`` below a project."""

_OF_RECIPE = re.compile(r"# The recipe (\w+)")
_DIGITS = 8


@dataclass(frozen=True)
class Workspace:
    """A folder of a project.

    Attributes:
        project: The project's folder, in which commands run.
        folder: Of ``dvc.yaml``, ``dvc.lock``, ``digests.yaml`` and ``outputs``: the project's own or one below it.
        params_file: The parameter file.
    """

    project: Path
    folder: Path
    params_file: Path

    @classmethod
    def of(cls, recipe: str, params_file: Path, project: Path) -> Workspace:
        """The workspace of a recipe and a parameter file.

        It is the project's own folder for the project's ``params.yaml`` and the recipe that it is first run with, and
        else ``runs/<recipe>/<path of the parameter file>``.
        """
        project, params_file = project.resolve(), params_file.resolve()
        if params_file == project / PARAMS_FILE and recipe_of(project) in (recipe, None):
            return cls(project, project, params_file)
        return cls(project, project / RUNS / recipe / _name(params_file, project), params_file)

    @property
    def params(self) -> str:
        """The parameter file as commands name it, which run in the project's folder; never like an option."""
        name = os.path.relpath(self.params_file, self.project)
        return f"./{name}" if name.startswith("-") else name

    @property
    def outputs(self) -> Path:
        """Folder of all tasks' outputs."""
        return self.folder / "outputs"


def recipe_of(folder: Path) -> str | None:
    """Of which recipe the ``dvc.yaml`` in a folder is; None where it is of none, or is not there."""
    path = folder / DVC_FILE
    match = _OF_RECIPE.match(path.read_text(encoding="utf-8")) if path.is_file() else None
    return match[1] if match else None


def _name(params_file: Path, project: Path) -> Path:
    """A name of its own for each parameter file, readable where it lies in the project."""
    name = params_file.name.removesuffix(".yaml")  # and no other suffix: a.yaml and a.yml are two
    if params_file.is_relative_to(project):
        return params_file.relative_to(project).with_name(name)
    digest = hashlib.sha256(str(params_file.parent).encode()).hexdigest()[:_DIGITS]
    return Path(f"{name}-{digest}")
