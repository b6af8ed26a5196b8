"""Kinetics: CSV files ``label,youtube_id,time_start,time_end,split``; videos flat or in folders, one a class.

``<id>_000010_000020.mp4`` is the part of the video that the row means; ``<id>.mp4`` is taken to be the whole upload
and cut, unless it turns out to be no longer than the part. Further columns (``is_cc``) are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from kineflow.data.layouts.registry import register_layout
from kineflow.data.layouts.rows import ListedClip, Listing, Lists, Videos, checked_once, checked_path
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError

_COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
_SPLITS = {"train": Split.TRAIN, "val": Split.VAL, "validate": Split.VAL, "test": Split.TEST}


@register_layout("kinetics")
def list_kinetics(lists: Lists, videos: Videos, *, split_number: int) -> Listing:  # noqa: ARG001  there is one split
    """Read all Kinetics CSV files.

    Raises:
        KineflowError: There is no CSV file, or a row is malformed, has no label or an unknown split, or is there twice.
    """
    names = lists.matching(r".+\.csv")
    if not names:
        raise KineflowError(
            "no CSV file here", where=lists.source.root, remedy="name the Kinetics CSV, or its folder, in 'annotations'"
        )
    clips = [_read_row(row, where, videos) for name in names for row, where in lists.records(name, required=_COLUMNS)]
    return Listing(tuple(sorted({clip.label for clip in clips if clip.label})), checked_once(clips))


def _read_row(row: Mapping[str, str], where: str, videos: Videos) -> ListedClip:
    label, youtube_id = row["label"], row["youtube_id"]
    if not label or not youtube_id:
        raise KineflowError("a row needs a label and a youtube_id", where=where)
    if row["split"] not in _SPLITS:
        raise KineflowError(
            f"unknown split {row['split']!r}", where=where, remedy=f"known splits: {', '.join(_SPLITS)}"
        )
    try:
        start_sec, end_sec = float(row["time_start"]), float(row["time_end"])
        valid = 0 <= start_sec < end_sec < math.inf
    except ValueError:
        valid = False
    if not valid:
        raise KineflowError(
            f"times {row['time_start']!r} to {row['time_end']!r} are no interval in seconds", where=where
        )

    checked_path(youtube_id, where=where)
    part = f"{youtube_id}_{int(start_sec):06d}_{int(end_sec):06d}.mp4"
    cut = videos.find(f"{label}/{part}", folder=label)
    whole = None if cut else videos.find(f"{label}/{youtube_id}.mp4", folder=label)
    return ListedClip(
        source=cut or whole or f"{label}/{part}",
        label=label,
        split=_SPLITS[row["split"]],
        group=youtube_id,
        listed_at=where,
        start_sec=start_sec if whole else None,
        end_sec=end_sec if whole else None,
        may_be_cut=bool(whole),
    )
