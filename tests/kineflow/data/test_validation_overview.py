"""What the data page shows of the clips themselves."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from kineflow.data.validation.overview import overview_of
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.video.encode import write_video


@pytest.fixture(scope="module")
def clip_set(tmp_path_factory):
    """Dark clips that stand still, bright ones that flicker, and one that is not labelled."""
    folder, clips = tmp_path_factory.mktemp("clips"), []
    for number in range(6):
        bright = number % 2
        film = np.full((8, 32, 64, 3), 40 + 120 * bright, np.uint8)
        film[::2] += np.uint8(40 * bright)
        write_video(folder / f"c{number}.mp4", film, fps=10)
        label = ("dark", "bright")[bright] if number < 5 else None
        split = Split.UNLABELLED if label is None else (Split.TRAIN, Split.TEST)[number // 2 % 2]
        clips.append(Clip(f"c{number}", f"c{number}.mp4", label, "g", split, 8, 10.0, 64, 32, 0, "", Status.OK, "", ""))
    return ClipSet(("dark", "bright", "none"), tuple(clips), str(folder))


def test_distributions_and_pictures_are_those_of_the_clips(clip_set):
    found = overview_of(clip_set, most_looked_at=100)
    assert [each.name for each in found.distributions] == [
        "Length", "Frame rate", "Shorter side", "Brightness", "Motion",
    ]  # fmt: skip
    by_name = {each.name: each for each in found.distributions}
    assert all(sum(count for _, count, _ in each.bars) == 6 for each in found.distributions)
    assert by_name["Length"].median == pytest.approx(8 / 10)
    assert dict(by_name["Brightness"].by_class) == pytest.approx({"dark": 40, "bright": 180}, abs=4)
    assert by_name["Motion"].by_class[0][1] < 5 < 100 < by_name["Motion"].by_class[1][1]
    shown = {
        (each.label, split): [name for name, _ in clips] for each in found.thumbnails for split, clips in each.by_split
    }
    assert shown[("without a label", "unlabelled")] == ["c5"]
    assert sorted(shown[("dark", "train")] + shown[("dark", "test")]) == ["c0", "c2", "c4"]
    picture = found.thumbnails[0].by_split[0][1][0][1]
    assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape == (96, 192, 3)


def test_clips_that_are_not_there_leave_what_the_manifest_says(clip_set, tmp_path):
    found = overview_of(dataclasses.replace(clip_set, media_root=str(tmp_path)), most_looked_at=100)
    assert [each.name for each in found.distributions] == ["Length", "Frame rate", "Shorter side"]
    assert (found.looked_at, found.thumbnails) == (0, ())


def test_a_row_that_makes_no_sense_is_not_reckoned_with(clip_set):
    broken = dataclasses.replace(clip_set.clips[0], fps=0.0, frames="many")
    found = overview_of(dataclasses.replace(clip_set, clips=(broken,)), most_looked_at=0)
    assert found.distributions == ()
