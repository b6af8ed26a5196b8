"""Testing a recurrent frame network: each frame goes through the backbone once, windows are made of features.

ALSTM is tested on every window of a video, VideoLSTM on 25, of 30 frames each: a frame is in up to 30 of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from kineflow.data.crops import Crops
from kineflow.data.windows import WindowViews
from kineflow.models.frame_networks import FrameNetwork
from kineflow.sets.clip_set import Clip
from kineflow.spec.arrays import Indices

ReadWindows = Callable[[Clip, Indices, Crops], WindowViews]
"""From a clip, windows [V,T] of its time steps and crops to their views."""


def logits_frame_by_frame(
    network: FrameNetwork,
    clips: Sequence[Clip],
    windows: Sequence[Indices],
    read: ReadWindows,
    *,
    crops: Crops,
    batch_size: int,
    device: torch.device | str,
    workers: int = 0,
) -> Iterator[Tensor]:
    """Logits [V·crops, K] of the windows of each video.

    Args:
        network: On ``device``, in evaluation mode.
        clips: The videos.
        windows: Of each video, time steps [V,T].
        read: Reads views.
        crops: Of each frame.
        batch_size: Frames, and then windows, at once.
        device: Where the network runs.
        workers: Processes that decode beside this one.
    """
    parts = [
        _Part(clip, chunk, last=number == len(chunks) - 1)
        for clip, chunks in (
            (clip, _chunks(clip_windows, batch_size)) for clip, clip_windows in zip(clips, windows, strict=True)
        )
        for number, chunk in enumerate(chunks)
    ]
    frames: DataLoader[WindowViews] = DataLoader(_Frames(parts, read, crops), batch_size=None, num_workers=workers)
    features: list[tuple[Tensor, ...]] = []
    videos = iter(windows)
    for part, images in zip(parts, frames, strict=True):
        features.append(network.frame_features(images.to(device).inputs()))  # [crops, C, m, S, S]
        if part.last:
            whole = tuple(torch.cat(pieces, dim=1) for pieces in zip(*features, strict=True))  # [crops, M, …] each
            yield _logits(network, whole, next(videos), batch_size).cpu()
            features.clear()


class _Part:
    """Some of a video's time steps, few enough to be decoded at once."""

    def __init__(self, clip: Clip, time_steps: Indices, *, last: bool) -> None:
        self.clip, self.time_steps, self.last = clip, time_steps, last


class _Frames(Dataset[WindowViews]):
    """The views of each part, its m time steps as one window."""

    def __init__(self, parts: Sequence[_Part], read: ReadWindows, crops: Crops) -> None:
        self.parts, self.read, self.crops = parts, read, crops

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, item: int) -> WindowViews:
        part = self.parts[item]
        return self.read(part.clip, part.time_steps[None], self.crops)


def _chunks(windows: Indices, size: int) -> list[Indices]:
    time_steps = np.unique(windows)
    return [time_steps[first : first + size] for first in range(0, len(time_steps), size)]


def _logits(network: FrameNetwork, features: tuple[Tensor, ...], windows: Indices, batch_size: int) -> Tensor:
    """[V·crops, K] from the features [crops, M, …] of all time steps that the windows [V,T] are made of."""
    places = torch.from_numpy(np.searchsorted(np.unique(windows), windows))
    logits = []
    for part in torch.split(places, batch_size):
        sequences = [of_frames[:, part].transpose(0, 1).flatten(0, 1) for of_frames in features]  # [v·crops, T, …]
        logits.append(network.sequence(*sequences).float())
    return torch.cat(logits)
