"""What a model answered to videos, as lines, CSV and JSON."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from kineflow.storage.disk import translate_full_disk
from kineflow.storage.files import atomic_file
from kineflow.storage.spreadsheet import harmless

_SECONDS_BETWEEN_WRITES = 30.0


@dataclass(frozen=True)
class Answer:
    """What was answered to a video.

    Attributes:
        path: Of the video, as it was named.
        top: The likeliest classes and their probabilities, likeliest first; empty where there is no answer.
        error: Why there is none; else empty.
    """

    path: str
    top: tuple[tuple[str, float], ...] = ()
    error: str = ""

    def line(self) -> str:
        """For a terminal: path, label and score, separated by tabs."""
        if not self.top:
            return f"{self.path}\t-\t{self.error}"
        label, score = self.top[0]
        return f"{self.path}\t{label}\t{score:.4f}"

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        label, score = self.top[0] if self.top else (None, None)
        top = [{"label": label, "score": score} for label, score in self.top]
        return {"path": self.path, "label": label, "score": score, "top": top, "error": self.error or None}


def answers_csv(answers: Sequence[Answer], stream: TextIO) -> None:
    """A row an answer: path, label, score, error, and the classes after the first as ``label_2``, ``score_2``, …"""
    most = max((len(answer.top) for answer in answers), default=1)
    further = [name for place in range(2, most + 1) for name in (f"label_{place}", f"score_{place}")]
    header = ["path", "label", "score", "error", *further]
    write_rows(stream, header, (_cells(answer, most) for answer in answers))


def _cells(answer: Answer, most: int) -> list[object]:
    pairs = [*answer.top, *[("", "")] * (max(1, most) - len(answer.top))]
    first, *further = pairs
    return [answer.path, *first, answer.error, *(cell for pair in further for cell in pair)]


def write_rows(stream: TextIO, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table as CSV whose texts no spreadsheet takes for formulas (:func:`kineflow.storage.spreadsheet.harmless`)."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(harmless(row) for row in rows)


def write_row(stream: TextIO, row: Sequence[object]) -> None:
    """One more row of such a table."""
    csv.writer(stream, lineterminator="\n").writerow(harmless(row))


def write_json(stream: TextIO, content: Any) -> None:
    """Content as indented JSON, and a line end."""
    json.dump(content, stream, indent=1, ensure_ascii=False)
    stream.write("\n")


@contextmanager
def whole(path: Path) -> Iterator[TextIO]:
    """A text file that appears, or takes the place of the one there, when the block has succeeded.

    Raises:
        KineflowError: The disk is full.
    """
    with (
        translate_full_disk(path.parent),
        atomic_file(path) as partial,
        partial.open("w", encoding="utf-8", newline="") as stream,
    ):
        yield stream
        stream.flush()


class KeptAnswers:
    """Answers as they come, in files that are whole at any time: written anew every half a minute, and at the end.

    Args:
        csv_file: Where to, as a table; None for nowhere.
        json_file: Where to, as a list of objects; None for nowhere.
    """

    def __init__(self, csv_file: Path | None, json_file: Path | None) -> None:
        self.csv_file, self.json_file = csv_file, json_file
        self.answers: list[Answer] = []
        self._written = time.monotonic()

    def add(self, answer: Answer) -> None:
        """Take one, and write all where it is time to."""
        self.answers.append(answer)
        if time.monotonic() - self._written >= _SECONDS_BETWEEN_WRITES:
            self.write()

    def write(self) -> None:
        """Write all that there are.

        Raises:
            KineflowError: The disk is full.
        """
        if self.csv_file is not None:
            with whole(self.csv_file) as stream:
                answers_csv(self.answers, stream)
        if self.json_file is not None:
            with whole(self.json_file) as stream:
                write_json(stream, [answer.plain() for answer in self.answers])
        self._written = time.monotonic()
