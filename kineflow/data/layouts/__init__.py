"""How data sets lay out their lists and videos: pure listing, no video is opened.

Each layout is a file of this folder, such as :mod:`~kineflow.data.layouts.plain` (a CSV file) and
:mod:`~kineflow.data.layouts.ucf101`; :mod:`~kineflow.data.layouts.registry` knows them by name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from kineflow.data.layouts.checks import settled
from kineflow.data.layouts.holdout import hold_out
from kineflow.data.layouts.registry import find_layout
from kineflow.data.layouts.rows import ListedClip, Listing, Lists
from kineflow.data.layouts.videos import Videos
from kineflow.data.source import S3_SCHEME, Source, open_source
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import is_remote

_LIST_SUFFIXES = (".csv", ".json", ".xml")

__all__ = ["ListedClip", "Listing", "Lists", "hold_out", "list_clips", "open_lists"]


def list_clips(layout: str, lists: Lists, names: Iterable[str], *, split_number: int = 1, root: str = "") -> Listing:
    """List the clips of a data set.

    Args:
        layout: One of the layouts that ``ingestion.layout`` may name.
        lists: Its list files.
        names: Of all files below the source root; a listed video that is not among them keeps its listed name.
        split_number: 1, 2 or 3, of UCF101's and HMDB51's official splits.
        root: Of the source, with which paths may begin.

    Raises:
        KineflowError: The layout is unknown, a list file is missing or malformed (file and line are named), a clip is
            there twice, or the lists name none.
    """
    videos = Videos.among(names, root=root)
    listing = find_layout(layout)(lists, videos, split_number=split_number)
    if not listing.clips:
        raise KineflowError("the lists name no clip", where=lists.source.root, remedy="add clips to the lists")
    return Listing(listing.classes, settled(listing.clips, videos), listing.multi_label)


def open_lists(source: Source, annotations: str, *, endpoint_url: str = "", linked: Sequence[str] = ()) -> Lists:
    """The list files: at ``annotations`` (a folder, an S3 prefix, or one list), or below the source if empty.

    One list is what ends with ``.csv``, ``.json`` or ``.xml``.

    Args:
        source: Of the videos.
        annotations: Place of the lists. A file that is named here may be a link to anywhere: the user has chosen it.
        endpoint_url: See :func:`kineflow.storage.client.s3_client`.
        linked: Folders elsewhere that links in a local folder may lead into.

    Raises:
        KineflowError: The folder does not exist.
    """
    if not annotations:
        return Lists(source)
    if not annotations.lower().endswith(_LIST_SUFFIXES):
        return Lists(open_source(annotations, endpoint_url=endpoint_url, linked=linked))
    if is_remote(annotations):
        path = PurePosixPath(annotations.removeprefix(S3_SCHEME))
        return Lists(open_source(f"{S3_SCHEME}{path.parent}", endpoint_url=endpoint_url), only=path.name)
    file = Path(annotations)
    return Lists(open_source(str(file.parent), linked=[str(Path(os.path.realpath(file)).parent)]), only=file.name)
