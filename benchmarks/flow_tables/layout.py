"""Markdown tables that also read well in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from flow_tables.machine import machine


def markdown(title: str, header: Sequence[str], rows: Sequence[Sequence[object]], *notes: str) -> str:
    """A titled table; numbers are given as strings, already rounded. The machine is named below it."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    aligned = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    rule = " | ".join("-" * width for width in widths)
    lines = [f"### {title}", "", *(f"| {line} |" for line in (aligned[0], rule, *aligned[1:])), ""]
    return "\n".join([*lines, *notes, f"Machine: {machine()}."]) + "\n"
