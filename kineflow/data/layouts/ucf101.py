"""UCF101: ``classInd.txt``, ``trainlist0N.txt``, ``testlist0N.txt``; videos as ``<Class>/v_<Class>_gNN_cMM.avi``.

The 25 groups of a class were each cut from one original, and the official lists keep them apart: the group of a clip
is its name without ``_cMM``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from kineflow.data.layouts.checks import checked_path
from kineflow.data.layouts.registry import register_layout
from kineflow.data.layouts.rows import ListedClip, Listing, ListLine, Lists
from kineflow.data.layouts.videos import Videos
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.names import shown


@register_layout("ucf101")
def list_ucf101(lists: Lists, videos: Videos, *, split_number: int) -> Listing:
    """Read the official lists of one of the three splits.

    Raises:
        KineflowError: A list file is missing, or a line of it is malformed or names an unknown class.
    """
    classes = _read_classes(lists)
    train = lists.one(f"trainlist{split_number:02d}.txt")
    test = lists.one(f"testlist{split_number:02d}.txt")
    clips = [*_read_split(lists, train, Split.TRAIN, classes, videos)]
    clips += _read_split(lists, test, Split.TEST, classes, videos)
    return Listing(tuple(classes), tuple(clips))


def _read_classes(lists: Lists) -> dict[str, int]:
    """Index from 1 by class name, in the order of the index."""
    classes: dict[str, int] = {}
    for line in lists.lines(lists.one("classInd.txt")):
        match = re.fullmatch(r"(\d{1,9})\s+(\S+)", line.text)
        if not match or match[2] in classes or int(match[1]) in classes.values():
            raise KineflowError(
                f"{shown(line.text)} is no class", where=line.where, remedy="write '<index> <Class>', each of them once"
            )
        classes[match[2]] = int(match[1])
    return dict(sorted(classes.items(), key=lambda item: item[1]))


def _read_split(lists: Lists, name: str, split: Split, classes: dict[str, int], videos: Videos) -> Iterator[ListedClip]:
    known = frozenset(classes)
    for line in lists.lines(name):
        listed, label = _parse(line, classes)
        video = videos.find(listed, label=label, classes=known)
        yield ListedClip(
            source=video.source,
            label=label,
            split=split,
            group=re.sub(r"_c\d+$", "", PurePosixPath(listed).stem),
            listed_at=line.where,
            listed_as=listed if video.source != listed else "",
            missing=video.missing,
        )


def _parse(line: ListLine, classes: dict[str, int]) -> tuple[str, str]:
    """Path and class of a line ``<Class>/<video>.avi[ <index>]``."""
    match = re.fullmatch(r"(\S+?)/(\S+\.avi)(?:\s+(\d{1,9}))?", line.text)
    if not match:
        raise KineflowError(
            f"{shown(line.text)} is no clip",
            where=line.where,
            remedy="write '<Class>/<video>.avi' and, for training, an index",
        )
    listed, index = checked_path(f"{match[1]}/{match[2]}", where=line.where), match[3]
    label = listed.partition("/")[0]
    if label not in classes:
        raise KineflowError(f"unknown label {shown(label)}", where=line.where, remedy="add the class to classInd.txt")
    if index and int(index) != classes[label]:
        raise KineflowError(
            f"index {index} is not that of {label!r} ({classes[label]})",
            where=line.where,
            remedy="use the classInd.txt that came with this list",
        )
    return listed, label
