"""Pictures of clips: a few frames as a network sees them, and their flow as colours; film strips in one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kineflow.data.transforms import View, apply_view, centre_view, resize_short_side
from kineflow.evaluation.examples import pick_examples
from kineflow.evaluation.report.page import Example
from kineflow.evaluation.results import Evaluation
from kineflow.flow.flow_colours import flow_to_rgb
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import read_flow
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.arrays import Pixels
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.quantise import dequantise
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames

_PICTURES = 6
_HEIGHT_PX = 176  # of a whole frame, where no network says what it sees of it
_JPEG_QUALITY = 80
_GAP_PX = 2
_WHEEL_PX = 96
# Fastest motion that is still told apart, as a share of all pixels: one wild vector must not make the rest pale.
_FULL_COLOUR_QUANTILE = 0.99


def example_clips(evaluation: Evaluation, clip_set: ClipSet, flow_set: FlowSet | None, count: int) -> list[Example]:
    """Up to ``count`` clips of the evaluation as the student sees them, with their flow where there is some."""
    baseline = None
    if evaluation.baseline is not None and evaluation.baseline != evaluation.student:
        baseline = evaluation.scores_of(evaluation.baseline)
    student = evaluation.scores_of(evaluation.student)
    seen = next(model.preprocessing for model in evaluation.models if model.name == evaluation.student)
    clips = {clip.clip_id: clip for clip in clip_set.clips}
    examples = []
    for pick in pick_examples(student, baseline, count):
        clip = clips[student.clip_ids[pick.index]]
        frames = _pictures(read_frames(clip_set.locate(clip), _places(clip, _PICTURES)), seen)
        flow: tuple[bytes, ...] = ()
        if flow_set and _has_flow(flow_set, clip):
            flow = _pictures(flow_colours(flow_set, clip, pictures=_PICTURES), seen)
        examples.append(Example(pick.index, pick.verdict, frames, flow))
    return examples


def as_seen(frames: Pixels, seen: Preprocessing | None) -> Pixels:
    """The part of uint8 frames ``[T, H, W, 3]`` that a network sees when it is tested with one crop, at its size.

    That is the square in the middle, or the whole frame squeezed; all of them as they are where ``seen`` is None.
    """
    if seen is None:
        return frames
    if seen.fit == "squash":
        return apply_view(frames, View(0, 0, seen.crop, squash=True))
    resized = resize_short_side(frames, seen.short_side)
    height, width = resized.shape[1:3]
    return apply_view(resized, centre_view(height, width, seen.crop))


def _pictures(frames: Pixels, seen: Preprocessing | None) -> tuple[bytes, ...]:
    """JPEGs of frames as a network sees them."""
    cut = as_seen(frames, seen)
    height = cut.shape[1] if seen else _HEIGHT_PX
    return tuple(jpeg_strip(cut[place : place + 1], height=height) for place in range(len(cut)))


def flow_strip(flow_set: FlowSet, clip: Clip, *, pictures: int, height: int) -> bytes:
    """:func:`flow_colours` as one JPEG ``height`` px high."""
    return jpeg_strip(flow_colours(flow_set, clip, pictures=pictures), height=height)


def flow_colours(flow_set: FlowSet, clip: Clip, *, pictures: int) -> Pixels:
    """Flow at evenly spaced frames, as colours (hue: direction; strength: speed within this clip)."""
    flow = read_flow(flow_set.locate(clip.clip_id), _places(clip, pictures))
    flow_px = dequantise(flow, flow_set.bound_px)  # [T, H, W, 2]
    speeds = np.linalg.norm(flow_px, axis=-1)
    fastest = max(float(np.quantile(speeds, _FULL_COLOUR_QUANTILE)), 1.0)
    colours: Pixels = flow_to_rgb(flow_px, max_px=fastest)
    return colours


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
