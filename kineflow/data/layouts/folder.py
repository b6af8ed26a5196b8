"""Folders of classes, and no list: ``<class>/…/<video>``; the class is the first folder below the source.

Where all that lies at the top is folders called ``train``, ``val`` (or ``valid``, ``validation``), ``test`` and
``unlabelled``, and ``train`` is one of them, they are splits, and the class is the folder below::

    jump/1.mp4               train/jump/1.mp4
    run/monday/2.mp4         test/run/2.mp4
    unlabelled/3.mp4         unlabelled/3.mp4

What lies in a folder called ``unlabelled`` in the place of a class (``unlabeled`` too) has no label; of ``val`` and
``test`` it could not be scored, and is left out. So are, with a warning, videos that lie in no folder. Without splits
all is ``train``, of which ``ingestion.val_share`` is held out. The group is the path without suffix: files of any names
may have been cut from one video, and the names do not say so.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath
from posixpath import splitext

from kineflow.data.layouts.registry import register_layout
from kineflow.data.layouts.rows import ListedClip, Listing, Lists
from kineflow.data.layouts.videos import VIDEO_SUFFIXES, Videos
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.names import printable, shown

_SPLITS = {
    "train": Split.TRAIN,
    "val": Split.VAL,
    "valid": Split.VAL,
    "validation": Split.VAL,
    "test": Split.TEST,
    "unlabelled": Split.UNLABELLED,
    "unlabeled": Split.UNLABELLED,
}
_UNLABELLED = frozenset(name for name, split in _SPLITS.items() if split is Split.UNLABELLED)
_SHOWN = 3
_HOW_TO_LAY_OUT = "put each video into a folder called as its class; ingestion.source names the folder that holds those"
_LOG = logging.getLogger(__name__)


@register_layout("folder")
def list_folder(lists: Lists, videos: Videos, *, split_number: int) -> Listing:  # noqa: ARG001  there is one split
    """List the videos of folders that are called as the classes.

    Raises:
        KineflowError: There is no video in a folder of a class, or some folders at the top are called as splits and
            others are not; or a list is named, and there is none in this layout.
    """
    if lists.only or (videos.root and lists.source.root != videos.root):
        raise KineflowError(
            "the layout folder reads no lists, and ingestion.annotations names some",
            where=lists.source.root,
            remedy="remove ingestion.annotations, or name the layout of the lists in ingestion.layout",
        )
    names = sorted(name for name in videos.names if splitext(name)[1].lower() in VIDEO_SUFFIXES)
    by_split = _has_splits([name for name in names if "/" in name], where=lists.source.root)
    clips, astray = [], []
    for name in names:
        clip = _clip(name, by_split, where=f"{lists.source.root}/{name}")
        clips.append(clip) if clip else astray.append(name)
    if astray:
        examples = ", ".join(map(printable, astray[:_SHOWN]))
        _LOG.warning(
            "%s: videos in no folder of a class, or without a label in val or test, which are left out: %d (%s)",
            lists.source.root,
            len(astray),
            examples,
        )
    classes = sorted({clip.label for clip in clips if clip.label is not None})
    if not classes:
        raise KineflowError("no video lies in a folder of a class", where=lists.source.root, remedy=_HOW_TO_LAY_OUT)
    return Listing(tuple(classes), tuple(clips))


def _has_splits(names: Sequence[str], *, where: str) -> bool:
    """Whether the folders at the top are splits.

    Raises:
        KineflowError: They may be, for all that can be told.
    """
    tops = {name.split("/")[0] for name in names}
    called = {top for top in tops if top.casefold() in _SPLITS}
    splits = {_SPLITS[top.casefold()] for top in called} - {Split.UNLABELLED}
    if called == tops:
        return Split.TRAIN in splits
    if len(splits) > 1:
        raise KineflowError(
            f"folders called {', '.join(map(shown, sorted(called)))} lie beside {shown(min(tops - called))}: "
            "they may be splits or classes",
            where=where,
            remedy="move what is of no split elsewhere; or list the videos in a CSV file (layout csv)",
        )
    return False


def _clip(name: str, by_split: bool, *, where: str) -> ListedClip | None:
    """The clip of a video; None where no folder says what it is."""
    folders = [unicodedata.normalize("NFC", part) for part in name.split("/")[:-1]]
    split = Split.TRAIN
    if by_split and folders:
        split = _SPLITS[folders.pop(0).casefold()]
    label = folders[0] if folders else ""
    if label.casefold() in _UNLABELLED or split is Split.UNLABELLED:
        if split in (Split.VAL, Split.TEST):
            return None
        return _listed(name, None, Split.UNLABELLED, where)
    return _listed(name, label, split, where) if label else None


def _listed(name: str, label: str | None, split: Split, where: str) -> ListedClip:
    group = PurePosixPath(name).with_suffix("").as_posix()
    return ListedClip(source=name, label=label, split=split, group=group, listed_at=where)
