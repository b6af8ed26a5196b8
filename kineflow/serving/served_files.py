"""The files of a stored model that are no weights: MLflow runs and installs them, wherever it serves the model itself.

``kineflow predict`` and ``kineflow serve`` never do. So that MLflow's servers do not run what somebody has put in the
artifact store, promoting, rolling back and ``kineflow lineage --check`` hold every such file against its hash at
registration.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from kineflow.serving.stored_files import (
    ARTIFACTS,
    REGISTER_AGAIN,
    TESTED_TAG,
    StoredVersion,
    fetch,
    listed,
    place_of_bundle,
)
from kineflow.serving.tested import TESTED_FILE
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of
from kineflow.storage.safe_json import parse_json

SERVED_TAG = "served.files"
"""Of a version: JSON object, SHA-256 by name of each such file."""

EXPORTS = "export"
"""The folder of a version's exports, one folder below it for each form."""

_MOST_BYTES = 128 * 2**20  # the input example holds a video
_MOST_EXPORT_BYTES = 2**32  # a network in ONNX has at most half of it
_MOST_FILES = 100


def served_files(folder: Path, bundle: str | None = None) -> dict[str, str]:
    """SHA-256 by name of each file that was written to ``folder``, but for its bundle's.

    Args:
        folder: Of a model, or of an export.
        bundle: Where a bundle lies in it, if one does.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name: sha256_of(path) for name, path in paths.items() if bundle is None or not name.startswith(f"{bundle}/")
    }


def served_tag(files: dict[str, str]) -> str:
    """The value of :data:`SERVED_TAG`."""
    return json.dumps(files, sort_keys=True)


def with_more(tag: str, files: dict[str, str]) -> str:
    """The value of :data:`SERVED_TAG` once more files lie there."""
    return served_tag(parse_json(tag) | files)


def check_served_files(version: StoredVersion, *, beside: Collection[str] = ()) -> None:
    """Check that the store holds the files that were registered, and no others.

    Args:
        version: One of an earlier release, which has no hashes of them, is not checked.
        beside: Names of files that are checked elsewhere.

    Raises:
        KineflowError: A file is missing, has changed, or was added.
    """
    if SERVED_TAG not in version.tags:
        return
    try:
        known = {str(name): str(digest) for name, digest in parse_json(version.tags[SERVED_TAG]).items()}
    except (ValueError, AttributeError):
        raise _changed(version, f"the tag {SERVED_TAG} is damaged") from None
    there = set[str]()
    for name in _names(version, "", place_of_bundle(version)):
        there.add(name)
        if len(there) > _MOST_FILES:
            raise _changed(version, f"more than {_MOST_FILES} files")
    # An earlier release's version may have been given this later; its hash is looked at with the bundle's.
    elsewhere = {*beside, f"{ARTIFACTS}/{TESTED_FILE}"} if TESTED_TAG in version.tags else set(beside)
    if added := sorted(there - set(known) - elsewhere):
        raise _changed(version, f"{added[0]} was not among them")
    with tempfile.TemporaryDirectory(prefix="kineflow-files-") as folder:
        for name, digest in known.items():
            most = _MOST_EXPORT_BYTES if name.startswith(f"{EXPORTS}/") else _MOST_BYTES
            fetched = fetch(version, name, Path(folder), most)
            if sha256_of(fetched) != digest:
                raise _changed(version, f"{name} is another")
            fetched.unlink()


def _names(version: StoredVersion, folder: str, without: str) -> Iterator[str]:
    for name, is_folder, _ in listed(version, folder or "."):
        path = f"{folder}/{name}" if folder else name
        if not is_folder:
            yield path
        elif path != without:
            yield from _names(version, path, without)


def _changed(version: StoredVersion, words: str) -> KineflowError:
    return KineflowError(
        f"its files are not those that were registered: {words}", where=version.label, remedy=REGISTER_AGAIN
    )
