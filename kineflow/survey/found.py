"""Which layout a place of videos has, found by what lies there; a new layout is one more row of ``_SIGNS``.

A sign makes a list a candidate, and its rows decide: a CSV of pupils with the columns ``name,class`` looks like a list
of videos, and names none that is there. A layout is taken where a fair share of its rows names videos that are there,
or its rows name a fair share of those (of published lists people often have a part of the videos). Else the next one is
tried, and what was passed over is told. A list that a user names is taken as it is.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from kineflow.data.layouts import Listing, Lists, list_clips
from kineflow.data.layouts.checks import settled
from kineflow.data.layouts.ucf11 import VIDEO as UCF11_VIDEO
from kineflow.data.layouts.videos import VIDEO_SUFFIXES, Videos
from kineflow.data.source import S3_SCHEME, Source, open_source
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import is_remote
from kineflow.storage.names import shown
from kineflow.storage.ranges import StorageError
from kineflow.survey.loose_csv import columns_of, common_folder, read_loose, share_found

LIST_SUFFIXES = (".csv", ".tsv", ".json", ".xml", ".txt")
_HEAD_BYTES = 4096
_HOLLYWOOD2 = re.compile(r"(.*/)?actionclip\w+\.\w+")
_MOST_HEADS = 20  # list files looked into, of each kind
_FAIR_SHARE = 0.5


class NoLayoutError(KineflowError):
    """What lies in a place is in no layout that is known."""


@dataclass(frozen=True)
class FoundClips:
    """The clips of a place.

    Attributes:
        source: Where the videos are; a list of absolute paths may lie elsewhere.
        layout: How they are listed.
        lists: The list file, where one was named or chosen; else empty.
        listing: Classes and clips.
        has_splits, has_groups: Whether the lists say the splits, and which clips belong together.
        notes: What was passed over, and why, for people.
    """

    source: Source
    layout: str
    lists: str
    listing: Listing
    has_splits: bool
    has_groups: bool
    notes: tuple[str, ...] = ()


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

    def lists(self, suffix: str | tuple[str, ...]) -> list[str]:
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

    def headed(self, suffix: str | tuple[str, ...], says: Callable[[str], bool]) -> Iterator[str]:
        """The list files of a kind whose head says so."""
        return (name for name in self.lists(suffix) if says(self.head(name)))

    @cached_property
    def videos(self) -> frozenset[str]:
        """Names of the videos."""
        return frozenset(name for name in self.names if name.lower().endswith(VIDEO_SUFFIXES))


@dataclass(frozen=True)
class _Some:
    """A source of which only some files are told: lists lie among others that are none."""

    source: Source
    kept: tuple[str, ...]

    @property
    def root(self) -> str:
        return self.source.root

    def names(self) -> list[str]:
        return sorted(self.kept)

    def sizes(self) -> Mapping[str, int]:
        return {name: size for name, size in self.source.sizes().items() if name in self.kept}

    def trouble(self, name: str) -> str:
        return self.source.trouble(name)

    def fetch(self, name: str) -> Any:
        return self.source.fetch(name)


_Names = tuple[str, ...]  # of the list files; none where a layout finds its own
_GROUPED = ("ucf101", "hmdb51", "kinetics", "ucf11")  # their lists say which clips were cut from one original
# What is wrong with their lists is to be mended, and not passed over.
_UNMISTAKABLE = ("ucf101", "hmdb51", "kinetics", "hollywood2")


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


def _once(is_one: bool) -> Iterator[_Names]:
    return iter([()] if is_one else [])


def _all(names: Iterator[str]) -> Iterator[_Names]:
    return iter([found] if (found := tuple(names)) else [])


def _each(names: Iterator[str]) -> Iterator[_Names]:
    return ((name,) for name in names)


_SIGNS: tuple[tuple[str, Callable[[_Seen], Iterator[_Names]]], ...] = (
    ("ucf101", lambda seen: _once(seen.matching(r"classInd\.txt") and seen.matching(r"trainlist0\d\.txt"))),
    ("hmdb51", lambda seen: _once(seen.matching(r".+_test_split\d\.txt"))),
    (
        "hollywood2",
        lambda seen: _once(any(map(_HOLLYWOOD2.fullmatch, seen.videos)) and seen.matching(r".+_train\.txt")),
    ),
    ("kinetics", lambda seen: _all(seen.headed(".csv", _kinetics))),
    ("something", lambda seen: _once(any(seen.headed("train.json", _something)))),
    ("label_studio", lambda seen: _each(seen.headed(".json", _label_studio))),
    ("cvat", lambda seen: _all(seen.headed(".xml", _cvat))),
    ("csv", lambda seen: _each(seen.headed((".csv", ".tsv"), _loose))),
    ("ucf11", lambda seen: _once(not seen.only and any(map(UCF11_VIDEO.fullmatch, seen.videos)))),
    ("folder", lambda seen: _once(not seen.only and any("/" in name for name in seen.videos))),
)
"""Layouts in the order in which they are tried: the plainer a sign, the later."""


def holds_videos(place: str) -> bool:
    """Whether a place is one of videos or lists of them: an ``s3://`` prefix, a list file, a folder with a video."""
    if is_remote(place) or is_list(place):
        return True
    walked = (name for _, _, names in os.walk(place) for name in names)
    return any(name.lower().endswith(VIDEO_SUFFIXES) for name in walked)


def is_list(place: str) -> bool:
    """Whether a place is a list file, and not a folder."""
    return place.lower().endswith(LIST_SUFFIXES) and (is_remote(place) or Path(place).is_file())


def find_clips(place: str, *, linked: Sequence[str] = ()) -> FoundClips:
    """The clips of a place, by whatever layout it has.

    Args:
        place: A folder, an ``s3://bucket/prefix``, or a list file (CSV, JSON, XML) beside or above its videos.
        linked: Folders elsewhere that links in a local folder may lead into.

    Raises:
        NoLayoutError: Nothing there is in a layout that is known.
        KineflowError: There is no such place, or its lists are malformed.
    """
    seen = _Seen(*_opened(place, linked))
    if not seen.names:
        raise KineflowError("nothing lies there", where=place, remedy="name the folder of the videos")
    passed_over: list[str] = []
    for layout, candidates in _SIGNS:
        for names in candidates(seen):
            found = _tried(seen, layout, names)
            if not isinstance(found, str):
                _require_one_class(found, place)
                return dataclasses.replace(found, notes=(*passed_over, *_left_out(seen, found)))
            passed_over.append(f"not of layout {layout}{_in_brackets(names)}: {found}")
    raise NoLayoutError(
        "; ".join(["videos in no layout that is known, or none", *passed_over]),
        where=place,
        remedy="put them into a folder a class, or write a CSV with the columns path,label, and name that",
    )


def _require_one_class(found: FoundClips, place: str) -> None:
    """See that the clips can be surveyed, which takes one class a clip.

    Raises:
        KineflowError: They cannot.
    """
    if found.listing.multi_label:
        raise KineflowError(
            f"clips of several classes (layout {found.layout}), and a survey takes one class a clip",
            where=place,
            remedy="kineflow init --recipe alstm --paper --dataset hollywood2, and name this place there in "
            f"ingestion.source, with ingestion.layout: {found.layout}",
        )


def _tried(seen: _Seen, layout: str, names: _Names) -> FoundClips | str:
    """What a layout makes of a place; why it does not fit where it does not.

    Raises:
        KineflowError: S3 does not answer; or lists that are meant are malformed: one that the user has named, official
            ones, a CSV of which a fair share of the paths is there.
    """
    try:
        found = _listed(seen, layout, names)
    except StorageError:
        raise
    except KineflowError as error:
        is_meant = seen.only or layout in _UNMISTAKABLE
        if is_meant or (
            layout == "csv" and share_found(seen.source, names[0], Videos.among(seen.names)) >= _FAIR_SHARE
        ):
            raise
        return error.problem if error.where is None else f"{error.where}: {error.problem}"
    return found if seen.only else _misfit(seen, found) or found


def _misfit(seen: _Seen, found: FoundClips) -> str:
    """Why the rows of a list speak of other videos, or nothing."""
    rows, videos = [clip.source for clip in found.listing.clips], frozenset(found.source.names())
    there = sum(source in videos for source in rows)
    if there < _FAIR_SHARE * len(rows) and len(videos & set(rows)) < _FAIR_SHARE * max(1, len(seen.videos)):
        return f"{there:,} of {len(rows):,} rows name a video that is there"
    if found.layout == "folder" and len(found.listing.classes) < 2:
        return f"all videos with a class lie in one folder, {shown(found.listing.classes[0])}"
    return ""


def _left_out(seen: _Seen, found: FoundClips) -> Iterator[str]:
    """That the lists leave out videos that lie among the others."""
    videos = sorted(seen.videos - {clip.source for clip in found.listing.clips})
    if videos and found.source is seen.source and not seen.only and found.layout != "folder":
        many = "1 video is" if len(videos) == 1 else f"{len(videos):,} videos are"
        yield f"{many} in no row of the lists, and left out: {shown(videos[0])}{', …' if videos[1:] else ''}"


def _listed(seen: _Seen, layout: str, names: _Names) -> FoundClips:
    source, root = seen.source, seen.source.root
    if layout == "csv":
        return _in_a_loose_list(seen, names[0])
    one = names[0] if len(names) == 1 else seen.only
    lists = Lists(_Some(source, names) if names else source, only=one)
    listing = list_clips(layout, lists, seen.names, root=root)
    has_splits = any(clip.split in (Split.VAL, Split.TEST) for clip in listing.clips)
    has_groups = layout in _GROUPED or any(clip.group != _stem(clip.source) for clip in listing.clips)
    return FoundClips(source, layout, one, listing, has_splits, has_groups)


def _in_a_loose_list(seen: _Seen, name: str) -> FoundClips:
    source, root = seen.source, seen.source.root
    folder = "" if is_remote(root) else common_folder(source, name)
    at = open_source(folder) if folder and not Path(folder).is_relative_to(Path(root).absolute()) else source
    videos = Videos.among(at.names(), root=at.root)
    loose = read_loose(source, name, videos)
    if not loose.listing.clips:
        raise KineflowError("the list names no clip", where=f"{root}/{name}", remedy="give it a row a clip")
    listing = Listing(loose.listing.classes, settled(loose.listing.clips, videos))
    return FoundClips(at, "csv", name, listing, loose.has_splits, loose.has_groups)


def _in_brackets(names: _Names) -> str:
    return f" ({names[0]}{', …' if names[1:] else ''})" if names else ""


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _opened(place: str, linked: Sequence[str]) -> tuple[Source, str]:
    """The source, and the name of the list file in it where the place is one."""
    if not place.lower().endswith(LIST_SUFFIXES) or (not is_remote(place) and Path(place).is_dir()):
        return open_source(place, linked=linked), ""
    if is_remote(place):
        path = PurePosixPath(place.removeprefix(S3_SCHEME))
        return open_source(f"{S3_SCHEME}{path.parent}"), path.name
    file = Path(place)
    if not file.is_file():
        raise KineflowError("no such file", where=place, remedy="name a list of videos, or their folder")
    return open_source(str(file.parent), linked=linked), file.name
