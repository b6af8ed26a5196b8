"""What a project keeps for its registered models, and where DVC keeps what its locks name: for ``kineflow gc``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from kineflow.sets.clip_set import Clip
from kineflow.sets.garbage import Wanted
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError


def cache_of(project: Path) -> Path:
    """DVC's cache, wherever its settings put it.

    Raises:
        KineflowError: DVC does not say.
    """
    command = [sys.executable, "-P", "-m", "dvc", "cache", "dir"]
    completed = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if completed.returncode:
        raise KineflowError(completed.stderr.strip() or "DVC does not say where its cache is", where=project)
    return project / completed.stdout.strip()


def wanted_by_models(project: Path) -> Wanted:
    """Whether clips are those that a registered model was evaluated on, among others.

    A version tells the content of its evaluation's clips; the clip set that they came from is the one that it was
    trained on. Sets that differ elsewhere only are kept too.

    Raises:
        KineflowError: The registry does not answer.
    """
    from kineflow.registry.aliases import DATA_TAG, store_errors
    from kineflow.sets.clip_set import clips_digest
    from kineflow.tracking.store import connect, database_file, tracking_uri

    uri = tracking_uri(project)
    database = database_file(uri)
    evaluated: set[str] = set()
    if database is None or database.exists():
        client, token = connect(uri), None
        with store_errors(uri):
            while True:
                page = client.search_model_versions(page_token=token)
                evaluated |= {version.tags[DATA_TAG] for version in page if DATA_TAG in version.tags}
                token = page.token
                if not token:
                    break

    def wanted(clips: Sequence[Clip]) -> bool:
        usable = [clip for clip in clips if clip.status is Status.OK]
        return any(clips_digest(clip for clip in usable if clip.split is split) in evaluated for split in Split)

    return wanted
