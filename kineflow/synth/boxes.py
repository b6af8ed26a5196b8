"""True boxes of synthetic clips, derived from the masks of their truth.

An actor that leaves on the right enters on the left, so that a frame may show it in up to four pieces at its edges. No
rectangle of less than the whole frame holds them all; the box is that of the largest piece, as somebody who marks
frames by hand would draw it. The mask counts all pieces.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kineflow.data.boxes import Track


def box_of_mask(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64] | None:
    """Box around the largest connected piece of [H, W], float64 [4]; None where nothing is."""
    import cv2

    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if len(stats) < 2:  # the background alone
        return None
    left, top, wide, high = stats[1:, :4][stats[1:, cv2.CC_STAT_AREA].argmax()].astype(np.float64)
    return np.array([left, top, left + wide, top + high])


def track_of_masks(masks: npt.NDArray[np.bool_], *, clip: str, label: str) -> Track:
    """The actor's boxes in all frames of [T, H, W] in which it is seen."""
    boxes = {frame: box for frame, mask in enumerate(masks) if (box := box_of_mask(mask)) is not None}
    stacked = np.array(list(boxes.values())).reshape(-1, 4)
    height, width = masks.shape[1:]
    return Track(clip, label, np.array(list(boxes), np.int64), stacked, width, height)
