"""A video to look at: frame | flow | warped flow, both flows by the colour wheel and on one scale.

Two passes over the clip, each holding a few frames only: the first counts the frames and fixes the scale on pairs from
all over the clip, the second computes every pair, draws it and encodes it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch

from kineflow.flow.camera import Camera
from kineflow.flow.flow_colours import flow_to_rgb
from kineflow.flow.panels import Image, captioned, side_by_side
from kineflow.flow.person_detector import detect_people
from kineflow.flow.tvl1 import check_solver, tvl1_flow
from kineflow.flow.warped import warped_flow
from kineflow.spec.tvl1 import SolverChoice, TVL1Params
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import Media
from kineflow.storage.progress import track
from kineflow.video.decode import iter_frames, read_video
from kineflow.video.encode import write_video

Pair = tuple[Image, Image]

_USUAL_FPS = 25.0
_BATCH_PIXELS = 1 << 20  # of the pairs computed together: 12 of 340×256
_SURVEYED_PAIRS = 8
_FULL_COLOUR_QUANTILE = 0.99  # the fastest hundredth of all pixels would leave the rest pale
_LEAST_FULL_COLOUR_PX = 1.0  # or the noise of a clip that stands still would be painted in full colour

_LONGEST_SIDE_PX = 640  # larger frames are scaled down, to be computed and to be shown
_OUTLINE = (255, 210, 0)
_CRF = 18


@dataclass(frozen=True, kw_only=True)
class PreviewSettings:
    """What to show.

    Attributes:
        params: Of TV-L1.
        warped: Whether to show the warped flow too.
        people: Whether to look for people and to leave their motion out of the camera's; they are outlined.
        max_px: Speed of full colour; by default one that 99 % of the pixels stay below.
        seconds: Length shown, from the start of the clip; None shows all of it.
        device: Where TV-L1 computes.
        solver: Of TV-L1, see :func:`kineflow.flow.tvl1.tvl1_flow`.
    """

    params: TVL1Params
    warped: bool = True
    people: bool = False
    max_px: float | None = None
    seconds: float | None = None
    device: str = "cpu"
    solver: SolverChoice = "auto"

    def __post_init__(self) -> None:
        for name, value in (("max_px", self.max_px), ("seconds", self.seconds)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise KineflowError(f"{name} is {value:g}", remedy="give it a value above 0, or leave it out")


@dataclass(frozen=True)
class Previewed:
    """What :func:`preview` has written.

    Attributes:
        pairs: Frames of the preview: one for each pair of neighbouring frames of the clip.
        max_px: Speed of full colour, pixels a frame.
        width, height: Of the frames as they were computed; the clip's own, unless those are large.
    """

    pairs: int
    max_px: float
    width: int
    height: int


def preview(clip: Media, out: Path, settings: PreviewSettings) -> Previewed:
    """Write ``out``, an H.264 mp4 that shows each frame of ``clip`` beside the flow to the next one.

    Flow is computed on the grey of the decoded colours. Frames with a side above 640 px are scaled down first, and
    speeds are then in pixels of the smaller frame.

    Raises:
        KineflowError: The clip is unreadable or has one frame, the device is not there, the solver cannot run
            on it, or the disk is full.
    """
    _check_device(settings.device)
    check_solver(settings.solver, settings.params, settings.device)
    fps = read_video(clip, [0]).fps or _USUAL_FPS
    stop = None if settings.seconds is None else max(2, round(settings.seconds * fps) + 1)
    survey = _survey(clip, stop)
    if survey.frames < 2:
        raise KineflowError("one frame has no flow to show", where=str(clip), remedy="choose a longer clip")
    height, width = survey.pairs[0][0].shape[:2]
    max_px = settings.max_px or _full_colour(survey.pairs, settings)
    pairs = survey.frames - 1
    views = track(_views(clip, stop, settings), total=pairs, what="flow preview", unit="pair")
    write_video(out, (_drawn(view, survey.frames, max_px) for view in views), fps=fps, crf=_CRF)
    return Previewed(pairs, max_px, width, height)


def _check_device(name: str) -> None:
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):  # torch built without CUDA asserts
        raise KineflowError(f"there is no device {name!r}", remedy="use 'cpu'") from None


@dataclass(frozen=True)
class _Survey:
    frames: int
    pairs: list[Pair]  # evenly spread over the clip


def _survey(clip: Media, stop: int | None) -> _Survey:
    """Read the clip once. Its length is not known before, so the pairs kept are thinned out as it goes on."""
    frames, every, before = 0, 1, None
    kept: dict[int, Pair] = {}
    for frame in iter_frames(clip, stop=stop):
        after = _bounded(frame)
        if before is not None and (frames - 1) % every == 0:
            kept[frames - 1] = before, after
        if len(kept) >= 2 * _SURVEYED_PAIRS:
            every *= 2
            kept = {number: pair for number, pair in kept.items() if number % every == 0}
        before = after
        frames += 1
    return _Survey(frames, list(kept.values()))


class _Steady(NamedTuple):
    warped: npt.NDArray[np.float32]  # [2, H, W]
    camera: Camera


@dataclass(frozen=True)
class _View:
    """One frame of the preview, before it is drawn."""

    number: int
    frame: Image
    flow: npt.NDArray[np.float32]  # [2, H, W]
    steady: _Steady | None
    people: npt.NDArray[np.bool_] | None


def _views(clip: Media, stop: int | None, settings: PreviewSettings) -> Iterator[_View]:
    """Compute the clip a batch at a time."""
    pairs = itertools.pairwise(_bounded(frame) for frame in iter_frames(clip, stop=stop))
    number = 1
    while batch := list(itertools.islice(pairs, 1)):
        height, width = batch[0][0].shape[:2]
        batch += itertools.islice(pairs, max(0, _BATCH_PIXELS // (height * width) - 1))
        yield from _computed([first for first, _ in batch], batch[-1][1], number, settings)
        number += len(batch)


def _computed(frames: list[Image], last: Image, number: int, settings: PreviewSettings) -> Iterator[_View]:
    """Views of neighbouring frames; ``last`` follows them and is only looked at."""
    grey = torch.from_numpy(np.stack([_grey(frame) for frame in (*frames, last)]))
    people = np.stack([detect_people(frame) for frame in frames]) if settings.people else None
    params, device, solver = settings.params, settings.device, settings.solver
    if settings.warped:
        masks = None if people is None else torch.from_numpy(people)
        flow, warped, cameras = warped_flow(grey[:-1], grey[1:], params, device=device, people=masks, solver=solver)
    else:
        flow = tvl1_flow(grey[:-1], grey[1:], params, device=device, solver=solver)
    for n, frame in enumerate(frames):
        steady = _Steady(warped[n].cpu().numpy(), cameras[n]) if settings.warped else None
        yield _View(number + n, frame, flow[n].cpu().numpy(), steady, None if people is None else people[n])


def _full_colour(pairs: list[Pair], settings: PreviewSettings) -> float:
    """Speed that 99 % of the pixels of these pairs stay below, in whichever flow is the faster; pixels."""
    views = [view for first, second in pairs for view in _computed([first], second, 0, settings)]
    flows_by_kind = [[view.flow for view in views], [view.steady.warped for view in views if view.steady]]
    speeds = [np.hypot(*np.stack(flows, axis=1)) for flows in flows_by_kind if flows]
    return max(_LEAST_FULL_COLOUR_PX, *(float(np.quantile(speed, _FULL_COLOUR_QUANTILE)) for speed in speeds))


def _bounded(frame: Image) -> Image:
    """The frame, its longer side no longer than what is computed."""
    height, width = frame.shape[:2]
    scale = _LONGEST_SIDE_PX / max(height, width)
    if scale >= 1:
        return frame
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def _grey(frame: Image) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)


def _drawn(view: _View, frames: int, max_px: float) -> Image:
    panels = [
        captioned(_outlined(view.frame, view.people), "frame", f"{view.number} / {frames}"),
        captioned(_coloured(view.flow, max_px), "flow", f"full colour: {max_px:.1f} px", wheel=True),
    ]
    if view.steady:
        panels.append(captioned(_coloured(view.steady.warped, max_px), "warped flow", _camera_note(view.steady)))
    return side_by_side(panels)


def _camera_note(steady: _Steady) -> str:
    if not steady.camera.found:
        return "no camera found"
    if not steady.camera.moves:
        return "camera still"
    return f"camera {np.hypot(*steady.camera.flow(*steady.warped.shape[1:])).mean():.1f} px"


def _coloured(flow: npt.NDArray[np.float32], max_px: float) -> Image:
    return flow_to_rgb(flow.transpose(1, 2, 0), max_px)


def _outlined(frame: Image, people: npt.NDArray[np.bool_] | None) -> Image:
    if people is None:
        return frame
    outlines, _ = cv2.findContours(people.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return np.asarray(cv2.drawContours(frame.copy(), outlines, -1, _OUTLINE, 1), np.uint8)
