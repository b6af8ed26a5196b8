"""Markdown tables that also read well in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flow_tables.machine import machine


@dataclass(frozen=True)
class Table:
    """A titled table; numbers are given as strings, already rounded."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    notes: Sequence[str] = ()

    def markdown(self, measured_on: str) -> str:
        """The table, with the machine named below it."""
        cells = [[str(cell) for cell in row] for row in (self.header, *self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.header))]
        aligned = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
        rule = " | ".join("-" * width for width in widths)
        lines = [f"### {self.title}", "", *(f"| {line} |" for line in (aligned[0], rule, *aligned[1:])), ""]
        return "\n".join([*lines, *self.notes, f"Machine: {measured_on}."]) + "\n"


def markdown(title: str, header: Sequence[str], rows: Sequence[Sequence[object]], *notes: str) -> str:
    """A table measured on this machine."""
    return Table(title, header, rows, notes).markdown(machine())
