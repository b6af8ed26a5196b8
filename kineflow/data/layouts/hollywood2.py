"""Hollywood2: ``<class>_train.txt``, ``<class>_test.txt``, two files a class; videos as ``AVIClips/<name>.avi``.

A line is ``<name> <use>``: 1 where the clip is of the class, -1 where it is not; a clip may be of several. Every list
names every clip of its split. What is not read: ``<class>_autotrain.txt``, whose labels come from scripts alone, and
the lists of scenes. The two splits are of different films, and which film a clip is of the lists do not say: each clip
is a group.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from pathlib import PurePosixPath

from kineflow.data.layouts.checks import checked_path
from kineflow.data.layouts.registry import register_layout
from kineflow.data.layouts.rows import ListedClip, Listing, Lists
from kineflow.data.layouts.videos import Videos
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.names import shown

_SPLITS = {"train": Split.TRAIN, "test": Split.TEST}
_OF_ALL = frozenset({"actions", "scenes"})  # lists of the clips of a kind, and of no class
_SCENE = "sceneclip"
_USES = {"1": True, "+1": True, "-1": False}
_LOG = logging.getLogger(__name__)

_Uses = dict[str, tuple[bool, str]]  # of each clip of a list, whether it is of the class, and where that is said


@register_layout("hollywood2")
def list_hollywood2(lists: Lists, videos: Videos, *, split_number: int) -> Listing:  # noqa: ARG001  there is one split
    """Read the lists of the classes of actions; a clip that is of none of them is left out.

    Raises:
        KineflowError: There is no list, a class has one of a split and another has not, the lists of a split name
            different clips, or a line of one is malformed.
    """
    uses = {split: _read_split(lists, name) for name, split in _SPLITS.items()}
    classes = tuple(sorted(uses[Split.TRAIN]))
    if classes != tuple(sorted(uses[Split.TEST])):
        [lone, *_] = sorted(set(classes) ^ set(uses[Split.TEST]))
        raise KineflowError(
            f"class {lone!r} has a list of one split alone",
            where=lists.source.root,
            remedy="put the lists of both splits there, '<class>_train.txt' and '<class>_test.txt'",
        )
    clips: list[ListedClip] = []
    of_none = 0
    for split, by_class in uses.items():
        for name, (_, where) in by_class[classes[0]].items():
            labels = [label for label in classes if by_class[label][name][0]]
            of_none += not labels
            if labels:
                clips.append(_clip(name, labels, split, where, videos))
    if of_none:
        _LOG.warning("%s: clips of no class, which are left out: %d", lists.source.root, of_none)
    return Listing(classes, tuple(clips), multi_label=True)


def _read_split(lists: Lists, split: str) -> dict[str, _Uses]:
    """What the lists of a split say, by class."""
    ending = f"_{split}.txt"
    by_class: dict[str, _Uses] = {}
    for name in lists.matching(rf".+{re.escape(ending)}"):
        label = unicodedata.normalize("NFC", PurePosixPath(name).name.removesuffix(ending))
        if label in _OF_ALL or not (uses := _read_list(lists, name)):
            continue
        if label in by_class:
            raise KineflowError(
                f"two lists of class {label!r} for {split}",
                where=f"{lists.source.root}/{name}",
                remedy="name the folder of the ones that are meant in ingestion.annotations",
            )
        by_class[label] = uses
    if not by_class:
        raise KineflowError(
            f"lists '<class>{ending}' are missing",
            where=lists.source.root,
            remedy="put the official ones there, or name their folder (ClipSets) in ingestion.annotations",
        )
    first, *others = by_class
    for label in others:
        if missing := sorted(by_class[first].keys() ^ by_class[label].keys()):
            raise KineflowError(
                f"clip {shown(missing[0])} is in one of the lists of {first!r} and {label!r} for {split}, not in both",
                where=lists.source.root,
                remedy="use lists of one release together: each names all clips of the split",
            )
    return by_class


def _read_list(lists: Lists, name: str) -> _Uses:
    """Whether each clip of a list is of its class; empty where it is of scenes."""
    uses: _Uses = {}
    for line in lists.lines(name):
        match = re.fullmatch(r"(\S+)\s+(\S+)", line.text)
        if not match or match[2] not in _USES:
            raise KineflowError(
                f"{shown(line.text)} is no clip and its use",
                where=line.where,
                remedy="write '<name> <use>', where use is 1 (of the class) or -1 (not of it)",
            )
        clip = checked_path(match[1], where=line.where)
        if clip.startswith(_SCENE):
            return {}
        if clip in uses:
            raise KineflowError(
                f"clip {shown(clip)} is there twice, first at {uses[clip][1]}",
                where=line.where,
                remedy="remove one of the two lines",
            )
        uses[clip] = (_USES[match[2]], line.where)
    return uses


def _clip(name: str, labels: list[str], split: Split, where: str, videos: Videos) -> ListedClip:
    listed = f"AVIClips/{name}.avi"
    video = videos.find(listed, label="", classes=frozenset())
    return ListedClip(
        source=video.source,
        label=labels[0],
        split=split,
        group=name,
        listed_at=where,
        listed_as=listed if video.is_there and video.source != listed else "",
        missing=video.missing,
        also="\n".join(labels[1:]),
    )
