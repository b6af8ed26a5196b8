"""YAML of plain values is read; what stands for something else, or for too much, is refused with its line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kineflow.storage.errors import KineflowError
from kineflow.storage.safe_yaml import read_safe_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12)
)


def read(folder: Path, text: str) -> object:
    (folder / "p.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    return read_safe_yaml(folder / "p.yaml")


def test_plain_values_anchors_and_merges(tmp_path: Path) -> None:
    text = "\ufeffboth: &both {a: 1, b: [x, 2.5, true, null]}\nmine:\n  <<: *both\n  a: 2\nday: '2024-01-01'\n"
    assert read(tmp_path, text) == {
        "both": {"a": 1, "b": ["x", 2.5, True, None]},
        "mine": {"a": 2, "b": ["x", 2.5, True, None]},
        "day": "2024-01-01",
    }
    assert read(tmp_path, "") is None


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (BOMB, 6, "aliases written out"),
        ("a: &a\n  - *a", 1, "holds itself"),
        ("x: 1\nseed: " + "9" * 5000, 2, "an integer of 5000 digits"),
        ("a: 0x" + "f" * 40, 1, "an integer"),
        ("a: " + "[" * 900, 1, "nested deeper than 50 levels"),
        ("a:\n" + "- " * 100_000, 2, "nested deeper"),
        ("seed: 2024-01-01", 1, "'2024-01-01' is a date"),
        ("at: 2001-12-14t21:59:43.10-05:00", 1, "is a date"),
        ("start: 1:30", 1, "'1:30' is a number of base 60"),
        ("a: 1\nb: 2\na: 3", 3, "the key 'a' is there twice"),
        ("a: !!python/object/apply:os.system [x]", 1, "tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
        ("a: !mine 1", 1, "tag '!mine'"),
        ("? [a]\n: 1", 1, "a key that is no plain text"),
        ("a: 'x", 1, "not readable as YAML"),
        ("a: 1\n---\nb: 2", 2, "another document"),
        ("a: \x01", None, "control characters"),
        ("a: \ud800", None, "utf-8"),
        ("# " + "x" * 5_000_000, None, "bytes of YAML"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_not_plain_is_refused_with_its_line(tmp_path: Path, text: str, line: int | None, message: str) -> None:
    before = time.process_time()
    with pytest.raises(KineflowError, match=message) as caught:
        read(tmp_path, text)
    assert str(caught.value.where) == str(tmp_path / "p.yaml") + ("" if line is None else f", line {line}")
    assert caught.value.remedy
    assert time.process_time() - before < 5
