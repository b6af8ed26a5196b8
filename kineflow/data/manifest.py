"""The clip set: one row a clip, and where the bytes of the clips lie.

A clip set on disk is a small folder: ``manifest.parquet`` (one row a clip, columns as the fields of :class:`Clip`)
and ``clipset.json`` (class names in order of their index, and the root of the media). The heavy bytes lie below the
root: in the folder ``media`` of the clip set itself, or anywhere else (a volume, ``s3://``), so that what passes
between steps is small.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from kineflow.storage.media import Media, check_root, locate

MANIFEST_FILE = "manifest.parquet"
CLIPSET_FILE = "clipset.json"
MEDIA_FOLDER = "media"


class Split(StrEnum):
    """What a clip is for."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"
    UNLABELLED = "unlabelled"


class Status(StrEnum):
    """What decoding the whole clip once has shown."""

    OK = "ok"
    SHORT = "short"  # fewer frames than the shortest allowed
    TRUNCATED = "truncated"  # decodes, but ends before its header says or breaks off in the middle
    UNREADABLE = "unreadable"  # no frame could be decoded


@dataclass(frozen=True, slots=True)
class Clip:
    """One row of the manifest.

    Attributes:
        clip_id: Unique, stable, safe as a relative path without suffix (e.g. ``Archery/v_Archery_g01_c01``).
        path: Of the clip below the set's media root; empty when the clip was rejected.
        label: Class name, or None for an unlabelled clip.
        group: Clips cut from one source share it, and no group may lie in two splits.
        split: See :class:`Split`.
        frames: Count of frames decoded (never the header's word).
        fps: Mean frame rate, frames per second.
        width, height: In pixels, as stored (after rotation has been applied).
        rotation: Degrees by which the source asked to be turned; 0 in stored clips unless kept as they were.
        sha256: Of the source file's bytes (of the trimmed interval's key, for trimmed clips), hex.
        status: See :class:`Status`; only ``ok`` clips are used.
        reason: Why the status is not ``ok``; empty otherwise.
        source: Where the clip came from: a path below the source root, or a URI.
    """

    clip_id: str
    path: str
    label: str | None
    group: str
    split: Split
    frames: int
    fps: float
    width: int
    height: int
    rotation: int
    sha256: str
    status: Status
    reason: str
    source: str


@dataclass(frozen=True)
class ClipSet:
    """A manifest and its media root.

    Attributes:
        classes: Class names; a label's index is its place here.
        clips: All clips, the rejected ones too, ordered by ``clip_id``.
        media_root: Folder or ``s3://`` prefix below which ``Clip.path`` leads to the bytes.
    """

    classes: tuple[str, ...]
    clips: tuple[Clip, ...]
    media_root: str

    def usable(self, *splits: Split) -> list[Clip]:
        """Clips with status ``ok``, of the given splits (of all, when none is given)."""
        return [clip for clip in self.clips if clip.status is Status.OK and (not splits or clip.split in splits)]

    def label_index(self, clip: Clip) -> int:
        """Index of the clip's class, or -1 for an unlabelled clip, whatever its row says of a label."""
        unlabelled = clip.label is None or clip.split is Split.UNLABELLED
        return -1 if unlabelled else self.classes.index(clip.label)

    def locate(self, clip: Clip) -> Media:
        """Where a clip's bytes are, to be given to any function that reads videos.

        Raises:
            KineflowError: The path leads outside the media root.
        """
        return locate(self.media_root, clip.path)

    def save(self, folder: Path) -> None:
        """Write the manifest and ``clipset.json``; a media root inside ``folder`` is stored relative to it."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder.mkdir(parents=True, exist_ok=True)
        rows = [dataclasses.asdict(clip) for clip in sorted(self.clips, key=lambda clip: clip.clip_id)]
        with atomic_file(folder / MANIFEST_FILE) as partial:
            pq.write_table(pa.Table.from_pylist(rows, schema=_schema()), partial)
        root = MEDIA_FOLDER if Path(self.media_root) == folder / MEDIA_FOLDER else check_root(self.media_root)
        with atomic_file(folder / CLIPSET_FILE) as partial:
            partial.write_text(json.dumps({"classes": self.classes, "media_root": root}, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> ClipSet:
        """Read a clip set.

        Raises:
            KineflowError: A file is missing or damaged, or its columns are not those of :class:`Clip`.
        """
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(folder / MANIFEST_FILE).cast(_schema())
            described = json.loads((folder / CLIPSET_FILE).read_text())
            classes, root = tuple(described["classes"]), str(described["media_root"])
            clips = tuple(
                Clip(**{**row, "split": Split(row["split"]), "status": Status(row["status"])})
                for row in table.to_pylist()
            )
        except (OSError, ValueError, KeyError, TypeError) as error:  # pyarrow's errors are ValueErrors and TypeErrors
            raise KineflowError(
                f"no readable clip set here ({error})", where=folder, remedy="run the ingest step into this folder"
            ) from None
        return cls(classes, clips, str(folder / root) if root == MEDIA_FOLDER else check_root(root))


def classes_of(clips: Iterable[Clip]) -> tuple[str, ...]:
    """Sorted class names that occur among the clips."""
    return tuple(sorted({clip.label for clip in clips if clip.label is not None}))


def _schema() -> Any:  # pyarrow ships no types
    import pyarrow as pa

    kinds = dict.fromkeys(("frames", "width", "height", "rotation"), pa.int32()) | {"fps": pa.float64()}
    return pa.schema(
        [
            pa.field(field.name, kinds.get(field.name, pa.string()), nullable=field.name == "label")
            for field in dataclasses.fields(Clip)
        ]
    )
