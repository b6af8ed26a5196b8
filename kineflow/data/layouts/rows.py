"""What every layout is read into, and what all readers share."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from kineflow.data.layouts.videos import Videos as Videos
from kineflow.data.source import Source, read_text
from kineflow.spec.classes import labels_of
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.names import shown

_LINE_END = re.compile(r"\r\n|\n|\r")  # not those that splitlines knows beside: names may hold them
_SHOWN = 3


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
        whole_sec: What the whole video lasts at least, as other rows show; a file that is shorter is one of its parts,
            and nobody knows which. None where nothing is known.
        listed_as: Path that the list gives, where the file was found elsewhere; else empty.
        missing: Why there is no file, where more is known than that; else empty.
        start_frame, end_frame: The part of the video to take, as numbers of its frames, from 0, the end exclusive; None
            where it is told in seconds, or is all.
        also: Further class names, one a line, of a clip of several classes.
    """

    source: str
    label: str | None
    split: Split
    group: str
    listed_at: str
    start_sec: float | None = None
    end_sec: float | None = None
    may_be_cut: bool = False
    whole_sec: float | None = None
    listed_as: str = ""
    missing: str = ""
    start_frame: int | None = None
    end_frame: int | None = None
    also: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """All class names of the clip; none of an unlabelled one."""
        return labels_of(self.label, self.also)

    @property
    def part(self) -> tuple[float | None, ...]:
        """What tells the parts of one video apart."""
        return (self.start_sec, self.end_sec, self.start_frame, self.end_frame)


@dataclass(frozen=True)
class Listing:
    """All clips that the lists name, the classes in the order of their index, and whether a clip may have several."""

    classes: tuple[str, ...]
    clips: tuple[ListedClip, ...]
    multi_label: bool = False


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

    def one(self, file_name: str, *, remedy: str = "") -> str:
        """Name of the list file called ``file_name``; the one nearest to the root, when there are several.

        Args:
            file_name: Its last part.
            remedy: What to do where it is missing, if not what holds for official lists.

        Raises:
            KineflowError: There is none, or several are equally near.
        """
        same_name = self.matching(re.escape(file_name))
        if not same_name:
            raise KineflowError(
                f"list file {file_name!r} is missing",
                where=self.source.root,
                remedy=remedy or "put the official list files there, or name their folder in ingestion.annotations",
            )
        depth = min(name.count("/") for name in same_name)
        nearest = [name for name in same_name if name.count("/") == depth]
        if len(nearest) > 1:
            raise KineflowError(
                f"several files are called {file_name!r}: {', '.join(nearest[:_SHOWN])}",
                where=self.source.root,
                remedy="name the folder of the one that is meant in ingestion.annotations",
            )
        return nearest[0]

    def lines(self, name: str) -> Iterator[ListLine]:
        """The lines of a list file that are not blank; letters as NFC writes them."""
        text = unicodedata.normalize("NFC", read_text(self.source, name))
        for number, line in enumerate(_LINE_END.split(text), 1):
            if line.strip():
                yield ListLine(line.strip(), f"{self.source.root}/{name}:{number}")

    def records(
        self, name: str, *, required: Collection[str], optional: Collection[str] | None = None
    ) -> Iterator[tuple[Mapping[str, str], str]]:
        """The rows of a CSV list with a header line: values by column, and the place to name in a message.

        Letters are as NFC writes them, so that a class or a group is one however its rows were typed.

        Args:
            name: Of the list file.
            required: Columns that must be there.
            optional: Columns that may be there; None allows any.

        Raises:
            KineflowError: A column is missing or unknown, or a row has not as many values as the header.
        """
        path = f"{self.source.root}/{name}"
        text = unicodedata.normalize("NFC", read_text(self.source, name))
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        where = f"{path}:1"  # the line in which the row begins: an open quote may end the file
        try:
            header = [column.strip() for column in next(reader, [])]
            _check_header(header, required, optional, where=where)
            where = f"{path}:{reader.line_num + 1}"
            for values in reader:
                here, where = where, f"{path}:{reader.line_num + 1}"
                if not any(values):
                    continue
                if len(values) != len(header):
                    raise KineflowError(
                        f"{len(values)} values where the header names {len(header)} columns",
                        where=here,
                        remedy="quote values that hold a comma",
                    )
                yield dict(zip(header, (value.strip() for value in values), strict=True)), here
        except csv.Error as error:
            raise KineflowError(
                f"malformed CSV: {error}",
                where=where,
                remedy="close every quote that opens a value, and write a quote within a value twice",
            ) from None


def _check_header(
    header: list[str], required: Collection[str], optional: Collection[str] | None, *, where: str
) -> None:
    if missing := [column for column in required if column not in header]:
        separated = any(mark in column for column in header for mark in ";\t")
        raise KineflowError(
            f"column {', '.join(missing)} is missing; the header is {shown(','.join(header))}",
            where=where,
            remedy="separate columns by commas"
            if separated
            else f"give the header line {','.join(required)}; is this no list, name the lists in ingestion.annotations",
        )
    if twice := [column for column, count in Counter(header).items() if count > 1]:
        raise KineflowError(f"column {', '.join(twice)} is there twice", where=where, remedy="keep one of them")
    known = None if optional is None else {*required, *optional}
    if known is not None and (unknown := [column for column in header if column not in known]):
        raise KineflowError(
            f"unknown column {shown(', '.join(unknown))}",
            where=where,
            remedy=f"known columns: {', '.join(sorted(known))}",
        )
