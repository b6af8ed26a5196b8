from __future__ import annotations

import cv2
import numpy as np
import pytest

from kineflow.evaluation.attention.maps import SeenRegion, Watched
from kineflow.evaluation.attention.strips import (
    PICTURE_PX,
    PICTURES,
    TUBE,
    Drawn,
    attention_strip,
    light,
    pictured,
    strip,
)
from kineflow.evaluation.localisation import Tube
from kineflow.sets.clip_set import Clip
from kineflow.spec.split import Split
from kineflow.spec.status import Status

CLIP = Clip("v", "v.mp4", "run", "g", Split.TEST, 20, 25.0, 56, 56, 0, "", Status.OK, "", "v")


def decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)


def test_pictures_are_spread_from_the_first_frame_to_the_last() -> None:
    places = pictured(CLIP)
    assert (places[0], places[-1], len(places)) == (0, 19, PICTURES)
    assert pictured(CLIP, 40) == list(range(20))


def test_light_follows_attention() -> None:
    frames = np.full((1, 56, 84, 3), 200, np.uint8)
    attention = np.zeros((1, 7, 7), np.float32)
    attention[0, 2, 4], attention[0, 5, 5] = 0.5, 0.25
    lit = light(frames, attention, SeenRegion(14, 0, 56, 56))[0, ..., 0]
    row, column = (2 * 8 + 4, 5 * 8 + 4), (14 + 4 * 8 + 4, 14 + 5 * 8 + 4)  # the cells' middles
    assert lit[row[0], column[0]] == pytest.approx(200, abs=20)
    assert lit[row[1], column[1]] == pytest.approx(200 * (0.2 + 0.8 * 0.5), abs=12)
    assert lit[50, 20] == lit[5, 2] == 40  # no attention, and beyond what the model sees
    assert lit.max() <= 200


def test_boxes_are_drawn_on_their_frames() -> None:
    frames = np.zeros((2, 56, 56, 3), np.uint8)
    tube = Tube(np.array([0, 4]), np.array([[10.0, 10, 30, 40]] * 2))
    picture = decoded(strip(frames, [3, 4], [Drawn([tube], TUBE)]))
    assert picture.shape[:2] == (PICTURE_PX, 2 * PICTURE_PX + 2)
    without, with_box = picture[:, :PICTURE_PX], picture[:, PICTURE_PX + 2 :]
    assert without.max() < 20
    scale = PICTURE_PX // 56
    assert with_box[10 * scale + 1, 20 * scale] == pytest.approx(TUBE, abs=70)
    assert with_box[25 * scale, 20 * scale].max() < 60  # inside
    assert with_box[50 * scale, 50 * scale].max() < 20  # outside


def test_the_strip_of_a_model_has_the_maps_of_its_frames() -> None:
    attention = np.full((20, 1, 2), 1e-6, np.float32)
    attention[:10, 0, 0] = attention[10:, 0, 1] = 1
    watched = Watched(CLIP, attention, SeenRegion(0, 0, 56, 56), np.ones(1))
    picture = decoded(attention_strip(np.full((2, 56, 56, 3), 250, np.uint8), [0, 19], watched, []))[..., 0]
    left, right = picture[:, :PICTURE_PX], picture[:, PICTURE_PX + 2 :]
    assert left[50, 10] > 3 * left[50, 100]
    assert right[50, 100] > 3 * right[50, 10]
    whole = attention_strip(np.full((1, 56, 56, 3), 250, np.uint8), [10], watched, [], window_steps=19)
    first, second = decoded(whole)[50, [10, 100], 0]
    assert first == pytest.approx(second, rel=0.1)  # over all frames both sides have as much
