"""What every layout is read into, and what all readers share."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from kineflow.data.source import Source, read_text
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp")


@dataclass(frozen=True, slots=True)
class ListedClip:
    """One clip as the lists of a data set name it; the video itself has not been looked at.

    Attributes:
        source: Path of the video below the source root, with ``/``.
        label: Class name; None in the split ``unlabelled`` and only there.
        split: What the clip is for.
        group: Clips cut from one original share it.
        listed_at: List file and line, for messages.
        start_sec, end_sec: The part of the video to take, in seconds from its start; None for its start or end.
        may_be_cut: The file may be the part itself already, as Kinetics' ``<id>.mp4`` often is.
    """

    source: str
    label: str | None
    split: Split
    group: str
    listed_at: str
    start_sec: float | None = None
    end_sec: float | None = None
    may_be_cut: bool = False


@dataclass(frozen=True)
class Listing:
    """All clips that the lists name, and the classes in the order of their index."""

    classes: tuple[str, ...]
    clips: tuple[ListedClip, ...]


@dataclass(frozen=True)
class ListLine:
    """A line of a list file, with the place to name in a message."""

    text: str
    where: str


@dataclass(frozen=True)
class Lists:
    """The list files of a data set.

    Attributes:
        source: Where they lie, at any depth.
        only: Name of the one file to use; empty for all.
    """

    source: Source
    only: str = ""

    def matching(self, pattern: str) -> list[str]:
        """Names of the list files whose last part is matched by the regular expression ``pattern``, sorted."""
        if self.only:
            return [self.only]
        return [name for name in self.source.names() if re.fullmatch(pattern, PurePosixPath(name).name)]

    def one(self, file_name: str) -> str:
        """Name of the list file called ``file_name``; the one nearest to the root, when there are several.

        Raises:
            KineflowError: There is none.
        """
        found = self.matching(re.escape(file_name))
        if not found:
            raise KineflowError(
                f"split file {file_name!r} is missing",
                where=self.source.root,
                remedy="put the official list files there, or name their folder in 'annotations'",
            )
        return min(found, key=lambda name: (name.count("/"), name))

    def lines(self, name: str) -> Iterator[ListLine]:
        """The lines of a list file that are not blank."""
        for number, text in enumerate(read_text(self.source, name).splitlines(), 1):
            if text.strip():
                yield ListLine(text.strip(), f"{self.source.root}/{name}:{number}")

    def records(
        self, name: str, *, required: Collection[str], optional: Collection[str] | None = None
    ) -> Iterator[tuple[Mapping[str, str], str]]:
        """The rows of a CSV list with a header line: values by column, and the place to name in a message.

        Args:
            name: Of the list file.
            required: Columns that must be there.
            optional: Columns that may be there; None allows any.

        Raises:
            KineflowError: A column is missing or unknown, or a row has not as many values as the header.
        """
        place = f"{self.source.root}/{name}"
        reader = csv.reader(io.StringIO(read_text(self.source, name)), strict=True)
        try:
            header = [column.strip() for column in next(reader, [])]
            _check_header(header, required, optional, where=f"{place}:1")
            for values in reader:
                where = f"{place}:{reader.line_num}"
                if not any(values):
                    continue
                if len(values) != len(header):
                    raise KineflowError(
                        f"{len(values)} values where the header names {len(header)} columns",
                        where=where,
                        remedy="quote values that hold a comma",
                    )
                yield dict(zip(header, (value.strip() for value in values), strict=True)), where
        except csv.Error as error:
            raise KineflowError(f"malformed CSV: {error}", where=f"{place}:{reader.line_num}") from None


def _check_header(
    header: list[str], required: Collection[str], optional: Collection[str] | None, *, where: str
) -> None:
    if missing := [column for column in required if column not in header]:
        raise KineflowError(
            f"column {', '.join(missing)} is missing; the header is {','.join(header)!r}",
            where=where,
            remedy=f"give the header line {','.join(required)}",
        )
    if twice := [column for column, count in Counter(header).items() if count > 1]:
        raise KineflowError(f"column {', '.join(twice)} is there twice", where=where)
    known = None if optional is None else {*required, *optional}
    if known is not None and (unknown := [column for column in header if column not in known]):
        raise KineflowError(
            f"unknown column {', '.join(unknown)}", where=where, remedy=f"known columns: {', '.join(sorted(known))}"
        )


@dataclass(frozen=True)
class Videos:
    """The files of a source, found by name wherever they lie."""

    names: frozenset[str]
    by_stem: Mapping[str, list[str]] = field(repr=False)

    @classmethod
    def among(cls, names: Iterable[str]) -> Videos:
        """Index the videos among the names of a source."""
        videos = sorted(name for name in names if PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES)
        by_stem: dict[str, list[str]] = {}
        for name in videos:
            by_stem.setdefault(PurePosixPath(name).stem, []).append(name)
        return cls(frozenset(videos), by_stem)

    def find(self, listed: str, *, folder: str) -> str | None:
        """The video that a list calls ``listed``: at that very path, else of that name in any folder.

        Where several have the name, the one in a folder called ``folder`` is meant. None when there is none.
        """
        if listed in self.names:
            return listed
        found = self.by_stem.get(PurePosixPath(listed).stem, [])
        return min(found, key=lambda name: (PurePosixPath(name).parent.name != folder, name), default=None)


def checked_path(listed: str, *, where: str) -> str:
    """``listed`` when it is a plain path below the source root.

    Raises:
        KineflowError: It is empty, absolute, or climbs with ``..``.
    """
    path = PurePosixPath(listed)
    if not listed or path.is_absolute() or ".." in path.parts or "\\" in listed or "\0" in listed:
        raise KineflowError(
            f"path {listed!r} leads outside the source root",
            where=where,
            remedy="list only files below the source root, with relative paths, '/' and no '..'",
        )
    return path.as_posix()


def checked_once(clips: Iterable[ListedClip]) -> tuple[ListedClip, ...]:
    """The clips, when none of them is listed twice.

    Raises:
        KineflowError: Two rows name the same part of the same video.
    """
    seen: dict[tuple[str, float | None, float | None], ListedClip] = {}
    for clip in clips:
        earlier = seen.setdefault((clip.source, clip.start_sec, clip.end_sec), clip)
        if earlier is not clip:
            raise KineflowError(
                f"{clip.source!r} is listed twice, first at {earlier.listed_at}",
                where=clip.listed_at,
                remedy="remove one of the two rows",
            )
    return tuple(seen.values())
