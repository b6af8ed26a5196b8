"""Cells of CSV files that people may open in a spreadsheet.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line end for a formula, and runs it.
Names of files and classes come from outside, so such a text is written with a ``'`` before it, which spreadsheets take
for "this is text". Numbers stay numbers. What is read back with :func:`as_given` is what was written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)", re.ASCII)


def harmless(cells: Sequence[object]) -> list[object]:
    """The cells of a row as they are written: a text that a spreadsheet would run begins with ``'``."""
    return [f"'{cell}" if isinstance(cell, str) and _is_formula(cell) else cell for cell in cells]


def as_given(cell: str) -> str:
    """A cell that :func:`harmless` wrote, as it was before."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _is_formula(cell: str) -> bool:
    return bool(_FORMULA.match(cell)) and not _NUMBER.fullmatch(cell)
