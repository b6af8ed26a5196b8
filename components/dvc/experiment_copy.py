"""The copy of a project in which DVC runs an experiment (``--temp``, ``--queue``), and which it removes afterwards."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from kineflow.storage.project import media_folder
from kineflow.tracking.store import DATABASE_FILE, absolute_uri

_ROOT = "DVC_ROOT"  # in such a copy, the project's own folder
_COPIES = Path(".dvc", "tmp", "exps")
_STORES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


def share_with_project(folder: Path) -> None:
    """Where ``folder`` is such a copy, have it use media and records of the project, which are not copied and stay.

    Raises:
        KineflowError: A tracking store is named by a folder.
    """
    project = Path(os.environ.get(_ROOT, "")).resolve()
    if not os.environ.get(_ROOT) or not folder.resolve().is_relative_to(project / _COPIES):
        return
    for variable in _STORES:
        if uri := os.environ.get(variable):
            os.environ[variable] = absolute_uri(uri, project)
    media_folder(project).mkdir(exist_ok=True)
    for shared in (media_folder(project), project / DATABASE_FILE):
        with suppress(FileExistsError):
            (folder / shared.name).symlink_to(shared)
            _exclude(folder / shared.name)


def _exclude(path: Path) -> None:
    """Have git pass over a link: ``.gitignore`` speaks of a folder, which a link is none of."""
    copy = next((folder for folder in path.parents if (folder / ".git").is_dir()), None)
    if copy is None:
        return
    excluded = copy / ".git" / "info" / "exclude"
    excluded.parent.mkdir(exist_ok=True)
    with excluded.open("a", encoding="utf-8") as lines:
        lines.write(f"\n/{path.relative_to(copy).as_posix()}\n")
