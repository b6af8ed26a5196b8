"""What clips show, kept from one validation to the next, so that each is decoded for it once.

One file a project, where its runs on this machine keep what they need of each other; nobody's loss. The path of a
stored clip is made of all that its bytes depend on, so it is the key; clips of other paths are not kept.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kineflow.data.clip_contents import ClipContent
from kineflow.storage.files import atomic_file
from kineflow.storage.project import project_around, state_folder

_LOG = logging.getLogger(__name__)
_KIND = b"kineflow clip contents 1\n"  # another number where the same clip would give other figures
_FIGURES = ("brightness", "motion", "sharpness", "change")
_RECORD = np.dtype([("path", "S96"), ("figures", "<f4", 4), ("scene", "<f4", 35), ("movement", "<f4", 245)])
_MOST = 200_000  # clips: 250 MB
_STORED = re.compile(r"clips/[0-9a-f]{2}/[0-9a-f]{16,64}\.mp4")


def kept_file(output: Path) -> Path | None:
    """Of the project that ``output`` lies in; None where it lies in none."""
    project = project_around(output.parent)
    return None if project is None else state_folder(project) / "clip_contents.bin"


def read_kept(path: Path) -> dict[str, ClipContent]:
    """What is kept, by path of the stored clip; nothing of a file that is missing, damaged or of another version."""
    records: npt.NDArray[np.void] = np.zeros(0, _RECORD)
    try:
        if path.stat().st_size > len(_KIND) + _MOST * _RECORD.itemsize:
            return {}
        data = path.read_bytes()
        if data.startswith(_KIND):
            records = np.frombuffer(data, _RECORD, offset=len(_KIND))
    except (OSError, ValueError):
        return {}
    kept = {}
    for record in records:
        figures, scene, movement = record["figures"], record["scene"], record["movement"]
        if all(np.isfinite(each).all() for each in (figures, scene, movement)):
            named = dict(zip(_FIGURES, figures.tolist(), strict=True))
            kept[record["path"].decode(errors="replace")] = ClipContent(**named, scene=scene, movement=movement)
    return kept


def write_kept(path: Path, contents: Mapping[str, ClipContent]) -> None:
    """Keep what clips show, of the last ones where they are too many; a disk that takes nothing costs time alone."""
    stored = [(name, each) for name, each in contents.items() if _STORED.fullmatch(name)][-_MOST:]
    records = np.zeros(len(stored), _RECORD)
    for record, (name, each) in zip(records, stored, strict=True):
        record["path"], record["scene"], record["movement"] = name.encode(), each.scene, each.movement
        record["figures"] = [getattr(each, figure) for figure in _FIGURES]
    try:
        with atomic_file(path) as partial:
            partial.write_bytes(_KIND + records.tobytes())
    except OSError as error:
        _LOG.warning("  ! what clips show could not be kept, and will be looked for again: %s", error)
