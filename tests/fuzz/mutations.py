"""Strategies: bytes that were good once, and values that nobody expects."""

from __future__ import annotations

import copy
import math
from typing import Any

from hypothesis import strategies as st

_NUMBERS = (0, 1, 2, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed with up to eight changes: bytes, numbers of any width, parts that are cut, doubled, moved or added."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 8))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.integers(1, 64))
        match draw(st.sampled_from(("byte", "bit", "number", "cut", "double", "insert", "truncate", "move"))):
            case "byte":
                content[place : place + 1] = bytes([draw(st.integers(0, 255))])
            case "bit":
                if content:
                    content[place] ^= 1 << draw(st.integers(0, 7))
            case "number":
                width = draw(st.sampled_from((1, 2, 4, 8)))
                number = draw(st.sampled_from(_NUMBERS)) % 256**width
                content[place : place + width] = number.to_bytes(width, draw(st.sampled_from(("little", "big"))))
            case "cut":
                del content[place : place + length]
            case "double":
                content[place:place] = content[place : place + length] * draw(st.integers(1, 4))
            case "insert":
                content[place:place] = draw(st.binary(max_size=64))
            case "truncate":
                if draw(st.booleans()):
                    del content[place:]
            case "move":
                to = draw(st.integers(0, max(0, len(content) - 1)))
                content[to : to + length] = content[place : place + length]
    return bytes(content)


hostile_scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, -1, 1, 2**31, 2**63, 10**18, 10**30, 10**400]),
    st.sampled_from([1e308, -1e308, 1e-308, math.inf, -math.inf, math.nan]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["", ".", "..", "/", "../../etc/passwd", "\0", "a" * 5000, "s3://b/k", "https://u:p@h/", "é́"]),
)  # fmt: skip
hostile_values: st.SearchStrategy[Any] = st.recursive(
    hostile_scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


@st.composite
def with_hostile_values(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value in which some places, at any depth, hold something else, are missing, repeated or new."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    changes = {draw(st.sampled_from(places)): draw(hostile_values) for _ in range(draw(st.integers(1, 4)))}
    is_long = False
    for place, new in changes.items():
        if not place:
            return new
        holder = value
        try:
            for step in place[:-1]:
                holder = holder[step]
            match draw(st.sampled_from(("replace", "replace", "remove", "repeat"))):
                case "replace":
                    holder[place[-1]] = new
                case "remove":
                    del holder[place[-1]]
                case "repeat" if not is_long:  # of a repeated part again it would take hours to write them down
                    is_long = True
                    count = draw(st.sampled_from((2, 1000, 30_000)))
                    holder[place[-1]] = [holder[place[-1]]] * count
        except (KeyError, IndexError, TypeError):  # an earlier change has taken it away
            continue
    return value


def _places(value: Any, place: tuple[Any, ...] = ()) -> Any:
    yield place
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in pairs:
        yield from _places(below, (*place, key))
