"""Film strips: a few frames of a clip, or of its flow as colours, side by side in one small picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kineflow.evaluation.examples import pick_examples
from kineflow.evaluation.report.page import Example
from kineflow.evaluation.results import Evaluation
from kineflow.flow.flow_colours import flow_to_rgb
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import read_flow
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.arrays import Pixels
from kineflow.spec.quantise import dequantise
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames

_PICTURES = 8
_HEIGHT_PX = 96
_JPEG_QUALITY = 80
_GAP_PX = 2
_WHEEL_PX = 96
# Fastest motion that is still told apart, as a share of all pixels: one wild vector must not make the rest pale.
_FULL_COLOUR_QUANTILE = 0.99


def example_clips(evaluation: Evaluation, clip_set: ClipSet, flow_set: FlowSet | None, count: int) -> list[Example]:
    """Up to ``count`` clips of the evaluation as film strips, with their flow where there is some."""
    baseline = None
    if evaluation.baseline is not None and evaluation.baseline != evaluation.student:
        baseline = evaluation.scores_of(evaluation.baseline)
    student = evaluation.scores_of(evaluation.student)
    clips = {clip.clip_id: clip for clip in clip_set.clips}
    examples = []
    for pick in pick_examples(student, baseline, count):
        clip = clips[student.clip_ids[pick.index]]
        frames = clip_strip(clip_set, clip, pictures=_PICTURES, height=_HEIGHT_PX)
        flow = None
        if flow_set and _has_flow(flow_set, clip):
            flow = flow_strip(flow_set, clip, pictures=_PICTURES, height=_HEIGHT_PX)
        examples.append(Example(pick.index, pick.verdict, frames, flow))
    return examples


def clip_strip(clip_set: ClipSet, clip: Clip, *, pictures: int, height: int) -> bytes:
    """Frames of a clip, evenly spaced, as a JPEG ``height`` px high."""
    return jpeg_strip(read_frames(clip_set.locate(clip), _places(clip, pictures)), height=height)


def flow_strip(flow_set: FlowSet, clip: Clip, *, pictures: int, height: int) -> bytes:
    """Flow at the frames of :func:`clip_strip`, as colours (hue: direction; strength: speed within this clip)."""
    flow = read_flow(flow_set.locate(clip.clip_id), _places(clip, pictures))
    flow_px = dequantise(flow, flow_set.bound_px)  # [T, H, W, 2]
    speeds = np.linalg.norm(flow_px, axis=-1)
    fastest = max(float(np.quantile(speeds, _FULL_COLOUR_QUANTILE)), 1.0)
    return jpeg_strip(flow_to_rgb(flow_px, max_px=fastest), height=height)


def wheel_key() -> bytes:
    """The colours of all directions, slow inside and fast outside, as a PNG with transparent corners."""
    import cv2

    axis = np.linspace(-1, 1, _WHEEL_PX, dtype=np.float32)
    directions = np.stack(np.meshgrid(axis, axis), axis=-1)  # [H, W, 2], x to the right, y down
    inside = np.linalg.norm(directions, axis=-1) <= 1
    colours = flow_to_rgb(directions, max_px=1.0)
    alpha = np.where(inside, 255, 0).astype(np.uint8)
    return _encoded(".png", cv2.merge([*cv2.split(colours)[::-1], alpha]), [])


def jpeg_strip(frames: Pixels, *, height: int) -> bytes:
    """uint8 RGB ``[T, H, W, 3]`` side by side as one JPEG ``height`` px high."""
    import cv2

    width = max(1, round(frames.shape[2] * height / frames.shape[1]))
    method = cv2.INTER_AREA if height < frames.shape[1] else cv2.INTER_NEAREST
    small = [cv2.resize(np.ascontiguousarray(frame), (width, height), interpolation=method) for frame in frames]
    gap = np.full((height, _GAP_PX, 3), 128, np.uint8)
    parts = [part for frame in small for part in (frame, gap)][:-1]
    bgr = np.ascontiguousarray(np.concatenate(parts, axis=1)[..., ::-1])
    return _encoded(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])


def _has_flow(flow_set: FlowSet, clip: Clip) -> bool:
    entry = flow_set.entries.get(clip.clip_id)
    return entry is not None and entry.status is Status.OK


def _places(clip: Clip, pictures: int) -> list[int]:
    """Evenly spaced frames that all have flow: the last frame has none."""
    last = max(0, clip.frames - 2)
    return [round(frame) for frame in np.linspace(0, last, min(pictures, last + 1))]


def _encoded(suffix: str, image: Any, options: list[int]) -> bytes:
    import cv2

    done, data = cv2.imencode(suffix, image, options)
    if not done:
        raise KineflowError(f"a picture of shape {image.shape} could not be written as {suffix}", where=Path(suffix))
    return data.tobytes()
