"""Recordings by the names of their parts, and what is no part."""

from __future__ import annotations

import pytest

from kineflow.data.source_names import source_names


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a/ann_000123_000133.mp4", "ann"),
        ("ann-clip2.avi", "ann"),
        ("Ann (3).mp4", "ann"),
        ("b/ann.part03.mp4", "ann"),
        ("v_Archery_g01_c02.avi", "v_archery_g01"),
        ("ann.mp4", ""),
        ("(3).mp4", ""),
        ("clip2.mp4", ""),
    ],
)
def test_endings_that_are_parts(name: str, source: str) -> None:
    assert source_names([name]) == [source]


def test_a_file_called_as_a_recording_is_one_of_it() -> None:
    assert source_names(["x/ann-clip1.mp4", "y/ANN.mp4", "bob.mp4"]) == ["ann", "ann", ""]


def test_bare_numbers_are_parts_where_they_make_several_recordings() -> None:
    parts = [f"{who}_{number}.mp4" for who in ("ann", "bob", "cem", "dora", "eli") for number in (1, 2)]
    assert source_names(parts) == [name.split("_")[0] for name in parts]
    counted = [f"fight/fight_{number:03d}.mp4" for number in range(10)]
    assert source_names(counted) == [""] * 10


def test_a_file_called_as_its_class_tells_of_no_recording() -> None:
    classes = ("Hand-Wave", "run", "jump", "sit", "clap")
    stems = [name.lower().replace("-", "_") for name in classes]
    assert source_names([f"{stem}_{number:03d}.mp4" for stem in stems for number in range(4)], classes) == [""] * 20
    assert source_names([f"run/run_clip_{number}.mp4" for number in range(4)], classes) == [""] * 4
    parts = [f"{stem}_{take}_clip{part}.mp4" for stem in stems for take in (1, 2) for part in (1, 2)]
    assert source_names(parts, classes) == [name.partition("_clip")[0] for name in parts]
