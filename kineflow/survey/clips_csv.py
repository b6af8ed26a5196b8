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


def write_clips(path: Path, clips: Sequence[SeenClip]) -> None:
    """Write the list that the layout ``csv`` reads.

    Columns ``start`` and ``end`` (seconds) are there where some clip is a part of its video. A part whose file turned
    out to be that part already, as Kinetics' often is, is listed as the whole file.
    """
    has_parts = any(_part(clip) != ("", "") for clip in clips)
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "label", "split", "group", *(("start", "end") if has_parts else ())))
        for clip in clips:
            row = clip.listed
            label = "" if row.split is Split.UNLABELLED else row.label
            times = _part(clip) if has_parts else ()
            writer.writerow(harmless([row.source, label, str(row.split), row.group, *times]))


def _part(clip: SeenClip) -> tuple[str, str]:
    row = clip.listed
    if row.start_sec is None and row.end_sec is None:
        return "", ""
    lasts = (row.end_sec or 0.0) - (row.start_sec or 0.0)
    if row.may_be_cut and 0 < clip.look.file_sec <= lasts + _SPARE_SEC:
        return "", ""
    start, end = ("" if at is None else f"{at:.10g}" for at in (row.start_sec, row.end_sec))
    return start, end
