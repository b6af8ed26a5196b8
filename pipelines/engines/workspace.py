"""Where a recipe with one parameter file keeps its ``dvc.yaml``, its lock and its outputs, apart from all others."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from components.dvc.workspace_files import OUTPUTS, recipe_of

PARAMS_FILE = "params.yaml"
RUNS = "runs"

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
        else ``runs/<recipe>/<path of the parameter file>``; a ``params.yaml`` in such a folder is that folder's.
        """
        project, params_file = project.resolve(), params_file.resolve()
        if params_file.name == PARAMS_FILE and params_file.is_relative_to(project / RUNS / recipe):
            return cls(project, params_file.parent, params_file)
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
        return self.folder / OUTPUTS


def variant_folder(recipe: str, params_file: Path, project: Path, variant: str) -> Path:
    """A workspace's folder for what is made of a parameter file: its ``params.yaml`` is to be put there."""
    project, params_file = project.resolve(), params_file.resolve()
    name = _name(params_file, project)
    return project / RUNS / recipe / name.with_name(f"{name.name}+{variant}")


def _name(params_file: Path, project: Path) -> Path:
    """A name of its own for each parameter file, readable where it lies in the project."""
    name = params_file.name.removesuffix(".yaml")  # and no other suffix: a.yaml and a.yml are two
    if params_file.is_relative_to(project):
        return params_file.relative_to(project).with_name(name)
    digest = hashlib.sha256(str(params_file.parent).encode()).hexdigest()[:_DIGITS]
    return Path(f"{name}-{digest}")
