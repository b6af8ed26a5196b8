"""Cells of a CSV text are those that Python's reader sees, and a changed one leaves the others as they stand."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.labelling.cells import Cells
from kineflow.storage.spreadsheet import as_given

TEXTS = st.text(st.sampled_from("ab ,;\"'\r\n=-é\u2028"), max_size=6)
TABLES = st.lists(st.lists(TEXTS, min_size=2, max_size=2), min_size=1, max_size=5)


def read(text: str) -> list[list[str]]:
    return [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if any(row)]


@given(
    TABLES, st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.booleans()
)
def test_cells_are_those_of_the_reader(table, line_end, quoting, ends_with_line) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end, quoting=quoting).writerows(table)
    whole = text.getvalue() if ends_with_line else text.getvalue().removesuffix(line_end)
    cells = Cells.of(whole)
    assert [cells.values(number) for number in range(len(cells.records))] == read(whole)
    assert cells.replaced({}) == whole


@given(TABLES, TEXTS.filter(bool), st.data())
def test_one_cell_changes_and_nothing_else(table, value, data) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(table)
    cells = Cells.of(text.getvalue())
    if not cells.records:
        return
    record = data.draw(st.integers(0, len(cells.records) - 1))
    start, end = cells.records[record][1]
    changed = cells.replaced({(record, 1): value})
    assert changed.startswith(cells.text[:start])
    assert changed.endswith(cells.text[end:])
    assert as_given(read(changed)[record][1]) == value


def test_what_the_reader_refuses_is_not_taken() -> None:
    with pytest.raises(ValueError, match="quote"):
        Cells.of('a,b\n"x"y,z\n')
