"""Film strips show the right frames in the right colours."""

import dataclasses

import cv2
import numpy as np

from kineflow.evaluation.report.strips import as_seen, example_clips, flow_strip, jpeg_strip, wheel_key
from kineflow.evaluation.results import Evaluated, Evaluation
from kineflow.evaluation.scores import Scores
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import write_flow
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.video.encode import write_video

RED, BLUE = (220, 20, 20), (20, 20, 220)


def decoded(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[..., [2, 1, 0]].astype(int)


def clip(frames):
    return Clip("v", "v.mp4", "a", "g", Split.TEST, frames, 25.0, 64, 32, 0, "0", Status.OK, "", "v")


def test_pictures_stand_side_by_side_at_their_proportions():
    frames = np.stack([np.full((32, 64, 3), colour, np.uint8) for colour in (RED, BLUE)])
    strip = decoded(jpeg_strip(frames, height=16))
    assert strip.shape == (16, 2 * 32 + 2, 3)
    assert np.abs(strip[8, 16] - RED).max() < 16
    assert np.abs(strip[8, 50] - BLUE).max() < 16


def evaluated(*, crop=None):
    seen = crop and Preprocessing("rgb", 4, 1, crop, crop, (0.0,) * 3, (1.0,) * 3)
    scores = Scores("m", ("v",), np.array([0]), ("a", "b"), np.zeros((1, 2), np.float32), "test")
    return Evaluation((Evaluated(scores, "rgb", 1, preprocessing=seen),), (), "m")


def shown(folder, frames, *, crop=None):
    levels = np.linspace(10, 250, frames)  # the last frame has no flow, and is not shown
    film = np.broadcast_to(levels[:, None, None, None], (frames, 32, 64, 3)).astype(np.uint8)
    write_video(folder / "v.mp4", film, fps=25)
    clip_set = ClipSet(("a", "b"), (clip(frames),), str(folder))
    (example,) = example_clips(evaluated(crop=crop), clip_set, None, 1)
    assert example.flow == ()
    return levels, [decoded(picture) for picture in example.frames]


def test_a_clip_is_shown_from_its_first_to_its_last_frame_with_flow(tmp_path):
    levels, pictures = shown(tmp_path, 7)
    assert np.allclose([picture.mean() for picture in pictures], levels[:6], atol=8)
    assert all(picture.shape[1] == 2 * picture.shape[0] for picture in pictures)


def test_a_short_clip_has_fewer_pictures_each_of_what_the_network_sees(tmp_path):
    _, pictures = shown(tmp_path, 3, crop=24)
    assert [picture.shape[:2] for picture in pictures] == [(24, 24)] * 2


def test_what_a_network_sees_is_the_middle_or_all_of_it():
    frames = np.zeros((1, 32, 64, 3), np.uint8)
    frames[:, :, :12] = 255
    crop = Preprocessing("rgb", 4, 1, 32, 32, (0.0,) * 3, (1.0,) * 3)
    assert as_seen(frames, crop).max() == 0
    assert as_seen(frames, dataclasses.replace(crop, fit="squash")).mean() > 40
    assert as_seen(frames, None) is frames


def test_opposite_motions_have_different_colours_and_stillness_has_none(tmp_path):
    levels = np.full((2, 32, 64, 2), 128, np.uint8)
    levels[0, :, :20, 0], levels[0, :, 44:, 0] = 178, 78
    write_flow(tmp_path / "v.mp4", levels)
    flow_set = FlowSet(20.0, {"v": FlowEntry("v", "v.mp4", 2, 64, 32, Status.OK, "")}, str(tmp_path))
    strip = decoded(flow_strip(flow_set, clip(3), pictures=2, height=32))
    left, middle, right = strip[16, 8], strip[16, 32], strip[16, 56]
    assert np.abs(left - right).max() > 80
    assert np.ptp(middle) < 40 < min(np.ptp(left), np.ptp(right))


def test_the_wheel_is_round_and_many_coloured():
    wheel = cv2.imdecode(np.frombuffer(wheel_key(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert wheel.shape[2] == 4
    assert (wheel[0, 0, 3], wheel[48, 48, 3]) == (0, 255)
    assert np.abs(wheel[48, 4, :3].astype(int) - wheel[48, 91, :3]).max() > 80
