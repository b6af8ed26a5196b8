"""JSON is read as Python reads it, but for what no reader of ours has room for."""

from __future__ import annotations

from pathlib import Path

import pytest

from kineflow.storage.safe_json import parse_json, read_json


def test_plain_json() -> None:
    assert parse_json(b'{"a": [1, -2.5e3, "\xc3\xa9", null, true, -9223372036854775808]}') == {
        "a": [1, -2500.0, "é", None, True, -(2**63)]
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "an integer of 5000 digits"),
        (f"[{2**63}]", "does not fit into 64 bits"),
        ("[NaN]", "NaN is no number"),
        ("[1e999]", "infinite"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' is there twice"),
        ("{", "Expecting"),
        (b"\xff", "utf-8"),
    ],
    ids=lambda value: str(value)[:10],
)
def test_what_no_reader_has_room_for(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "f").write_text('"' + "x" * 100 + '"')
    assert read_json(tmp_path / "f") == "x" * 100
    with pytest.raises(ValueError, match="larger than 50 bytes"):
        read_json(tmp_path / "f", max_bytes=50)
