"""The copy of a project in which DVC runs an experiment (``--temp``, ``--queue``), and which it removes afterwards."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from kineflow.storage.project import media_folder
from kineflow.tracking.store import DATABASE_FILE

_ROOT = "DVC_ROOT"  # in such a copy, the project's own folder
_COPIES = Path(".dvc", "tmp", "exps")


def share_with_project(folder: Path) -> None:
    """Where ``folder`` is such a copy, have it use media and records of the project, which are not copied and stay."""
    project = Path(os.environ.get(_ROOT, "")).resolve()
    if not os.environ.get(_ROOT) or not folder.resolve().is_relative_to(project / _COPIES):
        return
    media_folder(project).mkdir(exist_ok=True)
    for shared in (media_folder(project), project / DATABASE_FILE):
        with suppress(FileExistsError):
            (folder / shared.name).symlink_to(shared)
