"""``clips.csv`` of a project: which clips there are, their class, split and group.

It is made once, and is its user's from then on: what is added later is put after their rows, which stay byte for byte.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath

from kineflow.data.layouts.plain import ALSO_SEPARATOR
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from kineflow.storage.names import shown
from kineflow.storage.spreadsheet import harmless
from kineflow.survey.survey_set import SeenClip

_SPARE_SEC = 1.0  # as kineflow.video.store.part_of takes it


COLUMNS = ("path", "label", "split", "group")
TIMES = ("start", "end")
FRAMES = ("start_frame", "end_frame")


def write_clips(path: Path, clips: Sequence[SeenClip], *, multi_label: bool = False) -> None:
    """Write the list that the layout ``csv`` reads.

    Columns for parts, in seconds or in numbers of frames, are there where some clip is such a part of its video. A part
    whose file turned out to be that part already, as Kinetics' often is, is listed as the whole file.

    Args:
        path: Of the list.
        clips: In its order.
        multi_label: Clips may be of several classes: there is a column for further ones, whether some has any or not.
    """
    rows = [row_of(clip) for clip in clips]
    used = [columns for columns in (TIMES, FRAMES) if any(row.get(column) for row in rows for column in columns)]
    further = ("also",) if multi_label else ()
    header = (*COLUMNS, *further, *(column for columns in used for column in columns))
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(harmless([row.get(column, "") for column in header]) for row in rows)


def row_of(clip: SeenClip) -> dict[str, str]:
    """The values of a clip by column, without those that say nothing."""
    row = clip.listed
    label = "" if row.split is Split.UNLABELLED else row.label or ""
    values = {"path": row.source, "label": label, "split": str(row.split), "group": row.group}
    values |= {"also": row.also.replace("\n", ALSO_SEPARATOR)} if row.also else {}
    frames = (("start_frame", row.start_frame), ("end_frame", row.end_frame))
    values |= {column: str(number) for column, number in frames if number is not None}
    lasts = (row.end_sec or 0.0) - (row.start_sec or 0.0)
    if not (row.may_be_cut and 0 < clip.look.file_sec <= lasts + _SPARE_SEC):
        times = (("start", row.start_sec), ("end", row.end_sec))
        values |= {column: f"{at:.10g}" for column, at in times if at is not None}
    return values


def with_rows(text: str, clips: Sequence[SeenClip], *, where: str) -> str:
    """A list with rows for some clips after its own, in the order of its columns, its lines ended as they are.

    Args:
        text: Of the file.
        clips: To add.
        where: Path of the file.

    Raises:
        KineflowError: A clip needs a column that the list does not have.
    """
    if not clips:
        return text
    first = next(iter(_lines(text)), "")
    end = "\r\n" if first.endswith("\r\n") else "\n"
    header = [column.strip() for column in next(csv.reader([first.removeprefix("\ufeff")]), [])]
    added = io.StringIO()
    writer = csv.writer(added, lineterminator=end)
    for clip in clips:
        row = row_of(clip)
        if row["group"] == PurePosixPath(row["path"]).with_suffix("").as_posix() and "group" not in header:
            del row["group"]  # what the layout csv takes where there is no such column
        if lacking := [column for column in row if column not in header]:
            raise KineflowError(
                f"no column {lacking[0]}, which the new clip {shown(row['path'])} needs",
                where=where,
                remedy=f"add {lacking[0]} to the header line, and a comma to each row",
            )
        writer.writerow(harmless([row.get(column, "") for column in header]))
    return text + ("" if text.endswith(("\n", "\r")) else end) + added.getvalue()


def without_rows(text: str, starts: Sequence[int], dropped: Collection[int]) -> str:
    """A list without some of its rows.

    Args:
        text: Of the file.
        starts: Numbers of the lines in which its rows begin, from 1, ascending.
        dropped: Those of the rows that go.
    """
    lines = _lines(text)
    gone: set[int] = set()
    for start, stop in pairwise([*starts, len(lines) + 1]):
        if start in dropped:
            gone.update(range(start, stop))
    return "".join(line for number, line in enumerate(lines, 1) if number not in gone)


def _lines(text: str) -> list[str]:
    """Lines with their ends, parted where :mod:`csv` counts them."""
    return list(io.StringIO(text, newline=""))
