"""The flow of a clip: one video whose planes are the flow.

It is an H.264 ``yuv444p`` mp4: Y is u, U is v (as levels, see :mod:`kineflow.spec.quantise`), V is 128, in full range
and never converted, so that the reader of videos reads flow too. Each frame is a key frame: prediction in time gains
nothing on flow (``docs/flow_storage.md`` has the figures), and any of them is found at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from kineflow.sets.jpeg_planes import read_jpeg_flow
from kineflow.storage.media import Media, RemoteFile
from kineflow.video.decode import read_frames
from kineflow.video.encode import write_video

UNUSED_PLANE_LEVEL = 128
_TUNE = "psnr,fastdecode"  # x264: no bits for what only an eye would see; flow is written once and read every epoch


def write_flow(
    path: Path, flow: Iterable[np.ndarray], *, fps: Fraction | float = 25, crf: int = 14, gop: int = 1
) -> None:
    """Write flow as a video, whole or not at all.

    Args:
        path: Of an mp4 file.
        flow: Frames uint8 [H, W, 2], u and v; any size, at least one. An array [T, H, W, 2] will do.
        fps: Frame rate of the clip, so that players show both at one speed.
        crf: Quality of H.264: 0 is lossless, 14 errs by about half a level.
        gop: Fields from one key frame to the next.
    """
    frames = map(_with_unused_plane, flow)
    write_video(path, frames, fps=fps, crf=crf, gop=gop, pixel_format="yuv444p", source_format="yuv444p", tune=_TUNE)


def _with_unused_plane(flow: np.ndarray) -> np.ndarray:
    unused = np.full((*flow.shape[:2], 1), UNUSED_PLANE_LEVEL, dtype=np.uint8)
    return np.concatenate((flow, unused), axis=-1)


def read_flow(
    path: Media, indices: Sequence[int] | None = None, *, each: Callable[[np.ndarray], np.ndarray] | None = None
) -> np.ndarray:
    """Read flow written by :func:`write_flow`, or JPEG planes.

    Args:
        path: Of the mp4 file, on S3 perhaps, or of a local folder of JPEG planes.
        indices: Fields to read, in any order and with repeats; None for all. Field t leads from frame t to t + 1.
        each: What becomes of each field as it is read, see :func:`kineflow.video.decode.read_frames`.

    Returns:
        uint8 [T, H, W, 2], u and v.

    Raises:
        KineflowError: The file is unreadable, or an index lies beyond its end.
    """
    if not isinstance(path, RemoteFile) and path.is_dir():
        flow = read_jpeg_flow(path, indices)
        return flow if each is None else np.stack([each(field) for field in flow])
    return read_frames(path, indices, pixel_format="yu", each=each)
