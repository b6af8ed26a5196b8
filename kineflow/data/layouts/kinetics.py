"""Kinetics: CSV files ``label,youtube_id,time_start,time_end,split``; videos flat or in folders, one a class.

``<id>_000010_000020.mp4`` is the part of the video that the row means; ``<id>.mp4`` is taken to be the whole upload
and cut, unless it turns out to be no longer than the part. Where several rows mean parts of one ``<id>.mp4`` and it is
too short to hold them all, it is one of the parts, nobody knows which, and none of the rows gets it. Further columns
(``is_cc``) are ignored.

Test lists were published without labels. Such rows cannot be scored and must not be learnt from: they are left out,
those of val as well. A row of train without a label is unlabelled.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence

from kineflow.data.layouts.checks import checked_path, checked_seconds
from kineflow.data.layouts.registry import register_layout
from kineflow.data.layouts.rows import ListedClip, Listing, Lists
from kineflow.data.layouts.videos import Videos
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.names import shown

_LOG = logging.getLogger(__name__)
_COLUMNS = ("youtube_id", "time_start", "time_end", "split")
_SPLITS = {"train": Split.TRAIN, "val": Split.VAL, "validate": Split.VAL, "test": Split.TEST}

_Row = tuple[Mapping[str, str], str]


@register_layout("kinetics")
def list_kinetics(lists: Lists, videos: Videos, *, split_number: int) -> Listing:  # noqa: ARG001  there is one split
    """Read all Kinetics CSV files.

    Raises:
        KineflowError: There is no CSV file, or a row is malformed or has an unknown split, or all have no label.
    """
    names = lists.matching(r".+\.csv")
    if not names:
        raise KineflowError(
            "no CSV file here",
            where=lists.source.root,
            remedy="name the Kinetics CSV, or its folder, in ingestion.annotations",
        )
    rows = [row for name in names for row in _labelled_rows(lists, name)]
    classes = frozenset(row["label"] for row, _ in rows if row.get("label"))
    if not classes:
        raise KineflowError(
            "no row has a label", where=lists.source.root, remedy="add the list of training clips, with a column label"
        )
    clips = [_read_row(row, where, classes, videos) for row, where in rows]
    return Listing(tuple(sorted(classes)), _parts_of_whole_videos(clips))


def _labelled_rows(lists: Lists, name: str) -> list[_Row]:
    """The rows of a list but those of val and test that have no label."""
    rows = list(lists.records(name, required=_COLUMNS))
    kept = [(row, where) for row, where in rows if row.get("label") or _split_of(row, where) is Split.TRAIN]
    if len(kept) < len(rows):
        _LOG.warning(
            "%s: rows without a label: %d; they cannot be scored and are left out", name, len(rows) - len(kept)
        )
    return kept


def _split_of(row: Mapping[str, str], where: str) -> Split:
    if row["split"] not in _SPLITS:
        raise KineflowError(
            f"unknown split {shown(row['split'])}", where=where, remedy=f"known splits: {', '.join(_SPLITS)}"
        )
    return _SPLITS[row["split"]]


def _read_row(row: Mapping[str, str], where: str, classes: frozenset[str], videos: Videos) -> ListedClip:
    label, youtube_id, split = row.get("label", ""), row["youtube_id"], _split_of(row, where)
    start_sec, end_sec = (checked_seconds(row[column], column, where=where) for column in ("time_start", "time_end"))
    if end_sec <= start_sec:
        raise KineflowError(
            f"times {row['time_start']} to {row['time_end']} are no interval in seconds",
            where=where,
            remedy="give an end after the start",
        )
    if not youtube_id or "/" in checked_path(youtube_id, where=where):
        raise KineflowError(
            f"youtube_id {shown(youtube_id)} is none", where=where, remedy="give the id of the video, as in its address"
        )

    folder = f"{label}/" if label else ""
    part = f"{folder}{youtube_id}_{int(start_sec):06d}_{int(end_sec):06d}.mp4"
    video, is_whole = videos.find(part, label=label, classes=classes), False
    if not video.is_there:
        whole = videos.find(f"{folder}{youtube_id}.mp4", label=label, classes=classes)
        is_whole = whole.is_there
        video = whole if is_whole or not video.missing else video
    listed = f"{folder}{youtube_id}.mp4" if is_whole else part
    return ListedClip(
        source=video.source if video.is_there else part,
        label=label or None,
        split=split if label else Split.UNLABELLED,
        group=youtube_id,
        listed_at=where,
        start_sec=start_sec if is_whole else None,
        end_sec=end_sec if is_whole else None,
        may_be_cut=is_whole,
        listed_as=listed if video.is_there and video.source != listed else "",
        missing=video.missing,
    )


def _parts_of_whole_videos(clips: Sequence[ListedClip]) -> tuple[ListedClip, ...]:
    """Rows that mean several parts of one file: it is the whole video or of no use, and never each of the parts."""
    intervals: dict[str, set[tuple[float, float]]] = {}
    for clip in clips:
        if clip.may_be_cut:
            intervals.setdefault(clip.source, set()).add((clip.start_sec or 0.0, clip.end_sec or 0.0))
    shared = {source: max(end for _, end in parts) for source, parts in intervals.items() if len(parts) > 1}
    return tuple(
        dataclasses.replace(clip, may_be_cut=False, whole_sec=shared[clip.source])
        if clip.may_be_cut and clip.source in shared
        else clip
        for clip in clips
    )
