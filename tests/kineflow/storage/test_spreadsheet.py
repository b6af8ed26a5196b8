"""CSV cells that a spreadsheet would run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.storage.spreadsheet import as_given, harmless


@pytest.mark.parametrize(
    "cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "-", "=", "-1;2", "＝1+1"]
)
def test_what_would_be_run_is_a_text(cell: str) -> None:
    assert harmless([cell]) == [f"'{cell}"]


@pytest.mark.parametrize("cell", ["", "run", "a=b", "'quoted'", "-0.05", "+1e-3", "-.5", "-inf", -3, -0.5, 7])
def test_the_rest_stays_as_it_is(cell: object) -> None:
    assert harmless([cell]) == [cell]


@given(st.text(alphabet="=+-@\t\n'ab1", max_size=6))
def test_what_is_read_back_is_what_was_written(text: str) -> None:
    assert as_given(str(harmless([text])[0])) == text
