"""A plain CSV file: ``path,label,split[,also][,group][,start,end][,start_frame,end_frame]``, paths below the root.

``split`` is train, val, test or unlabelled. A clip of the split unlabelled never keeps a label: one that is written
there is dropped, so that labels can be held back by changing the split alone. A row of train (or of no split) with an
empty label is unlabelled; val and test cannot be scored without labels, and need them. With a column ``also`` clips may
be of several classes: it has the further ones of each, separated by ``;``. ``group`` defaults to the path
without its suffix, so that parts of one video stay together. ``start`` and ``end`` are seconds from the start of the
video; ``start_frame`` and ``end_frame`` are numbers of its frames, from 0, the end exclusive, which of a video whose
rate varies no seconds are. A row has one or the other, and any of them may be empty. A cell that begins with ``'`` and
would be a formula without it is read without it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import PurePosixPath

from kineflow.data.layouts.checks import checked_frame, checked_path, checked_seconds
from kineflow.data.layouts.registry import register_layout
from kineflow.data.layouts.rows import ListedClip, Listing, Lists
from kineflow.data.layouts.videos import FoundVideo, Videos
from kineflow.spec.classes import repeated
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.names import shown
from kineflow.storage.spreadsheet import as_given

DEFAULT_NAME = "clips.csv"
ALSO_SEPARATOR = ";"
"""Between the classes in the column ``also``."""
_REQUIRED = ("path", "label", "split")
_TIMES, _FRAMES = ("start", "end"), ("start_frame", "end_frame")
_OPTIONAL = ("also", "group", *_TIMES, *_FRAMES)


_HOW_TO_LIST = (
    f"write it, with the header line {','.join(_REQUIRED)} and a row a clip, or name another in ingestion.annotations; "
    "official lists have layouts of their own (ingestion.layout)"
)
_LOG = logging.getLogger(__name__)


@register_layout("csv")
def list_plain(lists: Lists, videos: Videos, *, split_number: int) -> Listing:  # noqa: ARG001  there is one split
    """Read the one CSV file of the data set, ``clips.csv`` unless another is named.

    Raises:
        KineflowError: The file is missing, or a row is malformed, leads outside the source, has an unknown split, no
            label, a class twice, or a time that is none.
    """
    name = lists.only or lists.one(DEFAULT_NAME, remedy=_HOW_TO_LIST)
    records = lists.records(name, required=_REQUIRED, optional=_OPTIONAL)
    rows = [({column: as_given(value) for column, value in row.items()}, where) for row, where in records]
    clips = [_read_row(row, where, videos) for row, where in rows]
    without = sum(not row["label"] and row["split"] != Split.UNLABELLED for row, _ in rows)
    if without:
        _LOG.info("%s: rows without a label: %d; their clips are unlabelled", name, without)
    classes = tuple(sorted({label for clip in clips for label in clip.labels}))
    return Listing(classes, tuple(clips), multi_label=any("also" in row for row, _ in rows))


def _read_row(row: Mapping[str, str], where: str, videos: Videos) -> ListedClip:
    return clip_of_row(row, videos.at(row["path"]), _split_of(row, where), where=where, root=videos.root)


def clip_of_row(row: Mapping[str, str], video: FoundVideo, split: Split, *, where: str, root: str) -> ListedClip:
    """The clip of a row of a CSV list.

    Args:
        row: Values by column; ``path`` and ``label`` are there.
        video: What the path stands for.
        split: Of the clip.
        where: File and line.
        root: Of the source, with which paths may begin.

    Raises:
        KineflowError: The path leads outside the source, a time or a number of a frame is none, or both are given; or
            there are further classes without a label, or one of them twice.
    """
    source = video.source if video.is_there else checked_path(row["path"], where=where, root=root)
    start_sec, end_sec = (checked_seconds(row[key], key, where=where) if row.get(key) else None for key in _TIMES)
    start_frame, end_frame = (checked_frame(row[key], key, where=where) if row.get(key) else None for key in _FRAMES)
    if any(row.get(key) for key in _TIMES) and any(row.get(key) for key in _FRAMES):
        raise KineflowError(
            "a part in seconds and in numbers of frames", where=where, remedy="leave one of the two empty"
        )
    also = _further_classes(row, where)
    return ListedClip(
        source=source,
        label=None if split is Split.UNLABELLED else row["label"],
        split=split,
        group=row.get("group") or PurePosixPath(source).with_suffix("").as_posix(),
        listed_at=where,
        start_sec=start_sec,
        end_sec=end_sec,
        start_frame=start_frame,
        end_frame=end_frame,
        also="" if split is Split.UNLABELLED else also,
    )


def _further_classes(row: Mapping[str, str], where: str) -> str:
    """Those that the column ``also`` names, one a line."""
    further = [name.strip() for name in row.get("also", "").split(ALSO_SEPARATOR) if name.strip()]
    if further and not row["label"]:
        raise KineflowError(
            "further classes (also) of a clip without a label",
            where=where,
            remedy="give the first of them as its label, or leave also empty",
        )
    if twice := repeated([row["label"], *further]):
        raise KineflowError(
            f"class {shown(twice[0])} twice in label and also", where=where, remedy="name each class of a clip once"
        )
    return "\n".join(further)


def _split_of(row: Mapping[str, str], where: str) -> Split:
    known = [split.value for split in Split]
    if row["label"] or row["split"] not in (*known, ""):
        if row["split"] not in known:
            raise KineflowError(
                f"unknown split {shown(row['split'])}", where=where, remedy=f"known splits: {', '.join(known)}"
            )
        return Split(row["split"])
    if row["split"] in (Split.VAL, Split.TEST):
        raise KineflowError(
            f"no label for {shown(row['path'])} in split {row['split']}, which is scored by labels",
            where=where,
            remedy="give its label, or put it in split unlabelled, from which is learnt",
        )
    return Split.UNLABELLED
