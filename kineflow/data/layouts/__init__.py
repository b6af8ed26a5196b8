"""How data sets lay out their lists and videos: pure listing, no video is opened.

Four layouts: :mod:`~kineflow.data.layouts.plain` (a CSV file), :mod:`~kineflow.data.layouts.ucf101`,
:mod:`~kineflow.data.layouts.hmdb51` and :mod:`~kineflow.data.layouts.kinetics`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from kineflow.data.layouts.hmdb51 import list_hmdb51
from kineflow.data.layouts.holdout import hold_out
from kineflow.data.layouts.kinetics import list_kinetics
from kineflow.data.layouts.plain import list_plain
from kineflow.data.layouts.rows import ListedClip, Listing, Lists, Videos
from kineflow.data.layouts.ucf101 import list_ucf101
from kineflow.data.source import S3_SCHEME, Source, open_source
from kineflow.storage.errors import KineflowError

__all__ = ["LAYOUTS", "ListedClip", "Listing", "Lists", "hold_out", "list_clips", "open_lists"]

LAYOUTS = ("csv", "ucf101", "hmdb51", "kinetics")


def list_clips(layout: str, lists: Lists, names: Iterable[str], *, split_number: int = 1) -> Listing:
    """List the clips of a data set.

    Args:
        layout: One of :data:`LAYOUTS`.
        lists: Its list files.
        names: Of all files below the source root; a listed video that is not among them keeps its listed name.
        split_number: 1, 2 or 3, of UCF101's and HMDB51's official splits.

    Raises:
        KineflowError: The layout is unknown, a list file is missing or malformed (file and line are named), or the
            lists name no clip.
    """
    videos = Videos.among(names)
    match layout:
        case "csv":
            listing = list_plain(lists)
        case "ucf101":
            listing = list_ucf101(lists, videos, split_number=split_number)
        case "hmdb51":
            listing = list_hmdb51(lists, videos, split_number=split_number)
        case "kinetics":
            listing = list_kinetics(lists, videos)
        case _:
            raise KineflowError(f"unknown layout {layout!r}", remedy=f"use one of {', '.join(LAYOUTS)}")
    if not listing.clips:
        raise KineflowError("the lists name no clip", where=lists.source.root, remedy="add clips to the lists")
    return listing


def open_lists(source: Source, annotations: str, *, endpoint_url: str = "") -> Lists:
    """The list files: at ``annotations`` (a folder, an S3 prefix, or one CSV file), or below the source if empty.

    Raises:
        KineflowError: The folder does not exist.
    """
    if not annotations:
        return Lists(source)
    if not annotations.endswith(".csv"):
        return Lists(open_source(annotations, endpoint_url=endpoint_url))
    scheme = S3_SCHEME if annotations.startswith(S3_SCHEME) else ""
    path = PurePosixPath(annotations.removeprefix(S3_SCHEME))
    return Lists(open_source(f"{scheme}{path.parent}", endpoint_url=endpoint_url), only=path.name)
