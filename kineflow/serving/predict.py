"""One video in, class probabilities out: the test protocol for a video that belongs to no clip set.

A network that takes flow gets it from the video itself, computed as the flow that it learnt from was
(:mod:`kineflow.flow.flow_of_video`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kineflow.data.windows import Needed, needed_of, prepare_windows
from kineflow.evaluation.view_aggregation import aggregate_views
from kineflow.spec.modality import reads_flow
from kineflow.spec.sampling import ClipSpec, uniform_clips
from kineflow.spec.status import Status
from kineflow.spec.video_bounds import MAX_FRAMES, MAX_PIXELS
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames
from kineflow.video.index import VideoIndex, index_video

if TYPE_CHECKING:
    import torch
    from torch import nn

    from kineflow.models.card import ModelCard
    from kineflow.spec.flow_source import FlowSource

    # of each window its frames [n, H, W, 3] and its flow [m, H, W, 2]
    Reading = Generator[tuple[NDArray[np.uint8] | None, NDArray[np.uint8] | None], None, None]

CLIPS = 10


def predict_video(
    video: Path | bytes,
    network: nn.Module,
    card: ModelCard,
    *,
    clips: int = CLIPS,
    max_frames: int = MAX_FRAMES,
    max_pixels: int = MAX_PIXELS,
    max_flow_pixels: int | None = None,
) -> NDArray[np.float32]:
    """Class probabilities of one video, as :func:`kineflow.evaluation.protocol.score_clips` has them.

    Windows spread evenly over the video, centre crop, softmax, mean over the windows; of TSN, mean of the snippets'
    scores, softmax. One window is decoded at a time, and its flow computed, so that memory does not grow with ``clips``
    or with the video's length.

    Args:
        video: A file, or the bytes of one.
        network: In evaluation mode; takes float32 ``[1, C, T, crop, crop]``, gives logits ``[1, K]``.
        card: Its classes and preprocessing, and the source of its flow.
        clips: Windows, at least 1.
        max_frames: Longest video taken.
        max_pixels: Largest picture taken.
        max_flow_pixels: Most flow computed, pixels of all frames together; None for any amount.

    Returns:
        float32 ``[K]``, in the order of ``card.classes``; they add up to 1.

    Raises:
        KineflowError: The video cannot be read whole or is past a bound; or the network takes flow, and the video shows
            no motion, or nobody knows how its flow was computed.
    """
    import torch

    wanted, source = card.preprocessing, flow_source(card)
    device = next(network.parameters()).device
    with _as_file(video) as path, torch.inference_mode():
        index = _index(path, max_frames=max_frames, max_pixels=max_pixels)
        spec = ClipSpec(wanted.frames, wanted.stride_frames, wanted.short)
        laid_out = uniform_clips(max(1, index.frames - 1), spec, clips)  # [clips, T]
        distinct, times = np.unique(laid_out, axis=0, return_counts=True)  # of a short video they are all one
        windows = [window[None] for window in distinct]
        needs = [needed_of(window, wanted, n_frames=index.frames) for window in windows]
        if source is None:
            reading = _read_frames(path, needs, max_frames=max_frames, max_pixels=max_pixels)
        else:
            reading = _read_with_flow(path, index, needs, source, device, max_flow_pixels)
        logits = []
        with closing(reading):
            for window, needed, (frames, flow_frames) in zip(windows, needs, reading, strict=True):
                clip = prepare_windows(window, needed, frames, flow_frames, wanted, n_frames=index.frames)[:, 0]
                logits.append(network(clip.to(device)).float().cpu())  # of [1, C, T, crop, crop]
        every = torch.cat(logits).repeat_interleave(torch.from_numpy(times), dim=0)  # [clips, K]
        scores = aggregate_views(every[None], before_softmax=wanted.segments > 0)[0]
    probabilities: NDArray[np.float32] = scores.softmax(dim=0).numpy().astype(np.float32)
    return probabilities


def flow_source(card: ModelCard) -> FlowSource | None:
    """How to compute the flow that a network takes; None when it takes none.

    Raises:
        KineflowError: It takes flow, and its card does not say how that was computed.
    """
    if not reads_flow(card.preprocessing.modality):
        return None
    if card.flow is None:
        raise KineflowError(
            f"the network takes {card.preprocessing.modality}, and its card does not say how that was computed: "
            "by another tool, or by an earlier version of this one",
            where=f"model {card.name!r}",
            remedy="train it on the output of extract_flow, or predict with an RGB network, such as its student",
        )
    return card.flow


def _read_frames(path: Path, needs: Sequence[Needed], *, max_frames: int, max_pixels: int) -> Reading:
    for needed in needs:
        yield read_frames(path, needed.frames.tolist(), max_frames=max_frames, max_pixels=max_pixels), None


def _read_with_flow(
    path: Path,
    index: VideoIndex,
    needs: Sequence[Needed],
    source: FlowSource,
    device: torch.device,
    max_flow_pixels: int | None,
) -> Reading:
    """Frames and flow of the same size, both of the video as it would be ingested."""
    from kineflow.flow.flow_of_video import as_ingested, flow_of_windows, flow_size

    width, height = flow_size(index, source.short_side)
    flow_frames = [needed.flow_frames for needed in needs]
    asked = len(np.unique(np.concatenate(flow_frames))) * width * height
    if max_flow_pixels is not None and asked > max_flow_pixels:
        raise KineflowError(
            f"{asked} pixels of flow to compute, at {width}x{height}; at most {max_flow_pixels} are",
            remedy="ask for fewer windows, or pass a narrower picture",
        )
    with as_ingested(path, index, source.short_side) as stored:
        for needed, flow in zip(needs, flow_of_windows(stored, flow_frames, source, device=device), strict=True):
            yield (read_frames(stored, needed.frames.tolist()) if needed.frames.size else None), flow


@contextmanager
def _as_file(video: Path | bytes) -> Iterator[Path]:
    if isinstance(video, Path):
        yield video
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video"
        path.write_bytes(video)
        yield path


def _index(path: Path, *, max_frames: int, max_pixels: int) -> VideoIndex:
    index = index_video(path, max_frames=max_frames, max_pixels=max_pixels)
    if index.status not in (Status.OK, Status.SHORT):
        raise KineflowError(index.reason, where=path, remedy="pass a whole video file, such as H.264 mp4")
    return index
