"""Masks of people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kineflow.flow.person_detector import detect_people
from kineflow.video.decode import read_frames


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (40, 30), (63, 129), (240, 320), (240, 320, 3)])
def test_nobody_in_an_empty_picture(size: tuple[int, ...]) -> None:
    mask = detect_people(np.full(size, 90, np.uint8))
    assert mask.shape == size[:2]
    assert mask.dtype == bool
    assert not mask.any()


def test_a_juggler_is_found_in_colour_and_in_grey(shared_data: Path) -> None:
    clip = shared_data / "clips" / "v_SoccerJuggling_g24_c01.avi"
    frame = read_frames(clip, [20])[0]
    for picture in (frame, frame.mean(-1).astype(np.uint8)):
        mask = detect_people(picture)
        assert mask[60:190, 70:105].mean() > 0.9  # he stands here
        assert mask.mean() < 0.35
        assert not mask[:, 160:].any()
        assert np.array_equal(mask, detect_people(picture))
