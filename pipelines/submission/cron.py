"""Cron expressions: the five fields everyone writes, and the six that Kubeflow Pipelines reads (seconds first)."""

from __future__ import annotations

import re

from kineflow.storage.errors import KineflowError

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_ITEM = re.compile(r"(?P<all>[*?])|(?P<first>\w+)(?:-(?P<last>\w+))?")
_REMEDY = "write five fields as for cron, e.g. '0 3 * * 1' for Mondays at three; or six, with the second first"


def six_fields(expression: str) -> str:
    """The expression as Kubeflow Pipelines wants it; a missing field of seconds becomes 0, Sunday as 7 becomes 0.

    Raises:
        KineflowError: It is no cron expression; the field at fault is named.
    """
    fields = expression.split()
    if len(fields) == len(_FIELDS) - 1:
        fields = ["0", *fields]
    if len(fields) != len(_FIELDS):
        raise KineflowError(f"{expression!r} has {len(fields)} fields", where="--schedule", remedy=_REMEDY)
    if fields[-1] == "7":
        fields[-1] = "0"
    for text, (name, least, most, words) in zip(fields, _FIELDS, strict=True):
        fault = next((fault for item in text.split(",") if (fault := _fault(item, least, most, words))), None)
        if fault:
            raise KineflowError(f"{name} {text!r}: {fault}", where="--schedule", remedy=_REMEDY)
    return " ".join(fields)


def _fault(item: str, least: int, most: int, words: tuple[str, ...]) -> str | None:
    span, slash, step = item.partition("/")
    if slash and not (step.isascii() and step.isdecimal() and int(step) > 0):
        return f"the step after / is a whole number above 0, not {step!r}"
    parsed = _ITEM.fullmatch(span)
    if parsed is None:
        return f"{item!r} is no number, range, list or *"
    if parsed["all"]:
        return None
    ends = [_number(end, least, words) for end in (parsed["first"], parsed["last"]) if end is not None]
    if any(end is None or not least <= end <= most for end in ends):
        return f"{item!r} is not within {least} to {most}"
    return None if ends == sorted(end for end in ends if end is not None) else f"{item!r} ends before it begins"


def _number(text: str, least: int, words: tuple[str, ...]) -> int | None:
    if text.upper() in words:
        return least + words.index(text.upper())
    return int(text) if text.isascii() and text.isdecimal() else None
