"""The clip set: one row a clip, and where the bytes of the clips lie.

A clip set on disk is a small folder: ``manifest.parquet`` (one row a clip, columns as the fields of :class:`Clip`)
and ``clipset.json`` (class names in order of their index, and the root of the media). The heavy bytes lie below the
root (:mod:`kineflow.sets.media`), so that what passes between steps is small.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kineflow.sets.clip_shard import ClipShard
from kineflow.sets.indexed import SetFiles
from kineflow.sets.list_digest import digest_of_list
from kineflow.sets.rows import blocks_of, in_order, is_one_of, select
from kineflow.spec.classes import checked_classes, labels_of, several_classes
from kineflow.spec.modality import reads_flow
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import Media

MANIFEST_FILE = "manifest.parquet"
CLIPSET_FILE = "clipset.json"
_SHARD, _SEVERAL = "shard", "multi_label"  # their keys in clipset.json
_MOST_UNKNOWN = 1000


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
        fps: Mean frame rate, frames per second, as stored.
        width, height: In pixels, as stored (after rotation has been applied).
        rotation: Degrees by which the source asked to be turned; 0 in stored clips unless kept as they were.
        sha256: Of the source file's bytes (of the trimmed interval's key, for trimmed clips), hex.
        status: See :class:`Status`; only ``ok`` clips are used.
        reason: Why the status is not ``ok``; empty otherwise.
        source: Where the clip came from: a path below the source root, or a URI.
        video_sha256: Of the bytes of the whole source file, hex, where the clip is a part of it; empty where ``sha256``
            is that itself, and in sets of versions before 3.
        first_frame: Number of the source's frame that the clip begins with, from 0; in a set with a rate of its own,
            of the source at that rate.
        also: Further class names, one a line, of a clip of several classes; only in sets of such.
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
    video_sha256: str = ""
    first_frame: int = 0
    also: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """All class names of the clip; none of an unlabelled one."""
        return labels_of(self.label, self.also)


@dataclass(frozen=True)
class ClipSet:
    """A manifest and its media root.

    Attributes:
        classes: Class names; a label's index is its place here.
        clips: All clips, the rejected ones too, ordered by ``clip_id``; of a set that was loaded,
            :class:`~kineflow.sets.rows.Rows`.
        media_root: Folder or ``s3://`` prefix below which ``Clip.path`` leads to the bytes.
        fps: Frames per second that every clip was brought to; 0.0: each has those of its source.
        size: Width and height that every clip was brought to, whatever its aspect; None: each has that of its source.
        shard: Of what it is a part; None for a whole clip set.
        multi_label: Whether clips may be of several classes at once.
    """

    classes: tuple[str, ...]
    clips: Sequence[Clip]
    media_root: str
    fps: float = 0.0
    size: tuple[int, int] | None = None
    shard: ClipShard | None = None
    multi_label: bool = False

    def usable(self, *splits: Split) -> Sequence[Clip]:
        """Clips with status ``ok``, of the given splits (of all, when none is given)."""
        wanted = is_one_of(self.clips, "status", {Status.OK})
        return select(self.clips, wanted & is_one_of(self.clips, "split", splits) if splits else wanted)

    def label_index(self, clip: Clip) -> int:
        """Index of the clip's class, or -1 for an unlabelled clip, whatever its row says of a label.

        Raises:
            KineflowError: Clips of this set may be of several classes.
        """
        if self.multi_label:
            raise several_classes("this step")
        unlabelled = clip.label is None or clip.split is Split.UNLABELLED
        return -1 if unlabelled else self.classes.index(clip.label)

    def targets(self, clip: Clip) -> NDArray[np.float32]:
        """1 for each class of the clip and 0 for the others, float32 [K]; all 0 for an unlabelled one."""
        targets = np.zeros(len(self.classes), np.float32)
        if clip.split is not Split.UNLABELLED:
            targets[[self.classes.index(label) for label in clip.labels]] = 1
        return targets

    def locate(self, clip: Clip) -> Media:
        """Where a clip's bytes are, to be given to any function that reads videos.

        Raises:
            KineflowError: The path leads outside the media root.
            MissingMediaError: A local file is not there any more.
        """
        return CLIP_FILES.locate(self.media_root, clip)

    def require_fps(self, fps: float, *, of: str) -> None:
        """Check that what is to be done with these clips was made for their frame rate.

        Args:
            fps: Of the clips that it was made from, as :attr:`fps`.
            of: What it is, for people: ``model 'student'``.

        Raises:
            KineflowError: The rates differ, so that a window of frames would last longer here, or shorter.
        """
        if fps == self.fps:
            return
        theirs, ours = (
            f"{rate:g} frames a second" if rate else "the rates of their sources" for rate in (fps, self.fps)
        )
        raise KineflowError(
            f"made from clips at {theirs}, and this clip set has {ours}: motion would be of another speed",
            where=of,
            remedy=f"ingest these videos with fps: {fps:g}, or train it again on this clip set",
        )

    def require_form(self, preprocessing: Preprocessing, *, of: str) -> None:
        """Check that a model was made for clips of this frame rate, and where it reads flow, of this size.

        Args:
            preprocessing: The model's.
            of: What it is, for people: ``model 'student'``.

        Raises:
            KineflowError: The rates differ (:meth:`require_fps`); or the model takes flow computed at one size, and
                these clips have another: displacements are in pixels, and do not grow with the picture.
        """
        self.require_fps(preprocessing.fps, of=of)
        size = preprocessing.size
        if not size or size == self.size or not reads_flow(preprocessing.modality):
            return
        ours = "has {}x{} px".format(*self.size) if self.size else "keeps the sizes of its sources"
        raise KineflowError(
            f"takes flow of clips of {size[0]}x{size[1]} px, and this clip set {ours}: its displacements are on "
            "another scale",
            where=of,
            remedy=f"ingest these videos with ingestion.size: {list(size)}, or train it again on this clip set",
        )

    def save(self, folder: Path) -> None:
        """Write the manifest and ``clipset.json``, see :meth:`kineflow.sets.indexed.SetFiles.save`."""
        rate = {"fps": self.fps} if self.fps else {}
        size = {"size": self.size} if self.size else {}
        part = {_SHARD: self.shard.model_dump()} if self.shard else {}
        several = {_SEVERAL: True} if self.multi_label else {}
        facts = {"classes": self.classes, **rate, **size, **part, **several}
        without = () if self.multi_label else ("also",)
        CLIP_FILES.save(folder, self.clips, self.media_root, facts, without=without)

    @classmethod
    def load(cls, folder: Path, *, with_unknown_labels: bool = False, may_be_shard: bool = False) -> ClipSet:
        """Read a clip set.

        Args:
            folder: Of the set.
            with_unknown_labels: Labels may be none of the classes: for who looks for such faults.
            may_be_shard: It may be a shard of a clip set, which lacks clips, and has no split of its own for val.

        Raises:
            KineflowError: A file is missing or damaged, its columns are not those of :class:`Clip`, a label is none of
                its classes, it is of a later version, or a shard where a whole set is needed.
        """
        clips, root, (classes, fps, size, shard, multi_label) = CLIP_FILES.load(folder, _facts)
        if shard and not may_be_shard:
            raise KineflowError(
                f"shard {shard.place} of a clip set, where a whole one is needed",
                where=folder,
                remedy="join all shards with the step merge_clips, and use what it writes",
            )
        unknown = [] if with_unknown_labels else _labels_besides(classes, clips)
        if unknown:
            raise KineflowError(
                f"{len(unknown)} labels are no classes of this clip set, the first of them {unknown[0]!r}",
                where=folder,
                remedy="use manifest and clipset.json of one run together, or run the ingest step again",
            )
        return cls(classes, clips, root, fps, size, shard, multi_label)


def _facts(
    described: Mapping[str, Any],
) -> tuple[tuple[str, ...], float, tuple[int, int] | None, ClipShard | None, bool]:
    fps = float(described.get("fps", 0.0))
    if not 0 <= fps < math.inf:
        raise ValueError(f"clips at {fps} frames a second")
    shard = ClipShard.model_validate(described[_SHARD]) if _SHARD in described else None
    return (
        checked_classes(described["classes"]),
        fps,
        _size(described.get("size")),
        shard,
        described.get(_SEVERAL) is True,
    )


def _size(described: Any) -> tuple[int, int] | None:
    match described:
        case None:
            return None
        case [int(width), int(height)] if min(width, height) > 0:
            return width, height
    raise ValueError(f"clips of the size {described}")


def _labels_besides(classes: Sequence[str], clips: Sequence[Clip]) -> list[str]:
    """Labels that are no classes, in their order; not many more of them than are worth counting."""
    unknown: set[str] = set()
    for labels, also in blocks_of(clips, "label", "also"):
        unknown |= {label for label in labels if label is not None}.difference(classes)
        unknown |= {label for text in set(also) for label in text.splitlines()}.difference(classes)
        if len(unknown) > _MOST_UNKNOWN:
            break
    return sorted(unknown)


def clips_digest(clips: Iterable[Clip]) -> str:
    """Hex SHA-256 of the clips' content hashes and labels: equal for two evaluations on the same data."""
    rows = clips if isinstance(clips, Sequence) else tuple(clips)
    several = select(rows, ~is_one_of(rows, "also", {""}))
    further = [pair for block in in_order(several, "sha256", "also") for pair in block]
    return digest_of_list(in_order(rows, "sha256", "label"), after=json.dumps(further) if further else "")


def digest_of_set(clip_set: ClipSet) -> str:
    """:func:`clips_digest` of all usable clips of a set whose bytes are known."""
    return clips_digest(clip_set.usable())


CLIP_FILES = SetFiles("clip set", "ingest", Clip, MANIFEST_FILE, CLIPSET_FILE, version=3)
