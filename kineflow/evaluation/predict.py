"""One video in, class probabilities out: the test protocol for a video that belongs to no clip set."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kineflow.data.manifest import Status
from kineflow.data.modality import reads_flow
from kineflow.data.sampling import ClipSpec, uniform_clips
from kineflow.errors import KineflowError
from kineflow.evaluation.windows import needed_frames, prepare_windows
from kineflow.video.decode import MAX_FRAMES, MAX_PIXELS, read_frames
from kineflow.video.index import index_video

if TYPE_CHECKING:
    from torch import nn

    from kineflow.models.bundle import ModelCard

CLIPS = 10


def predict_video(
    video: Path | bytes,
    network: nn.Module,
    card: ModelCard,
    *,
    clips: int = CLIPS,
    max_frames: int = MAX_FRAMES,
    max_pixels: int = MAX_PIXELS,
) -> NDArray[np.float32]:
    """Class probabilities of one video, as :func:`kineflow.evaluation.protocol.score_clips` has them.

    Windows spread evenly over the video, centre crop, softmax, mean over the windows; of TSN, mean of the snippets'
    scores, softmax. One window is decoded at a time, so that memory does not grow with ``clips`` or with the video's
    length.

    Args:
        video: A file, or the bytes of one.
        network: In evaluation mode; takes float32 ``[1, 3, T, crop, crop]``, gives logits ``[1, K]``.
        card: Its classes and preprocessing.
        clips: Windows, at least 1.
        max_frames: Longest video taken.
        max_pixels: Largest picture taken.

    Returns:
        float32 ``[K]``, in the order of ``card.classes``; they add up to 1.

    Raises:
        KineflowError: The video cannot be read whole or is past a bound, or the network does not look at RGB frames.
    """
    import torch

    wanted = card.preprocessing
    if reads_flow(wanted.modality):
        raise KineflowError(
            f"the network takes {wanted.modality}, and a video alone holds RGB frames",
            where=f"model {card.name!r}",
            remedy="predict with an RGB network, such as the student distilled from this one",
        )
    with _as_file(video) as path, torch.inference_mode():
        frames = _count_frames(path, max_frames=max_frames, max_pixels=max_pixels)
        windows = uniform_clips(max(1, frames - 1), ClipSpec(wanted.frames, wanted.stride_frames), clips)
        device = next(network.parameters()).device
        answers = []
        for window in windows:
            needed, places = needed_frames(window, wanted, n_frames=frames)
            images = read_frames(path, needed.tolist(), max_frames=max_frames, max_pixels=max_pixels)
            clip = prepare_windows(images, places, 1, wanted)[:, 0]  # [1, 3, T, crop, crop]
            answers.append(network(clip.to(device)).float()[0].cpu())
    scores = torch.stack(answers)  # [clips, K]
    averaged = scores.mean(dim=0).softmax(dim=0) if wanted.segments else scores.softmax(dim=1).mean(dim=0)
    probabilities: NDArray[np.float32] = averaged.numpy().astype(np.float32)
    return probabilities


@contextmanager
def _as_file(video: Path | bytes) -> Iterator[Path]:
    if isinstance(video, Path):
        yield video
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video"
        path.write_bytes(video)
        yield path


def _count_frames(path: Path, *, max_frames: int, max_pixels: int) -> int:
    index = index_video(path, max_frames=max_frames, max_pixels=max_pixels)
    if index.status not in (Status.OK, Status.SHORT):
        raise KineflowError(index.reason, where=path, remedy="pass a whole video file, such as H.264 mp4")
    return index.frames
