"""Which layout a place of videos has, found by what lies there; a new layout is one more row of ``_SIGNS``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from kineflow.data.layouts import Listing, Lists, list_clips
from kineflow.data.layouts.checks import settled
from kineflow.data.layouts.videos import VIDEO_SUFFIXES, Videos
from kineflow.data.source import S3_SCHEME, Source, open_source
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import is_remote
from kineflow.survey.loose_csv import columns_of, common_folder, read_loose

LIST_SUFFIXES = (".csv", ".tsv", ".json", ".xml", ".txt")
_HEAD_BYTES = 4096
_MOST_HEADS = 20  # list files looked into, of each kind


@dataclass(frozen=True)
class FoundClips:
    """The clips of a place.

    Attributes:
        source: Where the videos are; a list of absolute paths may lie elsewhere.
        layout: How they are listed.
        lists: The list file, where one was named or chosen; else empty.
        listing: Classes and clips.
        has_splits, has_groups: Whether the lists say the splits, and which clips belong together.
    """

    source: Source
    layout: str
    lists: str
    listing: Listing
    has_splits: bool
    has_groups: bool


@dataclass(frozen=True)
class _Seen:
    """What lies in a place.

    Attributes:
        source: Of the videos.
        only: The one list file that was named; empty for whatever is there.
    """

    source: Source
    only: str = ""

    @cached_property
    def names(self) -> list[str]:
        """Of all files."""
        return self.source.names()

    def lists(self, suffix: str) -> list[str]:
        """Names of the list files of a kind, nearest to the root first, ``clips.csv`` before its neighbours."""
        if self.only:
            return [self.only] if self.only.lower().endswith(suffix) else []
        found = [name for name in self.names if name.lower().endswith(suffix)]
        return sorted(found, key=lambda name: (name.count("/"), not name.endswith("clips.csv"), name))[:_MOST_HEADS]

    def matching(self, pattern: str) -> bool:
        """Whether the last part of some file's name matches."""
        return any(re.fullmatch(pattern, PurePosixPath(name).name) for name in self.names)

    def head(self, name: str) -> str:
        """The first bytes of a file as text, without what is no UTF-8."""
        with self.source.fetch(name) as path, Path(path).open("rb") as stream:
            return stream.read(_HEAD_BYTES).decode("utf-8-sig", errors="ignore")

    def headed(self, suffix: str, says: Callable[[str], bool]) -> str:
        """The first list file of a kind whose head says so; empty where none does."""
        return next((name for name in self.lists(suffix) if says(self.head(name))), "")


_Found = str | None  # the list file, empty where the layout needs none named; None: another layout
_GROUPED = ("ucf101", "hmdb51", "kinetics")  # their lists say which clips were cut from one original


def _kinetics(head: str) -> bool:
    return {"youtube_id", "time_start"} <= set(head.partition("\n")[0].replace('"', "").strip().split(","))


def _something(head: str) -> bool:
    return '"template"' in head


def _label_studio(head: str) -> bool:
    return head.lstrip().startswith("[") and '"data"' in head and '"annotations"' in head


def _cvat(head: str) -> bool:
    return "<annotations" in head


def _loose(head: str) -> bool:
    return bool(columns_of(head.partition("\n")[0].rstrip("\r")))


def _in_class_folders(seen: _Seen) -> _Found:
    inside = [name for name in seen.names if name.lower().endswith(VIDEO_SUFFIXES) and "/" in name]
    return "" if inside and not seen.only else None


_SIGNS: tuple[tuple[str, Callable[[_Seen], _Found]], ...] = (
    ("ucf101", lambda seen: "" if seen.matching(r"classInd\.txt") and seen.matching(r"trainlist0\d\.txt") else None),
    ("hmdb51", lambda seen: "" if seen.matching(r".+_test_split\d\.txt") else None),
    ("kinetics", lambda seen: "" if seen.headed(".csv", _kinetics) else None),
    ("something", lambda seen: "" if seen.headed("train.json", _something) else None),
    ("label_studio", lambda seen: seen.headed(".json", _label_studio) or None),
    ("cvat", lambda seen: (seen.only or "") if seen.headed(".xml", _cvat) else None),
    ("csv", lambda seen: seen.headed(".csv", _loose) or seen.headed(".tsv", _loose) or None),
    ("folder", _in_class_folders),
)
"""Layouts in the order in which they are tried: the plainer a sign, the later."""


def holds_videos(place: str) -> bool:
    """Whether a place is one of videos or lists of them: an ``s3://`` prefix, a list file, a folder with a video."""
    if is_remote(place):
        return True
    if Path(place).is_file():
        return place.lower().endswith(LIST_SUFFIXES)
    walked = (name for _, _, names in os.walk(place) for name in names)
    return any(name.lower().endswith(VIDEO_SUFFIXES) for name in walked)


def find_clips(place: str) -> FoundClips:
    """The clips of a place, by whatever layout it has.

    Args:
        place: A folder, an ``s3://bucket/prefix``, or a list file (CSV, JSON, XML) beside or above its videos.

    Raises:
        KineflowError: There is no such place, nothing there is a layout that is known, or its lists are malformed.
    """
    seen = _Seen(*_opened(place))
    if not seen.names:
        raise KineflowError("nothing lies there", where=place, remedy="name the folder of the videos")
    for layout, sign in _SIGNS:
        name = sign(seen)
        if name is not None:
            return _listed(seen, layout, name)
    raise KineflowError(
        "videos in no layout that is known, or none",
        where=place,
        remedy="put them into a folder a class, or a CSV with the columns path,label beside them",
    )


def _listed(seen: _Seen, layout: str, name: str) -> FoundClips:
    source, root = seen.source, seen.source.root
    if layout == "csv":
        folder = "" if is_remote(root) else common_folder(source, name)
        at = open_source(folder) if folder and not Path(folder).is_relative_to(Path(root).absolute()) else source
        videos = Videos.among(at.names(), root=at.root)
        loose = read_loose(source, name, videos)
        if not loose.listing.clips:
            raise KineflowError("the list names no clip", where=f"{root}/{name}", remedy="give it a row a clip")
        listing = Listing(loose.listing.classes, settled(loose.listing.clips, videos))
        return FoundClips(at, layout, name, listing, loose.has_splits, loose.has_groups)
    listing = list_clips(layout, Lists(source, only=name or seen.only), seen.names, root=root)
    has_splits = any(clip.split in (Split.VAL, Split.TEST) for clip in listing.clips)
    has_groups = layout in _GROUPED or any(clip.group != _stem(clip.source) for clip in listing.clips)
    return FoundClips(source, layout, name, listing, has_splits, has_groups)


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _opened(place: str) -> tuple[Source, str]:
    """The source, and the name of the list file in it where the place is one."""
    if not place.lower().endswith(LIST_SUFFIXES) or (not is_remote(place) and Path(place).is_dir()):
        return open_source(place), ""
    if is_remote(place):
        path = PurePosixPath(place.removeprefix(S3_SCHEME))
        return open_source(f"{S3_SCHEME}{path.parent}"), path.name
    file = Path(place)
    if not file.is_file():
        raise KineflowError("no such file", where=place, remedy="name a list of videos, or their folder")
    return open_source(str(file.parent)), file.name
