"""What happens when in a long video: a window slides over it, and the network is asked about each.

A window is prepared, and answered, as by :func:`kineflow.serving.predict.predict_video` and the test protocol
(:func:`kineflow.evaluation.protocol.score_clips`): of a clip as long as one window all three give the same. The video
is decoded once, from front to back, so memory does not grow with its length. A network that takes flow has the video
ingested into a temporary file first, and every flow frame computed once.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kineflow.data.crops import Crops
from kineflow.data.transforms import resized_to
from kineflow.data.windows import needed_of, window_views
from kineflow.evaluation.view_protocol import ViewProtocol
from kineflow.serving.predict import (
    flow_source,
    read_with_flow,
    readable_index,
    require_classes,
    require_numbers,
    size_to_read,
)
from kineflow.serving.tested import UNTESTED
from kineflow.serving.windows import Window, clip_spec, sliding_windows, window_starts
from kineflow.spec.sampling import windows_at
from kineflow.spec.video_bounds import MAX_FILE_FRAMES
from kineflow.storage.errors import KineflowError
from kineflow.video.forward import at_rate, stated_fps, timed_frames
from kineflow.video.opening import open_video
from kineflow.video.resample import span_at

if TYPE_CHECKING:
    from typing import Any

    from torch import nn

    from kineflow.models.card import ModelCard
    from kineflow.spec.flow_source import FlowSource
    from kineflow.spec.preprocessing import Preprocessing

_MOST_HELD_PIXELS = 2**27  # 400 MB of RGB


class Scored(NamedTuple):
    """A window of a video and what the network says of it.

    Attributes:
        start_sec, end_sec: From its first frame to the end of its last time step, seconds from the video's first frame.
        probabilities: float32 [K], in the order of the card's classes; they add up to 1 unless the card has
            ``multi_label``.
    """

    start_sec: float
    end_sec: float
    probabilities: NDArray[np.float32]


def timeline(
    video: Path,
    network: nn.Module,
    card: ModelCard,
    *,
    step_sec: float | None = None,
    views: ViewProtocol = UNTESTED,
) -> Iterator[Scored]:
    """Ask a network about every window of a video, in order.

    Args:
        video: A file.
        network: In evaluation mode; takes float32 ``[1, C, T, crop, crop]``, gives logits ``[1, K]``.
        card: Its classes and preprocessing, and the source of its flow.
        step_sec: From one window to the next, seconds above 0, rounded to frames; None: half a window. The last window
            ends with the video.
        views: Its crops of a window, and how their scores become one.

    Raises:
        KineflowError: As :func:`kineflow.serving.predict.predict_video`. Where a video breaks off, what came before is
            answered first; one that a network with flow is asked about is refused at once.
    """
    require_classes(card)
    source = flow_source(card)
    windows = _of_frames(video, card.preprocessing, step_sec, views.crops)
    if source is not None:
        windows = _with_flow(video, card.preprocessing, source, network, step_sec, views.crops)
    with closing(windows):
        for window in windows:
            yield scored(window, network, card, views)


def scored(window: Window, network: nn.Module, card: ModelCard, views: ViewProtocol) -> Scored:
    """Ask a network about one window, in all its crops.

    Raises:
        KineflowError: The network cannot take it, or its answer is no number.
    """
    import torch

    from kineflow.evaluation.view_aggregation import aggregate_views
    from kineflow.serving.view_logits import window_logits

    device = next(network.parameters()).device
    with torch.inference_mode():
        logits = window_logits(network, window.views.to(device), card)[None]  # [1, crops, K]
        is_of_snippets = card.preprocessing.segments > 0
        [scores] = aggregate_views(
            logits, how=views.view_aggregation, before_softmax=is_of_snippets, multi_label=card.multi_label
        )
        shares = scores.sigmoid() if card.multi_label else scores.softmax(dim=0)
        probabilities: NDArray[np.float32] = shares.numpy().astype(np.float32)
    require_numbers(probabilities, card)
    return Scored(window.start_sec, window.end_sec, probabilities)


def windows_of_stream(
    container: Any, stream: Any, wanted: Preprocessing, step_sec: float | None, crops: Crops
) -> Iterator[Window]:
    """The windows of a video that was opened, as its frames come; for a network without flow.

    Raises:
        KineflowError: A window's pictures are too much to hold; as :func:`kineflow.serving.windows.sliding_windows`.
    """
    context, fps = stream.codec_context, stated_fps(stream)
    size = _size(context.height, context.width, wanted)
    frames = timed_frames(container, stream, size)
    if wanted.fps:
        frames = at_rate(frames, wanted.fps, 1 / fps)
    rate = wanted.fps or fps
    return sliding_windows(
        frames, wanted, step_frames=_step_frames(wanted, rate, step_sec), last_sec=1 / rate, crops=crops
    )


def _of_frames(
    video: Path, wanted: Preprocessing, step_sec: float | None, crops: Crops
) -> Generator[Window, None, None]:
    empty = True
    with open_video(video) as (container, stream):
        for window in windows_of_stream(container, stream, wanted, step_sec, crops):
            empty = False
            yield window
    if empty:
        raise KineflowError("no frame could be decoded", where=video, remedy="replace or remove the file")


def _with_flow(
    video: Path,
    wanted: Preprocessing,
    source: FlowSource,
    network: nn.Module,
    step_sec: float | None,
    crops: Crops,
) -> Generator[Window, None, None]:
    index = readable_index(video, MAX_FILE_FRAMES)
    n_frames = span_at(index.timeline, 0, index.frames, wanted.fps).frames if wanted.fps else index.frames
    times = np.arange(n_frames) / wanted.fps if wanted.fps else index.timeline.times(0, index.frames)
    spec, rate = clip_spec(wanted), wanted.fps or index.fps
    starts = window_starts(n_frames, spec, _step_frames(wanted, rate, step_sec))
    windows = [windows_at(max(1, n_frames - 1), spec, np.array([start])) for start in starts]
    needs = [needed_of(window, wanted, n_frames=n_frames) for window in windows]
    device = next(network.parameters()).device
    with closing(read_with_flow(video, index, needs, source, wanted, device, None)) as reading:
        for start, window, needed, (frames, flow_frames) in zip(starts, windows, needs, reading, strict=True):
            views = window_views(window, needed, frames, flow_frames, wanted, n_frames=n_frames, crops=crops)
            stop = min(start + spec.span_frames, n_frames - 1)
            yield Window(start, stop, float(times[start]), float(times[stop]), views)


def _step_frames(wanted: Preprocessing, fps: float, step_sec: float | None) -> int:
    if step_sec is None:
        return max(1, clip_spec(wanted).span_frames // 2)
    return max(1, round(step_sec * fps))


def _size(height: int, width: int, wanted: Preprocessing) -> tuple[int, int] | None:
    """Width and height to decode to, as :func:`kineflow.serving.predict.predict_video` does.

    Raises:
        KineflowError: The frames that a window spans would take too much memory.
    """
    spec = clip_spec(wanted)
    read = wanted.frames * (2 if wanted.modality == "rgb_difference" else 1)
    size = size_to_read(height, width, wanted, min(read, spec.span_frames + 1))
    if wanted.fit == "squash":
        held_px = size[0] * size[1] if size else height * width
    else:
        held_px = int(np.prod(resized_to(height, width, wanted.short_side)))
    if (spec.span_frames + 1) * held_px > _MOST_HELD_PIXELS:
        raise KineflowError(
            f"a window spans {spec.span_frames} frames of {width}x{height} px, which is too much to hold",
            remedy="scale the video down",
        )
    return size
