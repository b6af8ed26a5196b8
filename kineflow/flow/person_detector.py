"""Where people are, so that their motion is not taken for the camera's (HOG: Dalal and Triggs, CVPR 2005).

The detector knows upright, whole people and misses many others; a camera is found without it too, as long as
background makes up most of what moves alike. Masks from a better detector go the same way.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

_WINDOW_PX = (64, 128)  # width and height of what the detector was trained on
_SHORT_SIDE_PX = 360  # smaller frames are enlarged: people down to about a quarter of the height are then seen
_MOST_ENLARGED = 2.0
_STRIDE_PX = (8, 8)


def detect_people(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Boxes around the people in a frame.

    Args:
        frame: uint8, grey [H, W] or RGB [H, W, 3].

    Returns:
        bool [H, W], true inside the boxes.
    """
    height, width = frame.shape[:2]
    mask = np.zeros((height, width), bool)
    scale = min(max(1.0, _SHORT_SIDE_PX / min(height, width)), _MOST_ENLARGED)
    enlarged = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    if enlarged.shape[1] < _WINDOW_PX[0] or enlarged.shape[0] < _WINDOW_PX[1]:
        return mask
    detector = cv2.HOGDescriptor()
    detector.setSVMDetector(np.array(cv2.HOGDescriptor.getDefaultPeopleDetector()))
    boxes, _ = detector.detectMultiScale(enlarged, winStride=_STRIDE_PX)
    for left, top, box_width, box_height in np.asarray(boxes).reshape(-1, 4) / scale:
        rows = slice(max(0, int(top)), int(np.ceil(top + box_height)))
        columns = slice(max(0, int(left)), int(np.ceil(left + box_width)))
        mask[rows, columns] = True
    return mask
