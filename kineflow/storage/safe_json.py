"""JSON that nobody vouches for: bounded in size and depth, with numbers that every reader has room for."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

MAX_JSON_BYTES = 8 * 2**20
"""Names of ten thousand classes take less than one."""

_MOST_LETTERS = 20  # of an integer of 64 bits, with its sign


def read_json(path: Path, *, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """The value in a file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is larger than ``max_bytes``, or see :func:`parse_json`.
    """
    with path.open("rb") as stream:
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"larger than {max_bytes} bytes, which are read at most")
    return parse_json(content)


def parse_json(text: str | bytes) -> Any:
    """The value of a text in UTF-8.

    Raises:
        ValueError: It is no JSON; it is nested too deeply; a key is there twice; or a number is none, infinite, or an
            integer that does not fit into 64 bits.
    """
    try:
        return json.loads(
            text.decode("utf-8") if isinstance(text, bytes) else text,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_no_number,
            object_pairs_hook=_mapping,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _integer(digits: str) -> int:
    if len(digits) > _MOST_LETTERS or not -(2**63) <= (value := int(digits)) < 2**63:
        raise ValueError(f"an integer of {len(digits)} digits, which does not fit into 64 bits")
    return value


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:20]} is infinite")
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _mapping(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:60]!r} is there twice")
    return values
