from __future__ import annotations

import numpy as np

from kineflow.synth.boxes import box_of_mask, track_of_masks


def test_the_box_is_around_the_largest_piece() -> None:
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:8] = True
    mask[9, 11] = mask[0, 0] = True  # what has wrapped around
    box = box_of_mask(mask)
    assert box is not None
    assert box.tolist() == [3, 2, 8, 5]
    assert box_of_mask(np.zeros((4, 4), bool)) is None


def test_frames_without_the_actor_have_no_box() -> None:
    masks = np.zeros((3, 8, 6), bool)
    masks[0, 1:3, 1:4] = masks[2, 4:8, 0:2] = True
    track = track_of_masks(masks, clip="v", label="jump")
    assert track.frames.tolist() == [0, 2]
    assert track.boxes.tolist() == [[1, 1, 4, 3], [0, 4, 2, 8]]
    assert (track.width, track.height) == (6, 8)
    assert track_of_masks(masks[1:2], clip="v", label="jump").boxes.shape == (0, 4)
