"""UCF-11 (YouTube Action): ``<class>/v_<name>_<group>/v_<name>_<group>_<number>.mpg`` (or ``.avi``), and no list.

The 25 groups of a class were each cut from one original. Its authors judge by leaving groups out, and there is no
official split: here groups 1 to 15 are for training and 16 to 25 for testing. That is about the 975 and 625 clips of
ALSTM, which do not say which they are; a random split would have clips of one original on both sides.
"""

from __future__ import annotations

import re
import unicodedata
from posixpath import splitext

from kineflow.data.layouts.registry import register_layout
from kineflow.data.layouts.rows import ListedClip, Listing, Lists
from kineflow.data.layouts.videos import VIDEO_SUFFIXES, Videos
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError

_GROUPS, _TRAINING_GROUPS = 25, 15
VIDEO = re.compile(r"(?:.*/)?(?P<label>[^/]+)/(?P<folder>v_[^/]+_(?P<group>\d{1,2}))/(?P=folder)_\d+(?P<suffix>\.\w+)")


@register_layout("ucf11")
def list_ucf11(lists: Lists, videos: Videos, *, split_number: int) -> Listing:  # noqa: ARG001  there is one split
    """List the videos by the names of their folders; what is not named so is left out.

    Raises:
        KineflowError: No video is named so, a list is named, or a group has another number than 1 to 25.
    """
    if lists.only or (videos.root and lists.source.root != videos.root):
        raise KineflowError(
            "the layout ucf11 reads no lists, and ingestion.annotations names some",
            where=lists.source.root,
            remedy="remove ingestion.annotations",
        )
    clips = [clip for name in sorted(videos.names) if (clip := _clip(name, where=f"{lists.source.root}/{name}"))]
    if not clips:
        raise KineflowError(
            "no video is named as UCF-11's",
            where=lists.source.root,
            remedy="keep them as they are unpacked, such as basketball/v_shooting_01/v_shooting_01_01.mpg",
        )
    return Listing(tuple(sorted({clip.label for clip in clips if clip.label})), tuple(clips))


def _clip(name: str, *, where: str) -> ListedClip | None:
    match = VIDEO.fullmatch(name)
    if not match or splitext(name)[1].lower() not in VIDEO_SUFFIXES:
        return None
    label, number = unicodedata.normalize("NFC", match["label"]), int(match["group"])
    if not 1 <= number <= _GROUPS:
        raise KineflowError(
            f"group {number} is none of UCF-11's, 1 to {_GROUPS}",
            where=where,
            remedy="remove what is not of the data set; or list your own videos in a CSV file (layout csv)",
        )
    return ListedClip(
        source=name,
        label=label,
        split=Split.TRAIN if number <= _TRAINING_GROUPS else Split.TEST,
        group=f"{label}/{match['folder']}",
        listed_at=where,
    )
