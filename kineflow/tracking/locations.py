"""Where the files of a SQLite store lie: beside it. MLflow records whole paths, so they follow a folder that has moved.

A project that was renamed, copied, or taken to another machine has its files where it is now, and never reads or writes
those of the folder that it was copied from. Files that never lay beside the store, such as those of an experiment on a
shared disk, stay where the store says.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path, PurePosixPath
from urllib.parse import quote

ARTIFACT_FOLDER = "mlartifacts"

_WAIT_SEC = 60.0
_MLFLOWS_OWN = "mlruns"  # beside a store too: of experiments that MLflow made
_PLACES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
_TEXTS = {
    "tags": "value",
    "model_version_tags": "value",
    "registered_model_tags": "value",
    "datasets": "dataset_source",
}
"""Columns that hold JSON with places in it."""


def experiment_folder(database: Path, experiment: str) -> Path:
    """Where an experiment of a SQLite store has its files."""
    return database.parent / ARTIFACT_FOLDER / quote(experiment, safe="")


def marks_folder(database: Path) -> Path:
    """Where runs that are under way have their marks (:mod:`kineflow.tracking.marks`)."""
    return database.with_name(f"{database.name}.running")


def earlier_folders(database: Path) -> list[str]:
    """Folders in which the store lay before, as its experiments have them; mostly none.

    An experiment tells of one if its files lie beside the store now; or if a store lies there still, of which this one
    is a copy: then its files did not come along, and are missing.

    Args:
        database: SQLite file of MLflow, its path resolved.
    """
    with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=_WAIT_SEC)) as connection:
        rows = connection.execute("SELECT artifact_location FROM experiments").fetchall()
    places = [PurePosixPath(place or "") for (place,) in rows]
    folders = {
        str(place.parents[1])
        for place in places
        if _is_ours(place) and (_is_beside(place, database) or Path(place.parents[1], database.name).is_file())
    }
    return sorted(folders - {str(database.parent)}, key=lambda folder: (-len(folder), folder))  # the inner ones first


def follow_move(database: Path) -> int:
    """Have files of runs and models that the store says to lie beside its earlier places lie beside its present one.

    All or nothing. What else the earlier folders hold, such as videos, is not part of the store.

    Returns:
        How many places were corrected.

    Raises:
        sqlite3.Error: The file cannot be written.
    """
    corrected = 0
    with closing(sqlite3.connect(database, timeout=_WAIT_SEC)) as connection, connection:
        connection.execute("BEGIN IMMEDIATE")
        for earlier in earlier_folders(database):
            for folder in (ARTIFACT_FOLDER, _MLFLOWS_OWN):
                corrected += _replace(connection, f"{earlier}/{folder}/", f"{database.parent / folder}/")
    return corrected


def _replace(connection: sqlite3.Connection, before: str, after: str) -> int:
    corrected = 0
    is_inside = int(after.startswith(before))  # then what was corrected still begins as it did before
    for table, columns in _PLACES.items():
        for column in columns:
            corrected += connection.execute(
                f"UPDATE {table} SET {column} = :after || substr({column}, length(:before) + 1) "
                f"WHERE substr({column}, 1, length(:before)) = :before "
                f"AND NOT (:is_inside AND substr({column}, 1, length(:after)) = :after)",
                {"before": before, "after": after, "is_inside": is_inside},
            ).rowcount
    in_json = {"before": json.dumps(before)[:-1], "after": json.dumps(after)[:-1], "is_inside": is_inside}
    for table, column in _TEXTS.items():
        connection.execute(
            f"UPDATE {table} SET {column} = replace({column}, :before, :after) "
            f"WHERE instr({column}, :before) AND NOT (:is_inside AND instr({column}, :after))",
            in_json,
        )
    return corrected


def _is_ours(place: PurePosixPath) -> bool:
    """Whether an experiment's place is as :func:`experiment_folder` gives it; MLflow's own have a number for a name."""
    is_named = place.parent.name == ARTIFACT_FOLDER and not place.name.isdecimal()
    return place.is_absolute() and is_named and place.parents[1] != PurePosixPath("/")


def _is_beside(place: PurePosixPath, database: Path) -> bool:
    return (database.parent / ARTIFACT_FOLDER / place.name).is_dir()
