"""What somebody has answered: the CSV file that the page saves, or a list that was filled in by hand.

The file comes from outside, and a spreadsheet may have written it anew: with a byte order mark, semicolons or tabs,
other line ends, a comma in numbers. Of its columns ``path``, ``label``, ``start``, ``end``, ``start_frame`` and
``end_frame`` are read, by any usual name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kineflow.data.layouts.checks import checked_frame, checked_path, checked_seconds
from kineflow.data.source import LocalSource
from kineflow.storage.errors import KineflowError
from kineflow.survey.clips_csv import FRAMES, TIMES
from kineflow.survey.loose_csv import loose_rows

_MOST_BYTES = 2**26
_DECIMAL_COMMA = re.compile(r"\d+,\d+", re.ASCII)


@dataclass(frozen=True)
class Answer:
    """One row.

    Attributes:
        path: Of the video, below the source root.
        label: The class; empty: no answer.
        start_sec, end_sec: The part of the video, in seconds; None: its start or end.
        start_frame, end_frame: The part in numbers of frames; None where it is told in seconds, or is all.
        names_part: Whether the file has columns for parts: else a path alone may name one.
        where: File and line, for messages.
    """

    path: str
    label: str
    start_sec: float | None
    end_sec: float | None
    start_frame: int | None
    end_frame: int | None
    names_part: bool
    where: str


def read_answers(path: Path, *, root: str) -> tuple[list[Answer], list[KineflowError]]:
    """Read a file of answers.

    Args:
        path: Of the file.
        root: Of the source, with which paths may begin.

    Returns:
        The rows that can be read, and what is wrong with the others.

    Raises:
        KineflowError: The file is missing, too large, not UTF-8 or no such list.
    """
    if not path.is_file():
        raise KineflowError("no such file", where=path, remedy="name the CSV file that the labelling page has saved")
    if path.stat().st_size > _MOST_BYTES:
        raise KineflowError(
            f"larger than {_MOST_BYTES // 2**20} MiB, which no file of answers is",
            where=path,
            remedy="name the CSV file that the labelling page has saved",
        )
    real = path.resolve()
    answers, faults = [], []
    for row, where in loose_rows(LocalSource(real.parent), real.name):
        try:
            answers.append(_answer(row, where, root))
        except KineflowError as fault:
            faults.append(fault)
    return answers, faults


def _answer(row: Mapping[str, str], where: str, root: str) -> Answer:
    start, end = (_seconds(row.get(column, ""), column, where) for column in TIMES)
    first, stop = (checked_frame(row[key], key, where=where) if row.get(key) else None for key in FRAMES)
    path = checked_path(row["path"], where=where, root=root)
    names_part = any(column in row for column in (*TIMES, *FRAMES))
    return Answer(path, row["label"], start, end, first, stop, names_part, where)


def _seconds(text: str, column: str, where: str) -> float | None:
    plain = text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text
    return checked_seconds(plain, column, where=where) if plain else None
