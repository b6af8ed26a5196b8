"""Something-Something v2: ``train.json``, ``validation.json``, ``test.json``; videos as ``<id>.webm``.

The lists may have a prefix (``something-something-v2-train.json``). An entry is::

    {"id": "78687", "template": "Holding [something] next to [something]", "label": "holding potato next to …", …}

The class is the template without its brackets. ``labels.json``, where it is there, gives the classes in the order of
their index. The test list was published without templates: its clips are those of ``test-answers.csv`` (``id;class``),
and are left out where that is missing. Nothing is known of who filmed what: every video is a group of its own.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath

from kineflow.data.layouts.checks import checked_path
from kineflow.data.layouts.json_lists import json_of, rows_of, text_of
from kineflow.data.layouts.registry import register_layout
from kineflow.data.layouts.rows import ListedClip, Listing, Lists
from kineflow.data.layouts.videos import Videos
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.names import shown

_USES = {"train": Split.TRAIN, "validation": Split.VAL, "val": Split.VAL, "test": Split.TEST}
_LABELS, _ANSWERS = "labels.json", "test-answers.csv"
_LOG = logging.getLogger(__name__)


@register_layout("something")
def list_something(lists: Lists, videos: Videos, *, split_number: int) -> Listing:  # noqa: ARG001  there is one split
    """Read the lists of the splits that are there.

    Raises:
        KineflowError: There is no list, or two of one split, or an entry of one is malformed or of an unknown class.
    """
    by_use = {use: name for use in _USES if (name := _one(lists, f"{use}.json"))}
    if not by_use:
        raise KineflowError(
            "lists 'train.json', 'validation.json' or the like are missing",
            where=lists.source.root,
            remedy="put them there, or name their folder in ingestion.annotations",
        )
    classes, answers = _classes(lists), _answers(lists)
    clips: list[ListedClip] = []
    left_out = 0
    for use, name in by_use.items():
        for row, where in rows_of(lists, name):
            video_id = text_of(row, "id", where=where)
            if not video_id or "/" in checked_path(video_id, where=where):
                raise KineflowError(f"id {shown(video_id)} is none", where=where, remedy="give that of the video")
            label = _class_of(row, where) or (answers.get(video_id, "") if _USES[use] is Split.TEST else "")
            if not label and _USES[use] is Split.TRAIN:
                raise KineflowError("an entry without a template", where=where, remedy="give it, or remove the entry")
            if not label:
                left_out += 1
                continue
            if classes and label not in classes:
                raise KineflowError(
                    f"{shown(label)} is no class of {_LABELS}", where=where, remedy="use lists of one release together"
                )
            clips.append(_clip(video_id, label, _USES[use], where, videos))
    if left_out:
        _LOG.warning("%s: entries without a class, which cannot be scored: %d", lists.source.root, left_out)
    return Listing(classes or tuple(sorted({clip.label for clip in clips if clip.label})), tuple(clips))


def _one(lists: Lists, ending: str) -> str:
    """The one list of this name, with or without a prefix; empty where there is none."""
    names = [name for name in lists.matching(rf"(?:.+[-_])?{re.escape(ending)}") if _is_called(name, ending)]
    if len(names) > 1:
        raise KineflowError(
            f"several lists {ending!r}: {', '.join(names[:3])}",
            where=lists.source.root,
            remedy="name the folder of the ones that are meant in ingestion.annotations",
        )
    return names[0] if names else ""


def _is_called(name: str, ending: str) -> bool:
    return re.fullmatch(rf"(?:.+[-_])?{re.escape(ending)}", PurePosixPath(name).name) is not None


def _class_of(row: Mapping[str, object], where: str) -> str:
    return unicodedata.normalize("NFC", re.sub(r"[\[\]]", "", text_of(row, "template", where=where)))


def _classes(lists: Lists) -> tuple[str, ...]:
    """In the order of their index; none where there is no list of them."""
    name = _one(lists, _LABELS)
    if not name:
        return ()
    content = json_of(lists, name)
    try:
        indices = {unicodedata.normalize("NFC", str(label)): int(index) for label, index in content.items()}
    except (AttributeError, TypeError, ValueError):
        raise KineflowError(
            "no object of classes and their indices", where=f"{lists.source.root}/{name}", remedy="download it again"
        ) from None
    return tuple(sorted(indices, key=lambda label: indices[label]))


def _answers(lists: Lists) -> dict[str, str]:
    """The classes of the test list by id; none where nobody has them."""
    name = _one(lists, _ANSWERS)
    return dict(_answer(line.text, line.where) for line in lists.lines(name)) if name else {}


def _answer(text: str, where: str) -> tuple[str, str]:
    video_id, separator, label = text.partition(";")
    if not separator or not label.strip():
        raise KineflowError(f"{shown(text)} is no id and class", where=where, remedy="write '<id>;<class>'")
    return video_id.strip(), label.strip()


def _clip(video_id: str, label: str, split: Split, where: str, videos: Videos) -> ListedClip:
    listed = f"{video_id}.webm"
    video = videos.find(listed, label="", classes=frozenset())
    return ListedClip(
        source=video.source,
        label=label,
        split=split,
        group=video_id,
        listed_at=where,
        listed_as=listed if video.is_there and video.source != listed else "",
        missing=video.missing,
    )
