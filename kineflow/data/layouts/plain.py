"""A plain CSV file: ``path,label,split[,group][,start,end]``, paths below the source root.

``split`` is train, val, test or unlabelled. A clip of the split unlabelled never keeps a label: one that is written
there is dropped, so that labels can be held back by changing the split alone. In every other split the label is
required. ``group`` defaults to the path without its suffix, so that parts of one video stay together. ``start`` and
``end`` are seconds from the start of the video; either may be empty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePosixPath

from kineflow.data.layouts.registry import register_layout
from kineflow.data.layouts.rows import ListedClip, Listing, Lists, Videos, checked_once, checked_path
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError

DEFAULT_NAME = "clips.csv"
_REQUIRED = ("path", "label", "split")
_OPTIONAL = ("group", "start", "end")


@register_layout("csv")
def list_plain(lists: Lists, videos: Videos, *, split_number: int) -> Listing:  # noqa: ARG001  paths are as listed
    """Read the one CSV file of the data set, ``clips.csv`` unless another is named.

    Raises:
        KineflowError: The file is missing, or a row is malformed, leads outside the source, has an unknown split or
            no label, or is there twice.
    """
    name = lists.only or lists.one(DEFAULT_NAME)
    rows = lists.records(name, required=_REQUIRED, optional=_OPTIONAL)
    clips = [_read_row(row, where) for row, where in rows]
    return Listing(tuple(sorted({clip.label for clip in clips if clip.label is not None})), checked_once(clips))


def _read_row(row: Mapping[str, str], where: str) -> ListedClip:
    source = checked_path(row["path"], where=where)
    if row["split"] not in [split.value for split in Split]:
        raise KineflowError(f"unknown split {row['split']!r}", where=where, remedy=f"known splits: {', '.join(Split)}")
    split = Split(row["split"])
    label = None if split is Split.UNLABELLED else row["label"]
    if label == "":
        raise KineflowError(
            f"no label for {source!r} in split {split}",
            where=where,
            remedy="give its label, or put it in split unlabelled",
        )
    start_sec, end_sec = (_seconds(row.get(column, ""), column, where) for column in ("start", "end"))
    if end_sec is not None and end_sec <= (start_sec or 0.0):
        raise KineflowError(f"the part ends at {end_sec} s, before it starts", where=where, remedy="correct start, end")
    return ListedClip(
        source=source,
        label=label,
        split=split,
        group=row.get("group") or PurePosixPath(source).with_suffix("").as_posix(),
        listed_at=where,
        start_sec=start_sec,
        end_sec=end_sec,
    )


def _seconds(text: str, column: str, where: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise KineflowError(f"{column} {text!r} is no time in seconds, 0 or more", where=where)
    return value
