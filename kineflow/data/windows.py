"""Windows of a video as a network takes them at test time: which frames to read, and what becomes of them.

Windows overlap and crops do more so. What is handed to the network's device is therefore each time step once, as
pixels of one byte, and of a frame what any crop shows; windows and crops are cut out of it there, a batch at a time::

    windows [V,T] ─┐
    read frames ───┴─ each time step once, uint8 [M,H,W,C] ── on the device: place, crop, mirror, normalise ── float32
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kineflow.data.crops import Crops, fixed_views
from kineflow.data.transforms import Frames, View, apply_view, normalise_, resize, resize_short_side, scaled_sides
from kineflow.spec.arrays import Indices
from kineflow.spec.modality import RGB_CHANNELS, assemble, flow_frames_of, frames_of, reads_flow, reads_frames

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from kineflow.spec.preprocessing import Preprocessing

_NONE: Frames = np.zeros((0, 0, 0, 0), dtype=np.uint8)


class Needed(NamedTuple):
    """What to read of a video, each frame and each flow frame once, in order; nothing is an empty array."""

    frames: Indices
    flow_frames: Indices


@dataclass(frozen=True, eq=False)
class WindowViews:
    """The views of a video, crops of its windows, of which each time step is kept once.

    Attributes:
        steps: The distinct time steps, uint8 [M, H, W, C], of frames the part that crops show; int16 for differences.
        places: Of each window's time steps among them, int64 [V, T].
        crops: What is cut out of each window: rectangles, mirrored or not.
        preprocessing: Modality and normalisation.
    """

    steps: Tensor
    places: Tensor
    crops: tuple[View, ...]
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.places) * len(self.crops)

    @property
    def shape(self) -> tuple[int, ...]:
        """C, T, height and width of each."""
        return (self.steps.shape[3], self.places.shape[1], *_sides(self.crops[0]))

    def to(self, device: torch.device | str) -> WindowViews:
        """The same on another device."""
        return replace(self, steps=self.steps.to(device), places=self.places.to(device))

    def empty_inputs(self, count: int) -> Tensor:
        """Room for the inputs of some views, on the device of ``steps``."""
        import torch

        return self.steps.new_empty((count, *self.shape), dtype=torch.float32)

    def inputs(self, first: int = 0, stop: int | None = None, out: Tensor | None = None) -> Tensor:
        """Network inputs of the views ``first`` to ``stop`` (exclusive): all crops of a window, then the next one's.

        Args:
            first, stop: Numbers of views.
            out: Room for them, see :meth:`empty_inputs`; None makes some.

        Returns:
            float32 [stop - first, C, T, crop, crop] on the device of ``steps``; the frame's own size for whole frames.
        """
        stop, crops = len(self) if stop is None else min(stop, len(self)), len(self.crops)
        inputs = self.empty_inputs(stop - first) if out is None else out
        for view in range(first, min(stop, first + crops)):
            window, alike = view // crops, len(inputs[view - first :: crops])
            windows = self.places[window : window + alike]
            inputs[view - first :: crops] = self._cut(windows, self.crops[view % crops])
        return normalise_(inputs, self.preprocessing)

    def _cut(self, windows: Tensor, crop: View) -> Tensor:
        """One crop of windows [v,T], [v, C, T, height, width] of the type of ``steps``."""
        height, width = _sides(crop)
        cut = self.steps[:, crop.top : crop.top + height, crop.left : crop.left + width][windows]
        if crop.flip:
            cut = cut.flip(3)
            if reads_flow(self.preprocessing.modality):
                cut[..., RGB_CHANNELS if reads_frames(self.preprocessing.modality) else 0 :: 2].neg_().add_(255)
        if self.preprocessing.channel_order == "bgr":
            cut[..., :RGB_CHANNELS] = cut[..., :RGB_CHANNELS].flip(4)
        return cut.permute(0, 4, 1, 2, 3)


def needed_of(windows: Indices, preprocessing: Preprocessing, *, n_frames: int) -> Needed:
    """Frames and flow frames to read for ``windows`` [V,T] of time steps of a video of ``n_frames`` frames."""
    frames, flow_frames = _wanted(windows.reshape(-1), preprocessing, n_frames)
    return Needed(np.unique(frames), np.unique(flow_frames))


def window_views(
    windows: Indices,
    needed: Needed,
    frames: Frames | None,
    flow_frames: Frames | None,
    preprocessing: Preprocessing,
    *,
    n_frames: int,
    crops: Crops = 1,
) -> WindowViews:
    """The views of a video's windows, from what was read for them.

    Args:
        windows: Time steps [V,T].
        needed: From :func:`needed_of`.
        frames: uint8 [len(needed.frames), H, W, 3]; None where none are needed.
        flow_frames: uint8 [len(needed.flow_frames), H, W, 2]; None where none are needed.
        preprocessing: Modality, size and normalisation.
        n_frames: Of the video.
        crops: See :func:`kineflow.data.crops.fixed_views`; with ``fit`` of squash, 2 and more are the whole frame and
            its mirror image.
    """
    import torch

    time_steps, places = np.unique(windows, return_inverse=True)
    sources = [sized(source, preprocessing) if source is not None else _NONE for source in (frames, flow_frames)]
    # Flow stored smaller than the clip may come out a pixel longer or shorter.
    height, width = (min(source.shape[axis] for source in sources if len(source)) for axis in (1, 2))
    views = _views(height, width, preprocessing, crops)
    top, left, bottom, right = _box(views)
    wanted = _wanted(time_steps, preprocessing, n_frames)
    ordered = [
        _at(source[:, top:bottom, left:right], read, used)
        for source, read, used in zip(sources, needed, wanted, strict=True)
    ]
    steps = np.ascontiguousarray(assemble(ordered[0], ordered[1], preprocessing.modality))
    return WindowViews(
        torch.from_numpy(steps),
        torch.from_numpy(places.reshape(windows.shape)),
        tuple(replace(view, top=view.top - top, left=view.left - left) for view in views),
        preprocessing,
    )


def step_bytes(height: int, width: int, preprocessing: Preprocessing, crops: Crops) -> int:
    """Bytes of one time step of :class:`WindowViews`, of frames of this height and width."""
    if preprocessing.size:
        width, height = preprocessing.size
    views = _views(*scaled_sides(max(1, height), max(1, width), preprocessing.short_side), preprocessing, crops)
    top, left, bottom, right = _box(views)
    of_a_value = 2 if preprocessing.modality == "rgb_difference" else 1
    return (bottom - top) * (right - left) * len(preprocessing.mean) * of_a_value


def prepare_windows(
    windows: Indices,
    needed: Needed,
    frames: Frames | None,
    flow_frames: Frames | None,
    preprocessing: Preprocessing,
    *,
    n_frames: int,
    crops: Crops = 1,
) -> Tensor:
    """Network inputs float32 [V, crops, C, T, crop, crop] of all of :func:`window_views`, whose arguments it takes."""
    views = window_views(windows, needed, frames, flow_frames, preprocessing, n_frames=n_frames, crops=crops)
    inputs = views.inputs()
    return inputs.view(len(windows), -1, *inputs.shape[1:])


def _wanted(time_steps: Indices, preprocessing: Preprocessing, n_frames: int) -> tuple[Indices, Indices]:
    return (
        frames_of(time_steps, preprocessing.modality, n_frames=n_frames),
        flow_frames_of(time_steps, preprocessing.modality, n_frames=n_frames, flow_frames=preprocessing.flow_frames),
    )


def _at(source: Frames, read: Indices, used: Indices) -> Frames:
    """The frames ``used`` of a ``source`` that holds the frames ``read``; itself, where that is all of it in order."""
    return source if np.array_equal(read, used) else source[np.searchsorted(read, used)]


def sized(source: Frames, preprocessing: Preprocessing) -> Frames:
    """Frames or flow frames [T, H, W, C] at the size of which crops are cut; unchanged where they have it."""
    if not len(source):
        return source
    if preprocessing.size:
        source = resize(source, preprocessing.size[1], preprocessing.size[0])
    if preprocessing.fit == "squash":
        return apply_view(source, View(0, 0, preprocessing.crop, squash=True))
    return resize_short_side(source, preprocessing.short_side)


def _views(height: int, width: int, preprocessing: Preprocessing, crops: Crops) -> list[View]:
    if preprocessing.fit != "squash":
        return fixed_views(height, width, preprocessing.crop, crops)
    flips = (False, True) if crops in (2, 10, "whole") else (False,)
    return [View(0, 0, preprocessing.crop, flip) for flip in flips]


def _box(views: Sequence[View]) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of what is seen by any view."""
    ends = [(view.top + _sides(view)[0], view.left + _sides(view)[1]) for view in views]
    bottom, right = (max(end) for end in zip(*ends, strict=True))
    return min(view.top for view in views), min(view.left for view in views), bottom, right


def _sides(crop: View) -> tuple[int, int]:
    return crop.cut or (crop.size, crop.size)
