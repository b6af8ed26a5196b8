"""A CSV list as people write one: columns by any usual name, in any order, separated by commas, semicolons or tabs.

    filename;Class            path,label,split,group
    a/1.mp4;wave              a/1.mp4,wave,train,s1

A column of another name is left alone. Paths may be absolute, may lie below any folder, and may have another suffix.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kineflow.data.layouts.plain import clip_of_row
from kineflow.data.layouts.rows import ListedClip, Listing
from kineflow.data.layouts.videos import Videos
from kineflow.data.source import Source, read_text
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.names import shown
from kineflow.storage.spreadsheet import as_given

_NAMES = {
    "path": ("path", "file", "filename", "filepath", "video", "videopath", "videoname", "videofile", "clip", "name"),
    "label": ("label", "class", "category", "classname", "labelname", "action", "activity", "target"),
    "also": ("also",),
    "split": ("split", "subset", "set", "partition"),
    "group": ("group", "groupid", "recording", "session", "scene", "subject"),
    "start": ("start", "startsec", "starttime", "timestart", "begin"),
    "end": ("end", "endsec", "endtime", "timeend", "stop"),
    "start_frame": ("startframe", "framestart", "firstframe"),
    "end_frame": ("endframe", "frameend", "stopframe"),
}
_SPLITS = {
    **dict.fromkeys(("train", "training"), Split.TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), Split.VAL),
    **dict.fromkeys(("test", "testing", "eval"), Split.TEST),
    **dict.fromkeys(("unlabelled", "unlabeled"), Split.UNLABELLED),
}
_SEPARATORS = ",;\t"


@dataclass(frozen=True)
class LooseList:
    """What a list has beside its clips.

    Attributes:
        listing: Classes and clips; a clip whose split the list does not say is of ``train``.
        has_splits, has_groups: Whether some row says that it is of val or test, and whether rows name several groups.
    """

    listing: Listing
    has_splits: bool
    has_groups: bool


def columns_of(header: str) -> dict[str, int]:
    """Place of each known column in the first line of a list, by the first of its names that is there.

    Empty where the line names no path or no label, or is no line of a CSV: then it is no such list.
    """
    try:
        names = [_plain(cell) for cell in next(csv.reader([header], delimiter=_separator(header)), [])]
    except csv.Error:
        return {}
    found = {
        column: next(names.index(alias) for alias in aliases if alias in names)
        for column, aliases in _NAMES.items()
        if any(alias in names for alias in aliases)
    }
    return found if {"path", "label"} <= found.keys() else {}


def read_loose(source: Source, name: str, videos: Videos) -> LooseList:
    """Read a list.

    Args:
        source: Where it lies.
        name: Of the list there.
        videos: Names of the videos that there are.

    Raises:
        KineflowError: It is no such list, or a row has too few values, no path, an unknown split or a time that is
            none; file and line are named.
    """
    rows = list(loose_rows(source, name))
    classes = frozenset(row["label"] for row, _ in rows if row.get("label"))
    clips = tuple(_clip(row, where, videos, classes) for row, where in rows)
    named = tuple(sorted({label for clip in clips for label in clip.labels}))
    listing = Listing(named, clips, multi_label=any("also" in row for row, _ in rows))
    return LooseList(
        listing,
        has_splits=any(_SPLITS.get(row.get("split", "").casefold()) in (Split.VAL, Split.TEST) for row, _ in rows),
        has_groups=len({group for row, _ in rows if (group := row.get("group"))}) > 1,
    )


def share_found(source: Source, name: str, videos: Videos) -> float:
    """Share of a list's paths that are there, as far as it can be read at all; nothing else of its rows is checked."""
    paths = []
    with suppress(KineflowError):
        for row, _ in loose_rows(source, name):
            paths.append(row["path"])
    there = sum(videos.find(path, label="", classes=frozenset()).is_there for path in paths)
    return there / len(paths) if paths else 0.0


def common_folder(source: Source, name: str) -> str:
    """The folder that holds all videos of a list whose paths all begin with ``/``; empty of another list.

    Raises:
        KineflowError: As :func:`read_loose`, or there is no such folder but ``/`` itself.
    """
    paths = [row["path"] for row, _ in loose_rows(source, name)]
    if not paths or not all(path.startswith("/") for path in paths):
        return ""
    folder = os.path.commonpath([str(Path(os.path.normpath(path)).parent) for path in paths])
    if folder == "/":
        raise KineflowError(
            "its videos have no folder in common but /",
            where=f"{source.root}/{name}",
            remedy="put links to them into one folder, and name that",
        )
    return folder


def loose_rows(source: Source, name: str) -> Iterator[tuple[Mapping[str, str], str]]:
    """The rows of a list as they stand: values by known column, without spaces round them, and file and line.

    Raises:
        KineflowError: There is no column of paths or none of labels, a row has too few values, or quotes are wrong.
    """
    path = f"{source.root}/{name}"
    text = unicodedata.normalize("NFC", read_text(source, name))
    header = text.partition("\n")[0].rstrip("\r")
    columns = columns_of(header)
    if not columns:
        raise KineflowError(
            f"no column for paths or none for labels; the header is {shown(header)}",
            where=f"{path}:1",
            remedy="give the header line path,label or path,label,split,group",
        )
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(header), strict=True)
    where = f"{path}:1"
    try:
        next(reader, [])
        for values in reader:
            where = f"{path}:{reader.line_num}"
            if not any(values):
                continue
            if len(values) <= max(columns.values()):
                raise KineflowError(
                    f"{len(values)} values where the header names {max(columns.values()) + 1} or more columns",
                    where=where,
                    remedy="quote values that hold the separator",
                )
            yield {column: as_given(values[place].strip()) for column, place in columns.items()}, where
    except csv.Error as error:
        raise KineflowError(f"malformed CSV: {error}", where=where, remedy="close every quote") from None


def _clip(row: Mapping[str, str], where: str, videos: Videos, classes: frozenset[str]) -> ListedClip:
    video = videos.find(row["path"], label=row["label"], classes=classes)
    clip = clip_of_row(row, video, _split_of(row, where), where=where, root=videos.root)
    is_elsewhere = clip.source != row["path"]
    return dataclasses.replace(clip, listed_as=row["path"] if is_elsewhere else "", missing=video.missing)


def _split_of(row: Mapping[str, str], where: str) -> Split:
    said = row.get("split", "").casefold()
    if said and said not in _SPLITS:
        raise KineflowError(
            f"unknown split {shown(row['split'])}", where=where, remedy="known splits: train, val, test, unlabelled"
        )
    return _SPLITS.get(said, Split.TRAIN) if row["label"] else Split.UNLABELLED


def _separator(header: str) -> str:
    return max(_SEPARATORS, key=header.count)


def _plain(cell: str) -> str:
    return "".join(letter for letter in cell.casefold() if letter.isalnum())
