"""What holds for the rows of every layout, the user's own as well, and how readers check a value of a row.

A row that no mending of files could make good (a path that leads out, a time that is none) ends the run with its line;
a row whose video is not there stays, with the reason.
"""

from __future__ import annotations

import dataclasses
import math
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from kineflow.data.layouts.rows import ListedClip
from kineflow.data.layouts.videos import Videos
from kineflow.spec.video_bounds import MAX_FILE_FRAMES
from kineflow.storage.errors import KineflowError
from kineflow.storage.names import shown

MOST_SECONDS = 1e7
_MOST_LETTERS = 1000  # of a label
_MOST_PATH_LETTERS = 4096
_OTHERS_SHOWN = 3
_NUMBER = re.compile(r"\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"\d{1,9}", re.ASCII)
_OUTSIDE = "list only files below the source (ingestion.source), best with paths relative to it"


def checked_path(listed: str, *, where: str, root: str = "") -> str:
    """``listed`` as a plain path below the source root: relative, with ``/``, without ``.`` and ``..``.

    Args:
        listed: As the list has it: relative to the root, or beginning with the root itself.
        where: File and line.
        root: Of the source, as a user writes it; empty where paths may only be relative.

    Raises:
        KineflowError: It is empty, or leads outside the root, or is none.
    """
    if not listed:
        raise KineflowError("a row without a path", where=where, remedy="give the path of its video, or remove the row")
    if len(listed) > _MOST_PATH_LETTERS:
        raise KineflowError(
            f"path {shown(listed)} has {len(listed)} letters, more than any file's",
            where=where,
            remedy="correct it; a quote that is not closed makes one value of many lines",
        )
    if "\0" in listed:
        raise KineflowError(
            f"path {shown(listed)} holds a null byte, which no file name does", where=where, remedy="correct it"
        )
    relative = posixpath.normpath(_below(root, listed))
    if relative == ".":
        raise KineflowError(
            f"path {shown(listed)} is the source itself", where=where, remedy="give the path of a video below it"
        )
    if relative.startswith(("/", "../")) or relative == ".." or re.match(r"\w+://", listed):
        raise KineflowError(f"path {shown(listed)} leads outside the source root", where=where, remedy=_OUTSIDE)
    return relative


def _below(root: str, listed: str) -> str:
    """``listed`` without the root at its beginning, where it has that."""
    if root and "://" in root:
        return listed.removeprefix(f"{root}/")
    if root and listed.startswith("/"):
        plain = posixpath.normpath(listed)
        for known in (Path(root).absolute(), Path(root).resolve()):
            prefix = posixpath.normpath(known.as_posix()).rstrip("/") + "/"
            if plain.startswith(prefix):
                return plain.removeprefix(prefix)
    return listed


def checked_seconds(text: str, column: str, *, where: str) -> float:
    """A time of a list in seconds.

    Raises:
        KineflowError: It is none: not written in digits, negative, or longer than any video.
    """
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not 0 <= value <= MOST_SECONDS:
        raise KineflowError(
            f"{column} {shown(text)} is no time in seconds from 0 to {MOST_SECONDS:.0f}",
            where=where,
            remedy="write seconds from the start of the video, such as 12.5",
        )
    return value


def checked_frame(text: str, column: str, *, where: str) -> int:
    """A number of a frame in a list.

    Raises:
        KineflowError: It is none: not written in digits, or more than any video has.
    """
    if not _WHOLE.fullmatch(text) or int(text) > MAX_FILE_FRAMES:
        raise KineflowError(
            f"{column} {shown(text)} is no number of a frame from 0 to {MAX_FILE_FRAMES:,}",
            where=where,
            remedy="count the frames of the video from 0",
        )
    return int(text)


def settled(clips: Sequence[ListedClip], videos: Videos) -> tuple[ListedClip, ...]:
    """The rows that a layout has read, checked and put to files of the source, whatever the layout.

    Raises:
        KineflowError: A path leads outside the source, a label or a time is none, or two rows name the same
            part of the same video.
    """
    placed = [_placed(clip, videos) for clip in clips]
    for clip in placed:
        for label in clip.labels:
            _check_label(label, clip.listed_at)
        _check_length(clip.group, "group", _MOST_PATH_LETTERS, clip.listed_at)
        _check_times(clip)
    return checked_once(_uncontested(placed))


def _placed(clip: ListedClip, videos: Videos) -> ListedClip:
    """With the file as the source spells it."""
    video = videos.at(clip.source)
    if not video.is_there:
        video = videos.at(checked_path(clip.source, where=clip.listed_at, root=videos.root))
    if "\\" in video.source and not video.is_there:
        raise KineflowError(
            f"path {shown(clip.source)} has Windows' separators, and no file is called so",
            where=clip.listed_at,
            remedy="write paths relative to the source (ingestion.source), with '/' between folders",
        )
    return dataclasses.replace(clip, source=video.source, missing=clip.missing or video.missing)


def _check_label(label: str, where: str) -> None:
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in label):
        raise KineflowError(
            f"label {shown(label)} holds a control character or a line end", where=where, remedy="remove it"
        )
    _check_length(label, "label", _MOST_LETTERS, where)


def _check_length(text: str, what: str, most: int, where: str) -> None:
    if len(text) > most:
        raise KineflowError(
            f"{what} {shown(text)} has {len(text)} letters, more than {most}",
            where=where,
            remedy="shorten it; a quote that is not closed makes one value of many lines",
        )


def _check_times(clip: ListedClip) -> None:
    for value in (clip.start_sec, clip.end_sec):
        if value is not None and not 0 <= value <= MOST_SECONDS:
            raise KineflowError(
                f"{value} s is no time from 0 to {MOST_SECONDS:.0f} s", where=clip.listed_at, remedy="correct it"
            )
    if clip.end_sec is not None and clip.end_sec <= (clip.start_sec or 0.0):
        raise KineflowError(
            f"the part ends at {clip.end_sec} s and starts at {clip.start_sec or 0.0} s",
            where=clip.listed_at,
            remedy="give it an end after its start, both in seconds from the start of the video",
        )
    first, stop = clip.start_frame or 0, clip.end_frame
    if first < 0 or (stop is not None and stop <= first):
        raise KineflowError(
            f"the part begins with frame {first} and ends before frame {stop}",
            where=clip.listed_at,
            remedy="give it an end after its start, frames counted from 0",
        )


def _uncontested(clips: Sequence[ListedClip]) -> list[ListedClip]:
    """Rows of other names that were put to one file lose it: it is the video of one of them, and of which is not known.

    The row that names the very path keeps it.
    """
    wanted: dict[tuple[str, tuple[float | None, ...]], set[str]] = {}
    for clip in clips:
        wanted.setdefault((clip.source, clip.part), set()).add(clip.listed_as or clip.source)
    return [_given_up(clip, wanted[clip.source, clip.part]) for clip in clips]


def _given_up(clip: ListedClip, names: set[str]) -> ListedClip:
    if len(names) == 1 or not clip.listed_as:
        return clip
    others = ", ".join(map(shown, sorted(names - {clip.listed_as})[:_OTHERS_SHOWN]))
    missing = f"{shown(clip.source)} has its name, but also answers to {others}"
    return dataclasses.replace(clip, source=clip.listed_as, listed_as="", missing=missing)


def checked_once(clips: Iterable[ListedClip]) -> tuple[ListedClip, ...]:
    """The clips, when none of them is listed twice.

    Raises:
        KineflowError: Two rows name the same part of the same video.
    """
    seen: dict[tuple[str, tuple[float | None, ...]], ListedClip] = {}
    for clip in clips:
        earlier = seen.setdefault((clip.source, clip.part), clip)
        if earlier is not clip:
            raise KineflowError(
                f"{shown(clip.source)} is listed twice, first at {earlier.listed_at}",
                where=clip.listed_at,
                remedy="remove one of the two rows",
            )
    return tuple(seen.values())
