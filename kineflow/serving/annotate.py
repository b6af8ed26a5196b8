"""A video with what happens in it written on its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kineflow.serving.timeline_segments import Labelled
from kineflow.video.encode import write_video
from kineflow.video.forward import TimedFrame, at_rate, stated_fps, timed_frames
from kineflow.video.opening import open_video

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LEAST_BAR_PX = 18
_BAR_SHARE = 0.08  # of the picture's height
_WRITING_SHARE = 0.5  # of the bar's height
_GLYPH_PX = 22  # height of a capital at scale 1
_SURE, _UNSURE = (255, 255, 255), (150, 150, 150)
_DARKENED = 0.35


def write_annotated(video: Path, output: Path, parts: Sequence[Labelled], threshold: float) -> None:
    """Write a video again, at its own rate and without its sound, with label and score in a bar at its foot.

    Args:
        video: A file.
        output: An mp4, whole or absent.
        parts: What is written from when to when, in order, see
            :func:`kineflow.serving.timeline_segments.answered_parts`.
        threshold: Least probability of what is written in white; what has less is grey.

    Raises:
        KineflowError: The video cannot be read, its pictures cannot be encoded, or the disk is full.
    """
    with open_video(video) as (container, stream):
        fps = stated_fps(stream)
        frames = at_rate(timed_frames(container, stream), fps, 1 / fps)
        write_video(output, _annotated(frames, parts, threshold), fps=fps, crf=23)


def _annotated(frames: Iterator[TimedFrame], parts: Sequence[Labelled], threshold: float) -> Iterator[np.ndarray]:
    place = 0
    for frame in frames:
        while place + 1 < len(parts) and parts[place].end_sec <= frame.sec:
            place += 1
        shown = parts[place] if parts and parts[place].start_sec <= frame.sec <= parts[place].end_sec else None
        yield annotate(frame.image, shown, threshold)


def annotate(image: NDArray[np.uint8], shown: Labelled | None, threshold: float) -> NDArray[np.uint8]:
    """A picture uint8 [H, W, 3], made even in height and width, with a line about it; None leaves the bar out."""
    height, width = (side - side % 2 for side in image.shape[:2])
    drawn = image[:height, :width].copy()
    if shown is None:
        return drawn
    bar = min(height, max(_LEAST_BAR_PX, round(_BAR_SHARE * height)))
    drawn[height - bar :] = (drawn[height - bar :] * _DARKENED).astype(np.uint8)
    text = f"{shown.label} {shown.score:.0%}".encode("ascii", "replace").decode()  # OpenCV's letters are no others
    scale = bar * _WRITING_SHARE / _GLYPH_PX
    (wide, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
    scale = min(scale, scale * (width - bar / 2) / max(1, wide))
    ink = _SURE if shown.score >= threshold else _UNSURE
    baseline = height - round(bar * (1 - _WRITING_SHARE) / 2)
    cv2.putText(drawn, text, (bar // 4, baseline), _FONT, scale, ink, max(1, round(scale)), cv2.LINE_AA)
    return drawn
