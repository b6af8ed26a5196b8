"""The clips that docs/tutorial.md is followed with: more people later must leave the first ones' clips alone."""

from __future__ import annotations

import importlib.util
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "gestures.py"


def test_more_people_are_more_clips_beside_the_same_ones(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("gestures", EXAMPLE)
    assert spec
    assert spec.loader
    gestures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gestures)
    assert gestures.make_gestures(tmp_path, 3, size_px=32, frames=4) == 18
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.mp4")}
    gestures.make_gestures(tmp_path, 4, size_px=32, frames=4)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*.mp4")}
    assert (len(before), len(after)) == (18, 24)
    assert {path: after[path] for path in before} == before
