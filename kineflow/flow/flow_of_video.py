"""Flow of a video that belongs to no clip set, as ingesting it and extracting its flow would give it.

First the video is brought into the form that clip sets keep (:mod:`kineflow.video.store`), in a file of its own unless
it has that form already: what TV-L1 sees is then to the bit what it sees of a clip set of default quality, coding loss
and all, and any frame is found at once. Then the flow frames that are wanted are computed, and only those. They are not
coded, which is the one difference from a flow set: about half a level at its default quality, none at ``crf`` 0.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kineflow.flow.extraction.settings import ExtractSettings
from kineflow.spec.arrays import Indices
from kineflow.spec.flow_source import FlowSource
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames
from kineflow.video.index import VideoIndex
from kineflow.video.store import STORED_SUFFIX, Part, StoredForm, is_copied, store_video, stored_frames, stored_size

if TYPE_CHECKING:
    import torch

Uint8Flow = NDArray[np.uint8]  # [n, H, W, 2]: u and v

_LEAST_FRAMES = 2
_LEAST_SIDE = 2
_PIXELS_A_BATCH = 2**23  # 96 pairs of 340x256: a few hundred MB while they are solved


@contextmanager
def as_ingested(
    video: Path, index: VideoIndex, short_side: int, fps: float = 0.0, size: tuple[int, int] | None = None
) -> Iterator[Path]:
    """The video as a clip set would keep it, for as long as the context lasts.

    Args:
        video: A whole video file.
        index: Of it.
        short_side: Longest its shorter side may be, pixels.
        fps: Frames per second that it is brought to; 0: its own.
        size: Width and height that it is brought to in place of ``short_side``, if any.

    Raises:
        KineflowError: The file has changed since it was indexed, or the disk is full.
    """
    form, whole = StoredForm(short_side=short_side, fps=fps, size=size), Part(0, index.frames)
    if is_copied(index, whole, form):
        yield video
        return
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / f"clip{STORED_SUFFIX}"
        store_video(video, stored, index=index, part=whole, form=form)
        yield stored


def flow_size(
    index: VideoIndex, short_side: int, fps: float = 0.0, size: tuple[int, int] | None = None
) -> tuple[int, int]:
    """Width and height of a video's flow; arguments as of :func:`as_ingested`.

    Raises:
        KineflowError: It shows no motion: it is a single frame, or too small.
    """
    form = StoredForm(short_side=short_side, fps=fps, size=size)
    width, height = stored_size(index, form)
    frames, rate = stored_frames(index, Part(0, index.frames), form), f" at {fps:g} a second" if fps else ""
    if frames < _LEAST_FRAMES or min(width, height) < _LEAST_SIDE:
        raise KineflowError(
            f"no motion to measure (frames: {frames}{rate}, of {index.width}x{index.height} px)",
            remedy=f"pass a video of at least {_LEAST_FRAMES} frames and {_LEAST_SIDE}x{_LEAST_SIDE} pixels",
        )
    return width, height


def flow_of_video(
    video: Path, flow_frames: Sequence[int] | Indices, source: FlowSource, *, device: torch.device | str = "cpu"
) -> Uint8Flow:
    """Compute some flow frames of a video.

    Args:
        video: From :func:`as_ingested`.
        flow_frames: Which, ascending, at least one; number t leads from frame t to t + 1.
        source: How.
        device: Where; the solver is the fastest one there.

    Returns:
        uint8 [len(flow_frames), H, W, 2], quantised, as :func:`kineflow.sets.flow_file.read_flow` gives them.

    Raises:
        KineflowError: The video is unreadable or ends too early, or the device has too little memory.
    """
    import torch

    from kineflow.flow.extraction.solving import BatchSolver

    device = torch.device(device)
    settings = ExtractSettings(
        tvl1=source.params,
        camera_motion=source.camera_motion,
        bound_px=source.bound_px,
        devices=(str(device),),
        workers=os.cpu_count() or 1,
    )
    solver = BatchSolver(str(device), settings)
    most = max(1, _PIXELS_A_BATCH // _grey(video, [0]).size)
    wanted, solved = np.asarray(flow_frames, dtype=np.int64), []
    for start in range(0, len(wanted), most):
        first = wanted[start : start + most]
        frames = np.union1d(first, first + 1)
        grey = _grey(video, frames.tolist())
        solved.append(solver.solve(*(grey[np.searchsorted(frames, chosen)] for chosen in (first, first + 1))))
    return np.concatenate(solved)


def flow_of_windows(
    video: Path, windows: Sequence[Indices], source: FlowSource, *, device: torch.device | str = "cpu"
) -> Iterator[Uint8Flow]:
    """The flow that each of several windows needs, one window after the other.

    A flow frame that several windows need is computed once and kept until the last of them has had it, so windows that
    come in the order of the video need memory for what they span, however long it is.

    Args:
        video: From :func:`as_ingested`.
        windows: The flow frames of each, ascending.
        source: How.
        device: Where.

    Yields:
        uint8 [len(window), H, W, 2].

    Raises:
        KineflowError: As :func:`flow_of_video`.
    """
    wanted = [window.tolist() for window in windows]
    last_use = {frame: number for number, window in enumerate(wanted) for frame in window}
    known: dict[int, Uint8Flow] = {}
    for number, window in enumerate(wanted):
        if missing := [frame for frame in window if frame not in known]:
            known.update(zip(missing, flow_of_video(video, missing, source, device=device), strict=True))
        yield np.stack([known[frame] for frame in window])
        known = {frame: flow for frame, flow in known.items() if last_use[frame] > number}


def _grey(video: Path, frames: Sequence[int]) -> NDArray[np.uint8]:
    return read_frames(video, frames, pixel_format="gray")
