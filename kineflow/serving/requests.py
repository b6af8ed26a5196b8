"""What a request over HTTP asks for: the forms of MLflow's scoring protocol, read as what nobody vouches for.

::

    {"dataframe_records": [{"video": "AAAA…"}, …]}             a row a video
    {"dataframe_split": {"columns": ["video"], "data": [["AAAA…"], …]}}
    {"instances": [{"video": "AAAA…"}, …]}                     or ["AAAA…", …]
    {"inputs": {"video": ["AAAA…", …]}}                        or one text, or any form of instances
    … and {"params": {"topk": 3}} beside any of them

A video is base64 text; ``{"b64": "AAAA…"}`` stands for it too, as TensorFlow Serving has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kineflow.storage.errors import KineflowError
from kineflow.storage.safe_json import parse_json

FORMS = ("dataframe_records", "dataframe_split", "instances", "inputs")

_VIDEO, _BASE64 = "video", "b64"
_LONGEST_MESSAGE = 400


class Request(NamedTuple):
    """What is asked.

    Attributes:
        videos: Base64 texts, not yet looked at.
        params: What stands under ``params``.
    """

    videos: list[str]
    params: dict[str, Any]


def read_request(body: str | bytes) -> Request:
    """Take a request apart.

    Raises:
        KineflowError: It is no JSON, or has none of the forms. No part of the request is repeated.
    """
    try:
        content = parse_json(body)
    except ValueError:  # its message may hold a piece of the body
        raise KineflowError("the body is no JSON, or nested too deeply") from None
    if not isinstance(content, Mapping):
        raise KineflowError("a JSON object is expected")
    given = [form for form in FORMS if form in content]
    if len(given) != 1:
        raise KineflowError(f"one of {', '.join(FORMS)} is expected, and {len(given)} are there")
    params = content.get("params") or {}
    if not isinstance(params, Mapping):
        raise KineflowError("params is no JSON object")
    return Request(_videos(given[0], content[given[0]]), dict(params))


def bounded_message(message: str) -> str:
    """A message as it may be sent: of one line, and not for ever."""
    line = " ".join(message.split())
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]}…"


def _videos(form: str, given: Any) -> list[str]:
    if form == "dataframe_split":
        given = _rows_of_split(given)
    if form == "inputs" and isinstance(given, str):
        given = [given]
    if form == "inputs" and isinstance(given, Mapping):
        column = given.get(_VIDEO, given if _BASE64 in given else None)
        given = column if isinstance(column, list) else [column]
    if not isinstance(given, list):
        raise KineflowError(f"{form} is no list")
    return [_text(number, each) for number, each in enumerate(given)]


def _rows_of_split(given: Any) -> Any:
    columns = given.get("columns") if isinstance(given, Mapping) else None
    rows = given.get("data") if isinstance(given, Mapping) else None
    if not isinstance(columns, list) or not isinstance(rows, list) or columns.count(_VIDEO) != 1:
        raise KineflowError("dataframe_split has columns, one of them 'video', and data")
    place = columns.index(_VIDEO)
    if any(not isinstance(row, list) or len(row) != len(columns) for row in rows):
        raise KineflowError("dataframe_split has a row that is not as long as its columns")
    return [row[place] for row in rows]


def _text(number: int, given: Any) -> str:
    for key in (_VIDEO, _BASE64):
        if isinstance(given, Mapping) and key in given:
            given = given[key]
    if isinstance(given, list) and len(given) == 1:  # a row of one column
        [given] = given
    if not isinstance(given, str):
        raise KineflowError(f"video {number}: base64 text is expected, or an object with a key 'video' that has it")
    return given
