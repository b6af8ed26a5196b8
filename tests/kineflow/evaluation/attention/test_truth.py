from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from kineflow.data.boxes import Track
from kineflow.evaluation.attention.settings import LocaliseSettings
from kineflow.evaluation.attention.truth import clips_and_truth
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.synth.boxes import box_of_mask
from kineflow.synth.dataset import truth_path
from kineflow.synth.truth import Truth, save_truth
from tests.boxes_file import write_boxes


def clip_of(name: str, split: Split = Split.TEST) -> Clip:
    return Clip(name, f"{name}.mp4", "run", "g", split, 3, 25.0, 8, 6, 0, name, Status.OK, "", f"videos/{name}.mp4")


CLIPS = ClipSet(("run",), (clip_of("u"), clip_of("v"), clip_of("w", Split.TRAIN)), "")


def boxes(folder: Path, *tracks: Track) -> LocaliseSettings:
    write_boxes(folder / "boxes.csv", tracks)
    return LocaliseSettings(boxes=str(folder / "boxes.csv"))


def track(clip: str, box: list[float], *frames: int, actor: str = "") -> Track:
    return Track(clip, "run", np.array(frames), np.array([box] * len(frames)), width=16, height=12, actor=actor)


def test_without_truth_every_clip_of_the_split_is_looked_at() -> None:
    clips, truth_of = clips_and_truth(CLIPS, LocaliseSettings())
    assert [clip.clip_id for clip in clips] == ["u", "v"]
    assert truth_of is None
    with pytest.raises(KineflowError, match="no usable clip in the split 'val'"):
        clips_and_truth(CLIPS, LocaliseSettings(split="val"))


def test_boxes_are_scaled_to_the_stored_clip(tmp_path: Path) -> None:
    clips, truth_of = clips_and_truth(CLIPS, boxes(tmp_path, track("v", [2, 4, 10, 10], 0, 2)))
    assert [clip.clip_id for clip in clips] == ["v"]  # the others have no boxes
    assert truth_of is not None
    truth = truth_of(clips[0])
    (tube,) = truth.tubes
    assert (tube.video, tube.label, tube.tube.frames.tolist()) == ("v", "run", [0, 2])
    assert tube.tube.boxes.tolist() == [[1, 2, 5, 5]] * 2
    expected = np.zeros((3, 6, 8), bool)
    expected[[0, 2], 2:5, 1:5] = True
    np.testing.assert_array_equal(truth.region, expected)


def test_actors_of_a_clip_are_a_tube_each(tmp_path: Path) -> None:
    both = boxes(tmp_path, track("v", [0, 0, 2, 2], 0, actor="1"), track("v", [14, 10, 16, 12], 0, actor="2"))
    clips, truth_of = clips_and_truth(CLIPS, both)
    assert truth_of is not None
    truth = truth_of(clips[0])
    assert [tube.tube.boxes.tolist() for tube in truth.tubes] == [[[0, 0, 1, 1]], [[7, 5, 8, 6]]]
    assert np.argwhere(truth.region[0]).tolist() == [[0, 0], [5, 7]]


def test_a_box_of_less_than_a_pixel_is_a_pixel(tmp_path: Path) -> None:
    clips, truth_of = clips_and_truth(CLIPS, boxes(tmp_path, track("v", [15.6, 11.7, 16, 12], 1)))
    assert truth_of is not None
    assert np.argwhere(truth_of(clips[0]).region).tolist() == [[1, 5, 7]]


def test_boxes_of_other_clips_and_of_frames_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match=r"none of the 2 clips .* such as 'x', the clip set such as 'u'"):
        clips_and_truth(CLIPS, boxes(tmp_path, track("x", [0, 0, 2, 2], 0)))
    clips, truth_of = clips_and_truth(CLIPS, boxes(tmp_path, track("v", [0, 0, 2, 2], 3)))
    assert truth_of is not None
    with pytest.raises(KineflowError, match="a box in frame 3 of clip 'v', which has 3 frames"):
        truth_of(clips[0])


def test_synthetic_truth_is_the_mask(tmp_path: Path) -> None:
    mask = np.zeros((3, 6, 8), bool)
    mask[:, 1:4, 2:5] = mask[1, 5, 7] = True
    poses = np.zeros((3, 2, 3))
    save_truth(Truth(poses, poses, mask), truth_path(tmp_path, "videos/v.mp4"))
    clips, truth_of = clips_and_truth(CLIPS, LocaliseSettings(synthetic=str(tmp_path)))
    assert truth_of is not None
    truth = truth_of(clips[1])
    np.testing.assert_array_equal(truth.region, mask)  # the piece at the edge counts
    assert box_of_mask(mask[1]) is not None
    assert truth.tubes[0].tube.boxes.tolist() == [[2, 1, 5, 4]] * 3  # and is not in the box
    with pytest.raises(KineflowError, match="truth of 3 frames, and clip 'v' has 4"):
        truth_of(dataclasses.replace(clips[1], frames=4))
    with pytest.raises(KineflowError, match="no readable truth"):
        truth_of(clips[0])


def test_settings_that_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="two sources of the same"):
        LocaliseSettings(boxes="a", synthetic="b")
    with pytest.raises(ValueError, match="window_steps must be odd, not 4"):
        LocaliseSettings(window_steps=4)
