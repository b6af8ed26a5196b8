"""Five fields in, six out; nonsense refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.storage.errors import KineflowError
from pipelines.submission.cron import six_fields


@pytest.mark.parametrize(
    ("given_expression", "expected"),
    [
        ("0 3 * * 1", "0 0 3 * * 1"),
        ("*/15 * * * *", "0 */15 * * * *"),
        ("0  3\t* * MON-FRI", "0 0 3 * * MON-FRI"),
        ("30 0 3 ? * 2-6", "30 0 3 ? * 2-6"),
        ("5,35 8-18/2 1 JAN,jul *", "0 5,35 8-18/2 1 JAN,jul *"),
        ("0 3 * * 7", "0 0 3 * * 0"),
    ],
)
def test_expressions_become_six_fields(given_expression: str, expected: str) -> None:
    assert six_fields(given_expression) == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "0 fields"),
        ("@daily", "1 fields"),
        ("0 3 * *", "4 fields"),
        ("0 0 3 * * 1 2026", "7 fields"),
        ("60 3 * * *", "minute '60'"),
        ("0 24 * * *", "hour '24'"),
        ("0 3 0 * *", "day of the month '0'"),
        ("0 3 * 13 *", "month '13'"),
        ("0 3 * * 8", "day of the week '8'"),
        ("0 3 * * FRI-MON", "ends before it begins"),
        ("*/0 * * * *", "above 0"),
        ("*/x * * * *", "above 0"),
        ("1- * * * *", "minute"),
        ("1,,2 * * * *", "minute"),
        ("٣ * * * *", "minute"),
        ("0 3 * * MONDAY", "day of the week"),
    ],
)
def test_what_is_no_cron_expression_is_refused(expression: str, message: str) -> None:
    with pytest.raises(KineflowError) as refused:
        six_fields(expression)
    assert message in str(refused.value)
    assert "five fields" in (refused.value.remedy or "")


@given(st.integers(0, 59), st.integers(0, 23), st.integers(1, 31), st.integers(1, 12), st.integers(0, 6))
def test_every_time_of_the_year_can_be_said(minute: int, hour: int, day: int, month: int, weekday: int) -> None:
    text = f"{minute} {hour} {day} {month} {weekday}"
    assert six_fields(text) == f"0 {text}"
    assert six_fields(six_fields(text)) == f"0 {text}"


@given(st.text(max_size=30))
def test_any_other_text_is_refused_in_words(text: str) -> None:
    try:
        converted = six_fields(text)
    except KineflowError:
        return
    assert len(converted.split()) == 6
