"""What a ``dvc.lock`` names, read from DVC's cache: whether it is there still, and what it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kineflow.storage.config import read_yaml
from kineflow.storage.errors import KineflowError
from kineflow.storage.safe_json import read_json

_FOLDER = ".dir"


@dataclass(frozen=True)
class LockedOutput:
    """An output of a stage, or what it has read.

    Attributes:
        stage: Its name.
        path: As the lock has it.
        md5: By which DVC knows it; ends with ``.dir`` where it is a folder.
    """

    stage: str
    path: str
    md5: str


def locked_outputs(lock: Path) -> list[LockedOutput]:
    """The outputs that a ``dvc.lock`` names.

    Raises:
        KineflowError: It is no such file.
    """
    return _entries(lock, "outs")


def locked_sources(lock: Path) -> list[LockedOutput]:
    """What stages have read that no stage has made: videos and lists, as they were.

    Raises:
        KineflowError: It is no such file.
    """
    made = {output.path for output in locked_outputs(lock)}
    return [read for read in _entries(lock, "deps") if read.path not in made]


def _entries(lock: Path, kind: str) -> list[LockedOutput]:
    try:
        stages: dict[str, Any] = read_yaml(lock)["stages"]
        return [
            LockedOutput(str(name), str(each["path"]), str(each["md5"]))
            for name, stage in stages.items()
            for each in stage.get(kind, ())
            if "md5" in each
        ]
    except (KeyError, TypeError, AttributeError):
        raise KineflowError("not a lock of DVC's", where=lock, remedy="run the recipe again") from None


def missing_files(md5: str, cache: Path) -> int:
    """How many files of an output DVC's cache lacks; of a folder whose list is gone, 1.

    Args:
        md5: As in the lock.
        cache: DVC's.
    """
    if not _cached(md5, cache).is_file():
        return 1
    return sum(not _cached(file, cache).is_file() for file in _files(md5, cache).values())


@contextmanager
def as_folder(md5: str, cache: Path) -> Iterator[Path]:
    """A folder as it was put into DVC's cache, made of links; it lasts as long as the block.

    Args:
        md5: Of a folder whose files are all there.
        cache: DVC's.
    """
    with tempfile.TemporaryDirectory(prefix="kineflow-output-") as name:
        folder = Path(name)
        for path, file in _files(md5, cache).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).symlink_to(_cached(file, cache).resolve())
        yield folder


def _files(md5: str, cache: Path) -> dict[str, str]:
    """Of a folder, the md5 of each file by its path below it; none of a file."""
    if not md5.endswith(_FOLDER):
        return {}
    listed = {str(each["relpath"]): str(each["md5"]) for each in read_json(_cached(md5, cache), max_bytes=2**28)}
    return {path: file for path, file in listed.items() if _lies_below(path)}


def _lies_below(path: str) -> bool:
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts


def _cached(md5: str, cache: Path) -> Path:
    if not md5.removesuffix(_FOLDER).isalnum():
        raise KineflowError(f"{md5!r} is no hash", where="dvc.lock", remedy="run the recipe again")
    return cache / "files" / "md5" / md5[:2] / md5[2:]
