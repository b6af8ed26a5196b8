"""``clips.csv`` of a project: which clips there are, their class, split and group."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from kineflow.spec.split import Split
from kineflow.storage.files import atomic_file
from kineflow.storage.spreadsheet import harmless
from kineflow.survey.survey_set import SeenClip

_SPARE_SEC = 1.0  # as kineflow.video.store.part_of takes it


COLUMNS = ("path", "label", "split", "group")
TIMES = ("start", "end")
FRAMES = ("start_frame", "end_frame")


def write_clips(path: Path, clips: Sequence[SeenClip]) -> None:
    """Write the list that the layout ``csv`` reads.

    Columns for parts, in seconds or in numbers of frames, are there where some clip is such a part of its video. A part
    whose file turned out to be that part already, as Kinetics' often is, is listed as the whole file.
    """
    rows = [row_of(clip) for clip in clips]
    used = [columns for columns in (TIMES, FRAMES) if any(row.get(column) for row in rows for column in columns)]
    header = (*COLUMNS, *(column for columns in used for column in columns))
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(harmless([row.get(column, "") for column in header]) for row in rows)


def row_of(clip: SeenClip) -> dict[str, str]:
    """The values of a clip by column, without those that say nothing."""
    row = clip.listed
    label = "" if row.split is Split.UNLABELLED else row.label or ""
    values = {"path": row.source, "label": label, "split": str(row.split), "group": row.group}
    frames = (("start_frame", row.start_frame), ("end_frame", row.end_frame))
    values |= {column: str(number) for column, number in frames if number is not None}
    lasts = (row.end_sec or 0.0) - (row.start_sec or 0.0)
    if not (row.may_be_cut and 0 < clip.look.file_sec <= lasts + _SPARE_SEC):
        times = (("start", row.start_sec), ("end", row.end_sec))
        values |= {column: f"{at:.10g}" for column, at in times if at is not None}
    return values
