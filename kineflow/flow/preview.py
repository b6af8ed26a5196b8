"""A video to look at: the clip on the left, its flow by the colour wheel on the right."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kineflow.errors import KineflowError
from kineflow.flow.quantise import dequantise
from kineflow.flow.store import read_flow
from kineflow.flow.wheel import flow_to_rgb
from kineflow.video.decode import read_video
from kineflow.video.encode import write_video

_USUAL_FPS = 25.0
_FULL_COLOUR_QUANTILE = 0.99  # the fastest hundredth of all pixels would leave the rest pale


def preview(
    clip: Path, out: Path, *, flow: Path | None = None, bound_px: float = 20.0, max_px: float | None = None
) -> None:
    """Write ``out``, an H.264 mp4 with one frame for each flow field: frame | flow wheel.

    Args:
        clip: A video of at least two frames.
        out: Of the mp4 file to write.
        flow: Stored flow of the clip; by default it is computed here, by TV-L1's preset ``capped``.
        bound_px: Of the flow.
        max_px: Speed of full colour; by default one that 99 % of the pixels stay below.

    Raises:
        KineflowError: The clip is unreadable or has one frame, or the flow is not that of the clip.
    """
    decoded = read_video(clip)
    if len(decoded.frames) < 2:
        raise KineflowError("one frame has no flow to show", where=clip, remedy="choose a longer clip")
    levels = _compute(clip, bound_px) if flow is None else read_flow(flow)
    if levels.shape[:3] != (len(decoded.frames) - 1, *decoded.frames.shape[1:3]):
        raise KineflowError(
            f"its {len(levels)} fields of {levels.shape[2]}x{levels.shape[1]} do not fit the clip",
            where=flow,
            remedy="choose the flow that was extracted from this clip",
        )
    fields = dequantise(levels, bound_px)
    max_px = max_px or max(1.0, float(np.quantile(np.hypot(fields[..., 0], fields[..., 1]), _FULL_COLOUR_QUANTILE)))
    pairs = zip(decoded.frames[:-1], fields, strict=True)
    sides = (np.concatenate((frame, flow_to_rgb(field, max_px)), axis=1) for frame, field in pairs)
    write_video(out, (_even(side) for side in sides), fps=decoded.fps or _USUAL_FPS)


def _compute(clip: Path, bound_px: float) -> np.ndarray:
    from kineflow.flow.extract import extract_clip_flow
    from kineflow.flow.tvl1 import TVL1Params
    from kineflow.video.decode import read_frames

    grey = read_frames(clip, pixel_format="gray")
    return extract_clip_flow(grey, TVL1Params.preset("capped"), bound_px=bound_px)


def _even(image: np.ndarray) -> np.ndarray:
    """Leave out the last row of an odd height: yuv420p has none."""
    height, width = image.shape[:2]
    return image[: height - height % 2, : width - width % 2]
