"""Film strips show the right frames in the right colours."""

import cv2
import numpy as np

from kineflow.evaluation.report.strips import clip_strip, flow_strip, jpeg_strip, wheel_key
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import write_flow
from kineflow.sets.flow_set import FlowEntry, FlowSet
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


def test_a_clip_is_shown_from_its_first_to_its_last_frame_with_flow(tmp_path):
    levels = np.array([10, 60, 110, 160, 250])  # the last frame has no flow, and is not shown
    frames = np.broadcast_to(levels[:, None, None, None], (5, 32, 64, 3)).astype(np.uint8)
    write_video(tmp_path / "v.mp4", frames, fps=25)
    strip = decoded(clip_strip(ClipSet(("a",), (clip(5),), str(tmp_path)), clip(5), pictures=4, height=32))
    assert strip.shape[:2] == (32, 4 * 64 + 3 * 2)
    assert np.allclose([strip[16, 32 + 66 * i].mean() for i in range(4)], levels[:4], atol=8)


def test_a_short_clip_has_fewer_pictures(tmp_path):
    write_video(tmp_path / "v.mp4", np.full((3, 32, 64, 3), 90, np.uint8), fps=25)
    strip = clip_strip(ClipSet(("a",), (clip(3),), str(tmp_path)), clip(3), pictures=8, height=32)
    assert decoded(strip).shape[1] == 2 * 64 + 2


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
