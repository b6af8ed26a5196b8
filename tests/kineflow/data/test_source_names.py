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


@pytest.mark.parametrize(
    "pattern",
    ["my_clip_{:03d}", "video ({})", "IMG_{:04d}", "GOPR{:04d}", "my clip {}", "fight-s{}", "a.part{:02d}", "{:03d}",
     "cam_240101_{:06d}"],
)  # fmt: skip
@pytest.mark.parametrize("count", [5, 40, 300])
def test_files_that_are_counted_alike_are_no_parts_of_one_recording(pattern: str, count: int) -> None:
    names = [f"all/{pattern.format(120000 + n if '06d' in pattern else n)}.mp4" for n in range(1, count + 1)]
    assert source_names(names) == [""] * count


def test_a_count_of_the_clips_of_a_class_tells_of_no_recording() -> None:
    names = [f"fights/brawl ({n}).mp4" for n in range(30)] + [f"calm/street ({n}).mp4" for n in range(30)]
    assert source_names(names, ("fights", "calm")) == [""] * 60
    both = [*names, *(f"calm/brawl ({n}).mp4" for n in range(30, 33))]  # of a recording with scenes of both
    assert set(source_names(both, ("fights", "calm"))) == {"brawl", ""}
    folders_of_recordings = [f"{who}/{who}_clip{n}.mp4" for who in ("ann", "bob") for n in range(10)]
    assert set(source_names(folders_of_recordings, ("wave",))) == {"ann", "bob"}


@pytest.mark.parametrize("pattern", ["2024{0:02d}{1:02d}_12{2:02d}00", "VID_2024{0:02d}{1:02d}_{2}",
                                     "2024-{0:02d}-{1:02d} ({2})", "2024-{0:02d}-{1:02d} 12-{2:02d}-00"])  # fmt: skip
def test_a_date_is_no_recording(pattern: str) -> None:
    names = [f"{pattern.format(month, day, take)}.mp4" for month in (1, 2) for day in range(1, 9) for take in range(3)]
    assert source_names(names) == [""] * len(names)


def test_what_cameras_call_every_file_is_no_recording() -> None:
    names = [f"{camera}_{n:04d}.mp4" for camera in ("IMG", "DSC", "MOV", "MVI", "VID") for n in range(10)]
    assert source_names(names) == [""] * 50


def test_copies_of_one_moment_and_chapters_of_one_film_are_together() -> None:
    assert source_names(["20240101_120000(1).mp4", "20240101_120000.mp4", "20240102_120000.mp4"]) == [
        "20240101_120000", "20240101_120000", ""
    ]  # fmt: skip
    chapters = ["GX010042.MP4", "GX020042.MP4", "GOPR0001.MP4", "GP010001.MP4"]
    assert source_names(chapters) == ["gx0042", "gx0042", "gopr0001", "gopr0001"]
