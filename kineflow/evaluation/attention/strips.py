"""Film strips of where a model looked: frames lit by its attention, with its tube and the true boxes drawn in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kineflow.evaluation.attention.maps import SeenRegion, Watched
from kineflow.evaluation.localisation import Tube, enlarge, smooth
from kineflow.evaluation.report.strips import jpeg_strip
from kineflow.sets.clip_set import Clip
from kineflow.spec.arrays import Floats, Pixels

TRUE, TUBE = (87, 199, 150), (255, 176, 32)  # RGB; both are told apart on dark and on light frames
PICTURES = 8
PICTURE_PX = 112

_STRENGTH = 0.8  # what attention decides of a pixel's brightness
_LINE_PX = 2


@dataclass(frozen=True)
class Drawn:
    """Boxes of one colour."""

    tubes: Sequence[Tube]
    colour: tuple[int, int, int]


def pictured(clip: Clip, pictures: int = PICTURES) -> list[int]:
    """The frames that a strip shows: evenly spaced, from the first to the last."""
    return [round(frame) for frame in np.linspace(0, clip.frames - 1, min(pictures, clip.frames))]


def strip(frames: Pixels, numbers: Sequence[int], drawn: Sequence[Drawn]) -> bytes:
    """Frames [M, H, W, 3] side by side as a JPEG, with the boxes of these frame ``numbers``."""
    scale = PICTURE_PX / frames.shape[1]
    return jpeg_strip(_with_boxes(_resized(frames, scale), numbers, drawn, scale), height=PICTURE_PX)


def attention_strip(
    frames: Pixels,
    numbers: Sequence[int],
    watched: Watched,
    drawn: Sequence[Drawn],
    *,
    window_steps: int = 1,
    sigma_px: float = 0.0,
) -> bytes:
    """As :func:`strip`, with each frame as bright as the model's attention, smoothed as for its tube."""
    attention = smooth(watched.attention, window_steps)[list(numbers)]
    return strip(light(frames, attention, watched.part, sigma_px=sigma_px), numbers, drawn)


def light(frames: Pixels, attention: Floats, part: SeenRegion, *, sigma_px: float = 0.0) -> Pixels:
    """Frames [M, H, W, 3] whose brightness follows attention [M, h, w] over ``part`` of them.

    A pixel keeps .2 of its brightness where there is no attention, and all of it where the frame has its most.
    """
    maps = enlarge(attention, height=part.height, width=part.width, sigma_px=sigma_px)
    shares = np.zeros(frames.shape[:3], np.float32)
    shares[:, part.top : part.top + part.height, part.left : part.left + part.width] = maps
    shares /= maps.max(axis=(1, 2), keepdims=True)
    return np.rint(frames * (1 - _STRENGTH + _STRENGTH * shares[..., None])).astype(np.uint8)


def _resized(frames: Pixels, scale: float) -> Pixels:
    import cv2

    height, width = (round(side * scale) for side in frames.shape[1:3])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.stack([cv2.resize(frame, (width, height), interpolation=method) for frame in frames])


def _with_boxes(frames: Pixels, numbers: Sequence[int], drawn: Sequence[Drawn], scale: float) -> Pixels:
    import cv2

    pictures = [np.ascontiguousarray(frame) for frame in frames]
    for picture, number in zip(pictures, numbers, strict=True):
        for one in drawn:
            for tube in one.tubes:
                for box in tube.boxes[tube.frames == number] * scale:
                    left, top, right, bottom = np.rint(box).astype(int).tolist()
                    cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), one.colour, _LINE_PX)
    return np.stack(pictures)
