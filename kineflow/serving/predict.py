"""One video in, class probabilities out: the test protocol for a video that belongs to no clip set.

A network that takes flow gets it from the video itself, computed as the flow that it learnt from was
(:mod:`kineflow.flow.flow_of_video`).
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kineflow.data.transforms import resized_to
from kineflow.data.windows import Needed, needed_of, window_views
from kineflow.evaluation.view_protocol import ViewProtocol
from kineflow.serving.tested import UNTESTED
from kineflow.spec.arrays import Indices
from kineflow.spec.modality import reads_flow
from kineflow.spec.sampling import ClipSpec, clips_laid_out
from kineflow.spec.status import Status
from kineflow.spec.video_bounds import MAX_FRAMES, MAX_PIXELS
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames
from kineflow.video.forward import picked_frames
from kineflow.video.index import VideoIndex, index_video
from kineflow.video.opening import open_video
from kineflow.video.resample import numbers_at, span_at

if TYPE_CHECKING:
    import torch
    from torch import nn

    from kineflow.models.card import ModelCard
    from kineflow.spec.flow_source import FlowSource
    from kineflow.spec.preprocessing import Preprocessing

    # of each window its frames [n, H, W, 3] and its flow [m, H, W, 2]
    Reading = Generator[tuple[NDArray[np.uint8] | None, NDArray[np.uint8] | None], None, None]

# Pixels of all frames of a window: 64 frames of 455x256 px have 7.5 million.
_MOST_WINDOW_PIXELS = 2**26  # 200 MB of RGB
_MOST_DECODED_PIXELS = 2**25  # before they are resized


def predict_video(
    video: Path | bytes,
    network: nn.Module,
    card: ModelCard,
    *,
    views: ViewProtocol = UNTESTED,
    max_windows: int | None = None,
    max_frames: int = MAX_FRAMES,
    max_pixels: int = MAX_PIXELS,
    max_video_pixels: int | None = None,
    max_flow_pixels: int | None = None,
) -> NDArray[np.float32]:
    """Class probabilities of one video, as :func:`kineflow.evaluation.protocol.score_clips` has them.

    The video is brought to the frame rate of the clips that the network learnt from, where those had one of their own.
    One window is decoded at a time, its frames resized as they are decoded, and its flow computed, so that memory does
    not grow with their number or with the video's length and size.

    Args:
        video: A file, or the bytes of one.
        network: In evaluation mode; takes float32 ``[1, C, T, crop, crop]``, gives logits ``[1, K]``.
        card: Its classes and preprocessing, and the source of its flow.
        views: Which windows and crops it is asked about, and how their scores become one.
        max_windows: Most windows that it is asked about, which ``dense`` has as many of as there are frames.
        max_frames: Longest video taken.
        max_pixels: Largest picture taken.
        max_video_pixels: Most pixels of all frames of the video together, as time to decode them; None for any number.
        max_flow_pixels: Most flow computed, pixels of all frames together; None for any amount.

    Returns:
        float32 ``[K]``, in the order of ``card.classes``; they add up to 1, but where a clip may be of several classes.

    Raises:
        KineflowError: The model has no classes; the video cannot be read whole or is past a bound; the network takes
            flow, and the video shows no motion, or nobody knows how its flow was computed; or its answer is no number.
    """
    import torch

    from kineflow.evaluation.view_aggregation import aggregate_views
    from kineflow.serving.view_logits import ViewLogits

    require_classes(card)
    wanted, source = card.preprocessing, flow_source(card)
    device = next(network.parameters()).device
    with _as_file(video) as path, torch.inference_mode():
        index = readable_index(path, max_frames, max_pixels, max_video_pixels)
        n_frames = _frames_to_see(index, wanted.fps, path, max_frames, max_video_pixels)
        spec = ClipSpec(wanted.frames, wanted.stride_frames, wanted.short)
        laid_out = clips_laid_out(max(1, n_frames - 1), spec, views.clips_per_video, views.windows)  # [V, T]
        if max_windows is not None and len(laid_out) > max_windows:
            raise KineflowError(
                f"the model was tested by every window, and this video has {len(laid_out)} of them; at most "
                f"{max_windows} are looked at here",
                where=path,
                remedy="ask for fewer (clips), or send a shorter video",
            )
        windows, times = np.unique(laid_out, axis=0, return_counts=True)  # of a short video they are all one
        ask = ViewLogits(network, card)
        steps = ask.steps_to_prepare(list(windows))
        needs = [needed_of(of_window[None], wanted, n_frames=n_frames) for of_window in steps]
        if source is None:
            reading = _read_frames(path, index, needs, wanted, max_frames=max_frames, max_pixels=max_pixels)
        else:
            reading = read_with_flow(path, index, needs, source, wanted, device, max_flow_pixels)
        logits = []
        with closing(reading):
            for window, new, needed, (frames, flow_frames) in zip(windows, steps, needs, reading, strict=True):
                seen = window_views(
                    new[None], needed, frames, flow_frames, wanted, n_frames=n_frames, crops=views.crops
                )
                logits.append(ask(window, new, seen.to(device)))
        every = torch.stack(logits).repeat_interleave(torch.from_numpy(times), dim=0).flatten(0, 1)  # [V·crops, K]
        scores = aggregate_views(
            every[None], how=views.view_aggregation, before_softmax=wanted.segments > 0, multi_label=card.multi_label
        )[0]
    shares = scores.sigmoid() if card.multi_label else scores.softmax(dim=0)
    probabilities: NDArray[np.float32] = shares.numpy().astype(np.float32)
    require_numbers(probabilities, card)
    return probabilities


def require_numbers(probabilities: NDArray[np.float32], card: ModelCard) -> None:
    """Check an answer.

    Raises:
        KineflowError: It holds something that is no number.
    """
    if not np.isfinite(probabilities).all():
        raise KineflowError(
            "the network's answer is not a number",
            where=f"model {card.name!r}",
            remedy="train it again with a lower learning rate: its weights have grown without bounds",
        )


def require_classes(card: ModelCard) -> None:
    """Check that a model can classify.

    Raises:
        KineflowError: It has no classes: it holds initial weights.
    """
    if not card.classes:
        raise KineflowError(
            f"model {card.name!r} has no classes, so it cannot classify a video",
            remedy="take a trained classifier, such as the student: outputs/train_student/model or the like",
        )


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


def _read_frames(
    path: Path,
    index: VideoIndex,
    needs: Sequence[Needed],
    wanted: Preprocessing,
    *,
    max_frames: int,
    max_pixels: int,
) -> Reading:
    size = size_to_read(index.height, index.width, wanted, max(len(needed.frames) for needed in needs))
    numbers = numbers_at(index.timeline, 0, index.frames, wanted.fps) if wanted.fps else None
    there = [needed.frames if numbers is None else numbers[needed.frames] for needed in needs]
    if _is_cheaper_forward(there, index):
        unique, places = zip(*(np.unique(window, return_inverse=True) for window in there), strict=True)
        for frames, place in zip(picked_frames(path, unique, size=size, max_pixels=max_pixels), places, strict=True):
            yield frames[place], None
        return
    for window in there:
        yield read_frames(path, window.tolist(), size=size, max_frames=max_frames, max_pixels=max_pixels), None


def _is_cheaper_forward(windows: Sequence[Indices], index: VideoIndex) -> bool:
    """Whether to decode the video once costs less than to seek each window: key frames are rare, or windows many."""
    in_order = all(before[-1] <= later[-1] for before, later in itertools.pairwise(windows))
    sought = sum(int(window[-1] - window[0]) + min(index.max_gop // 2, int(window[0])) for window in windows)
    return in_order and len(windows) > 1 and sought > int(windows[-1][-1])


def size_to_read(height: int, width: int, wanted: Preprocessing, frames: int) -> tuple[int, int] | None:
    """Width and height to scale a video's frames to as they are decoded; None where they may be held as they are.

    (Then they are scaled afterwards, all at once, by the same function as the frames of clip sets.)

    Raises:
        KineflowError: A window of so many frames would still take too much memory.
    """
    if wanted.fit == "squash":
        to = (wanted.crop, wanted.crop)
    else:
        to = resized_to(height, width, wanted.short_side)
    if frames * to[0] * to[1] > _MOST_WINDOW_PIXELS:
        raise KineflowError(
            f"{frames} frames of {width}x{height} px become {to[1]}x{to[0]} px, which is too much to hold",
            remedy="pass a video whose picture is less wide, or less high",
        )
    is_held = frames * height * width <= _MOST_DECODED_PIXELS or to[0] * to[1] >= height * width
    return None if is_held else (to[1], to[0])


def read_with_flow(
    path: Path,
    index: VideoIndex,
    needs: Sequence[Needed],
    source: FlowSource,
    wanted: Preprocessing,
    device: torch.device,
    max_flow_pixels: int | None,
) -> Reading:
    """Frames and flow of the same size, both of the video as it would be ingested, of each window in turn.

    Raises:
        KineflowError: The video shows no motion, or its flow is past ``max_flow_pixels``.
    """
    from kineflow.flow.flow_of_video import as_ingested, flow_of_windows, flow_size

    width, height = flow_size(index, source.short_side, wanted.fps, wanted.size)
    flow_frames = [needed.flow_frames for needed in needs]
    asked = len(np.unique(np.concatenate(flow_frames))) * width * height
    if max_flow_pixels is not None and asked > max_flow_pixels:
        raise KineflowError(
            f"{asked} pixels of flow to compute, at {width}x{height}; at most {max_flow_pixels} are",
            remedy="ask for fewer windows, or pass a narrower picture",
        )
    with as_ingested(path, index, source.short_side, wanted.fps, wanted.size) as stored:
        for needed, flow in zip(needs, flow_of_windows(stored, flow_frames, source, device=device), strict=True):
            yield (read_frames(stored, needed.frames.tolist()) if needed.frames.size else None), flow


def _frames_to_see(index: VideoIndex, fps: float, path: Path, max_frames: int, max_video_pixels: int | None) -> int:
    """How many frames a video has at the network's rate.

    Raises:
        KineflowError: They are more than are taken: the video is much slower.
    """
    if not fps:
        return index.frames
    frames = span_at(index.timeline, 0, index.frames, fps).frames
    too_large = max_video_pixels is not None and frames * index.width * index.height > max_video_pixels
    if frames > index.frames and (frames > max_frames or too_large):
        raise KineflowError(
            f"{frames} frames of {index.width}x{index.height} px at the {fps:g} a second that the network takes, which "
            "is too much",
            where=path,
            remedy="pass a shorter part of it",
        )
    return frames


@contextmanager
def _as_file(video: Path | bytes) -> Iterator[Path]:
    if isinstance(video, Path):
        yield video
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video"
        path.write_bytes(video)
        yield path


def readable_index(
    path: Path, max_frames: int = MAX_FRAMES, max_pixels: int = MAX_PIXELS, max_video_pixels: int | None = None
) -> VideoIndex:
    """The facts of a video that can be read whole, within bounds.

    Raises:
        KineflowError: It cannot be.
    """
    most, size = max_frames, ""
    if max_video_pixels is not None:
        with suppress(KineflowError), open_video(path, max_pixels=max_pixels) as (_, stream):  # said below
            width, height = stream.width, stream.height
            if width * height > 0 and (fitting := max(1, max_video_pixels // (width * height))) < max_frames:
                # A video may change its size; one that turns out four times as large has said something else.
                most, size, max_pixels = fitting, f" of {width}x{height} px", min(max_pixels, 4 * width * height)
    index = index_video(path, max_frames=most, max_pixels=max_pixels)
    if index.status not in (Status.OK, Status.SHORT):
        reason = index.reason + (size if index.frames > most else "")
        raise KineflowError(reason, where=path, remedy="pass a whole video file, such as H.264 mp4")
    return index
