"""Which project a file belongs to, and where the project keeps its media."""

from __future__ import annotations

import os
from pathlib import Path

from kineflow.storage.errors import KineflowError

PROJECT = "KINEFLOW_PROJECT"  # names the project's folder, where that is not above what is written
_MARK = ".dvc"
_MEDIA = "media"


def find_project(start: Path) -> Path | None:
    """The project's folder: what ``KINEFLOW_PROJECT`` names, or the nearest at or above ``start`` that DVC knows.

    None where there is none.
    """
    if named := os.environ.get(PROJECT):
        return Path(named).absolute()
    return project_around(start)


def project_around(start: Path) -> Path | None:
    """The nearest folder at or above ``start`` that DVC knows, whatever is named; None where there is none."""
    here = start.absolute()
    return next((folder for folder in (here, *here.parents) if (folder / _MARK).is_dir()), None)


def current_project() -> Path:
    """The project that the working folder belongs to; the working folder itself where there is none."""
    here = Path.cwd()
    return find_project(here) or here


def required_project() -> Path:
    """The project that the working folder belongs to.

    Raises:
        KineflowError: It belongs to none.
    """
    project = find_project(Path.cwd())
    if project is None or not project.is_dir():
        raise KineflowError(
            "no project here or above" if project is None else "no such project",
            where=project or Path.cwd(),
            remedy="go to one, or make one with: kineflow init",
        )
    return project


def state_folder(project: Path) -> Path:
    """Where a project keeps what runs of this machine need of each other; not in git, and nobody's loss."""
    return project / _MARK / "tmp" / "kineflow"


def media_folder(project: Path) -> Path:
    """The store of a project's media: every clip, flow and feature that its sets name, once."""
    return project / _MEDIA
