"""Lists that are JSON: an array of objects, read whole, each with the place to name in a message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kineflow.data.layouts.rows import Lists
from kineflow.data.source import read_text
from kineflow.storage.errors import KineflowError
from kineflow.storage.names import shown
from kineflow.storage.safe_json import parse_json


def json_of(lists: Lists, name: str) -> Any:
    """The value in a list file.

    Raises:
        KineflowError: It is missing, too large, or no JSON.
    """
    try:
        return parse_json(read_text(lists.source, name))
    except ValueError as error:
        raise KineflowError(
            f"no readable JSON: {error}", where=f"{lists.source.root}/{name}", remedy="export or download it again"
        ) from None


def rows_of(lists: Lists, name: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The objects of an array, and the place of each, counted from 1.

    Raises:
        KineflowError: As :func:`json_of`; or it is no array, or something in it is no object.
    """
    path, content = f"{lists.source.root}/{name}", json_of(lists, name)
    if not isinstance(content, list):
        raise KineflowError("a JSON array is expected", where=path, remedy="name the list that is meant")
    for number, row in enumerate(content, 1):
        where = f"{path}, entry {number}"
        if not isinstance(row, Mapping):
            raise KineflowError(
                f"a JSON object is expected, not {shown(str(row))}", where=where, remedy="correct or remove it"
            )
        yield row, where


def text_of(row: Mapping[str, Any], key: str, *, where: str) -> str:
    """A text of a row, or a whole number as one; empty where the key is absent or null.

    Raises:
        KineflowError: It is something else.
    """
    value = row.get(key)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise KineflowError(f"{key} is no text: {shown(str(value))}", where=where, remedy="correct or remove the entry")
    return str(value).strip()
