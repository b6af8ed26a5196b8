"""Where the files of a SQLite store lie: beside it. MLflow records whole paths, so they follow a folder that has moved.

A project that was renamed, copied, or taken to another machine has its files where it is now, and never reads or writes
those of the folder that it was copied from.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path, PurePosixPath
from urllib.parse import quote

ARTIFACT_FOLDER = "mlartifacts"

_WAIT_SEC = 60.0
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


def earlier_folders(database: Path) -> list[str]:
    """Folders in which the store lay before, as its experiments have them; mostly none.

    Args:
        database: SQLite file of MLflow, its path resolved.
    """
    with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=_WAIT_SEC)) as connection:
        places = [place for (place,) in connection.execute("SELECT artifact_location FROM experiments")]
    folders = {str(PurePosixPath(place).parents[1]) for place in places if _is_beside_a_store(place or "")}
    return sorted(folders - {str(database.parent)}, key=lambda folder: (-len(folder), folder))  # the inner ones first


def follow_move(database: Path) -> int:
    """Have everything that the store says to lie below its earlier folders lie below its present one, all or nothing.

    Returns:
        How many places were corrected.

    Raises:
        sqlite3.Error: The file cannot be written.
    """
    corrected = 0
    with closing(sqlite3.connect(database, timeout=_WAIT_SEC)) as connection, connection:
        connection.execute("BEGIN IMMEDIATE")
        for earlier in earlier_folders(database):
            before, after = f"{earlier.rstrip('/')}/", f"{str(database.parent).rstrip('/')}/"
            for table, columns in _PLACES.items():
                for column in columns:
                    corrected += connection.execute(
                        f"UPDATE {table} SET {column} = :after || substr({column}, length(:before) + 1) "
                        f"WHERE substr({column}, 1, length(:before)) = :before "
                        f"AND substr({column}, 1, length(:after)) != :after",
                        {"before": before, "after": after},
                    ).rowcount
            in_json = {"before": json.dumps(before)[:-1], "after": json.dumps(after)[:-1]}
            for table, column in _TEXTS.items():
                connection.execute(
                    f"UPDATE {table} SET {column} = replace({column}, :before, :after) "
                    f"WHERE instr({column}, :before) AND NOT instr({column}, :after)",
                    in_json,
                )
    return corrected


def _is_beside_a_store(place: str) -> bool:
    """Whether an experiment's place is one of ours; MLflow's own have a number for a name."""
    path = PurePosixPath(place)
    return path.is_absolute() and path.parent.name == ARTIFACT_FOLDER and not path.name.isdecimal()
