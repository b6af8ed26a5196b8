"""HMDB51: ``<class>_test_splitN.txt``, one file a class and split; videos as ``<class>/<name>.avi``.

A line is ``<name>.avi <use>``: 1 train, 2 test, 0 not used in this split (and so not listed here). A name is
``<original>_<class>_<body>_<camera>_<people>_<view>_<quality>_<number>``, as in
``BIG_FISH_wave_u_nm_np1_le_goo_28``: what stands before the class is the film or upload that the clip was cut from.
The group is ``<class>/<original>``: the official splits keep the clips of one original apart within a class, but not
across classes (in split 1, 133 of 1352 originals give one class to train and another to test).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import PurePosixPath

from kineflow.data.layouts.checks import checked_path
from kineflow.data.layouts.registry import register_layout
from kineflow.data.layouts.rows import ListedClip, Listing, Lists
from kineflow.data.layouts.videos import Videos
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.names import shown

_USES = {"1": Split.TRAIN, "2": Split.TEST, "0": None}
_AFTER_CLASS = r"[fhul]_[cn]m_np\d+_(?:fr|ba|le|ri)_(?:bad|med|goo)_\d+"


@register_layout("hmdb51")
def list_hmdb51(lists: Lists, videos: Videos, *, split_number: int) -> Listing:
    """Read the official lists of one of the three splits; clips that it does not use are left out.

    Raises:
        KineflowError: There is no list file of this split, or two of one class, or a line of one is malformed.
    """
    ending = f"_test_split{split_number}.txt"
    names = lists.matching(rf".+{re.escape(ending)}")
    if not names:
        raise KineflowError(
            f"split files '<class>{ending}' are missing",
            where=lists.source.root,
            remedy="put the official list files there, or name their folder in ingestion.annotations",
        )
    by_class: dict[str, str] = {}
    for name in names:
        label = unicodedata.normalize("NFC", PurePosixPath(name).name.removesuffix(ending))
        if by_class.setdefault(label, name) != name:
            raise KineflowError(
                f"two lists of class {label!r}: {by_class[label]}, {name}",
                where=lists.source.root,
                remedy="name the folder of the ones that are meant in ingestion.annotations",
            )
    classes = frozenset(by_class)
    clips = [clip for label, name in by_class.items() for clip in _read_class(lists, name, label, classes, videos)]
    return Listing(tuple(sorted(by_class)), tuple(clips))


def group_of(file_name: str, label: str) -> str:
    """``<class>/<original>`` of a clip; a name that is not formed as HMDB51's is an original of its own."""
    stem = PurePosixPath(file_name).stem
    match = re.fullmatch(rf"(.+)_{re.escape(label)}_{_AFTER_CLASS}", stem)
    return f"{label}/{match[1] if match else stem}"


def _read_class(lists: Lists, name: str, label: str, classes: frozenset[str], videos: Videos) -> Iterator[ListedClip]:
    for line in lists.lines(name):
        match = re.fullmatch(r"(.+\.avi)\s+(\S+)", line.text)
        if not match or match[2] not in _USES:
            raise KineflowError(
                f"{shown(line.text)} is no clip and its use",
                where=line.where,
                remedy="write '<name>.avi <use>', where use is 1 (train), 2 (test) or 0 (not used)",
            )
        listed = f"{label}/{checked_path(match[1], where=line.where)}"
        split = _USES[match[2]]
        if split is not None:
            video = videos.find(listed, label=label, classes=classes)
            yield ListedClip(
                source=video.source,
                label=label,
                split=split,
                group=group_of(match[1], label),
                listed_at=line.where,
                listed_as=listed if video.source != listed else "",
                missing=video.missing,
            )
