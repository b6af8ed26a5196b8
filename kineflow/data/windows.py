"""Windows of a video as a network takes them at test time: which frames to read, and what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kineflow.data.crops import Crops, fixed_views
from kineflow.data.transforms import Frames, View, apply_view, normalise, resize_short_side, to_tensor
from kineflow.spec.arrays import Indices
from kineflow.spec.modality import assemble, flow_frames_of, frames_of

if TYPE_CHECKING:
    from torch import Tensor

    from kineflow.spec.preprocessing import Preprocessing

_NONE: Frames = np.zeros((0, 0, 0, 0), dtype=np.uint8)


class Needed(NamedTuple):
    """What to read of a video, each frame and each flow frame once, in order; nothing is an empty array."""

    frames: Indices
    flow_frames: Indices


def needed_of(windows: Indices, preprocessing: Preprocessing, *, n_frames: int) -> Needed:
    """Frames and flow frames to read for ``windows`` [V,T] of time steps of a video of ``n_frames`` frames."""
    frames, flow_frames = _wanted(windows, preprocessing, n_frames)
    return Needed(np.unique(frames), np.unique(flow_frames))


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
    """Network inputs float32 [V, crops, C, T, crop, crop]; the frame's own size with ``whole`` crops.

    Args:
        windows: Moments [V,T].
        needed: From :func:`needed_of`.
        frames: uint8 [len(needed.frames), H, W, 3]; None where none are needed.
        flow_frames: uint8 [len(needed.fields), H, W, 2]; None where none are needed.
        preprocessing: Modality, size and normalisation.
        n_frames: Of the video.
        crops: See :func:`kineflow.data.crops.fixed_views`; with ``fit`` of squash, 2 and more are the whole frame and
            its mirror image.
    """
    import torch

    wanted = _wanted(windows, preprocessing, n_frames)
    positions = [np.searchsorted(read, used) for read, used in zip(needed, wanted, strict=True)]
    sources = [_sized(source if source is not None else _NONE, preprocessing) for source in (frames, flow_frames)]
    height, width = (min(source.shape[axis] for source in sources if len(source)) for axis in (1, 2))
    views = []
    for view in _views(height, width, preprocessing, crops):
        cuts = [
            apply_view(source, view, is_flow=bool(number)) if len(source) else source
            for number, source in enumerate(sources)
        ]
        clip = assemble(cuts[0][positions[0]], cuts[1][positions[1]], preprocessing.modality)  # [V·T, crop, crop, C]
        views.append(normalise(to_tensor(clip), preprocessing))
    clips = torch.stack(views)  # [crops, C, V·T, crop, crop]
    clips = clips.reshape(*clips.shape[:2], len(windows), -1, *clips.shape[3:])  # [crops, C, V, T, crop, crop]
    return clips.permute(2, 0, 1, 3, 4, 5)


def _wanted(windows: Indices, preprocessing: Preprocessing, n_frames: int) -> tuple[Indices, Indices]:
    time_steps = windows.reshape(-1)
    return (
        frames_of(time_steps, preprocessing.modality, n_frames=n_frames),
        flow_frames_of(time_steps, preprocessing.modality, n_frames=n_frames, flow_frames=preprocessing.flow_frames),
    )


def _sized(source: Frames, preprocessing: Preprocessing) -> Frames:
    if not len(source) or preprocessing.fit == "squash":
        return source
    return resize_short_side(source, preprocessing.short_side)


def _views(height: int, width: int, preprocessing: Preprocessing, crops: Crops) -> list[View]:
    if preprocessing.fit != "squash":
        return fixed_views(height, width, preprocessing.crop, crops)
    flips = (False, True) if crops in (2, 10, "whole") else (False,)
    return [View(0, 0, preprocessing.crop, flip, squash=True) for flip in flips]
