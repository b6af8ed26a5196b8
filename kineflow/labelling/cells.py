"""The cells of a CSV text by their places in it, so that some can be changed and every other byte stays."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass

from kineflow.storage.spreadsheet import harmless

_CELL = re.compile(r'"(?:[^"]|"")*"|[^,\r\n]*')
_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True)
class Cells:
    """A CSV text, with commas, that :class:`csv.reader` takes in its strict mode.

    Attributes:
        text: All of it.
        records: For each record with something in it the places of its cells, as start and end in the text.
    """

    text: str
    records: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def of(cls, text: str) -> Cells:
        """Find the cells of a text."""
        records: list[tuple[tuple[int, int], ...]] = []
        record: list[tuple[int, int]] = []
        at = 0
        while True:
            cell = _CELL.match(text, at)
            assert cell is not None  # it matches nothing, too
            record.append(cell.span())
            at = cell.end()
            if text.startswith(",", at):
                at += 1
                continue
            if any(_value(text[start:end]) for start, end in record):
                records.append(tuple(record))
            line_end = _LINE_END.match(text, at)
            if line_end is None:
                if at < len(text):
                    raise ValueError(f"a quote within a value at letter {at}")
                return cls(text, tuple(records))
            record, at = [], line_end.end()

    def values(self, number: int) -> list[str]:
        """What stands in a record, the header being number 0."""
        return [_value(self.text[start:end]) for start, end in self.records[number]]

    def replaced(self, changes: Mapping[tuple[int, int], str]) -> str:
        """The text with other values in some cells, by the numbers of record and column."""
        places = sorted((self.records[record][column], value) for (record, column), value in changes.items())
        parts, at = [], 0
        for (start, end), value in places:
            parts += [self.text[at:start], _written(value)]
            at = end
        return "".join([*parts, self.text[at:]])


def _value(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if cell.startswith('"') else cell


def _written(value: str) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(harmless([value]))  # it quotes what its line ends are made of
    return line.getvalue().removesuffix("\r\n")
