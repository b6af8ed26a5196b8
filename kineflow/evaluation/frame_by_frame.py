"""Testing a recurrent frame network: each frame goes through the backbone once, windows are made of features.

ALSTM is tested on every window of a video, VideoLSTM on 25, of 30 frames each: a frame is in up to 30 of them. Features
are kept until the last window that needs them has been asked about: a long video needs no more memory than a short one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from kineflow.data.windows import WindowViews
from kineflow.evaluation.view_stream import PART_BYTES, Part, ReadViews, WindowsOf, largest_part, load
from kineflow.models.frame_networks import FrameNetwork
from kineflow.sets.clip_set import Clip
from kineflow.spec.arrays import Indices


def logits_frame_by_frame(
    network: FrameNetwork,
    clips: Sequence[Clip],
    windows_of: WindowsOf,
    read: ReadViews,
    *,
    batch_size: int,
    device: torch.device | str,
    workers: int = 0,
) -> Iterator[Tensor]:
    """Logits [V·crops, K] of the windows of each video.

    Args:
        network: On ``device``, in evaluation mode.
        clips: The videos, at least one.
        windows_of: Of each video, time steps [V,T], in the order of the video.
        read: Reads views.
        batch_size: Frames at once, and then windows, these in all their crops.
        device: Where the network runs.
        workers: Processes that decode beside this one.
    """
    parts = (Part(clip, steps[None]) for clip in clips for steps in _chunks(clip, windows_of(clip), read, batch_size))
    largest = largest_part(clips, read, steps=1)
    loaded = iter(load(parts, read, largest_bytes=largest, workers=workers))
    for clip in clips:
        windows = windows_of(clip)
        answers = _Windows(network, windows, batch_size)
        for time_steps in _chunks(clip, windows, read, batch_size):
            answers.add(time_steps, _features(network, next(loaded).to(device)))
        yield torch.cat(answers.logits)


def _features(network: FrameNetwork, views: WindowViews) -> tuple[Tensor, ...]:
    """[crops, m, …] each, one crop at a time."""
    of_crops = [network.frame_features(views.inputs(crop, crop + 1)) for crop in range(len(views))]
    return tuple(torch.cat(of_input) for of_input in zip(*of_crops, strict=True))


class _Windows:
    """Asks about windows [V,T] in their order, each as soon as the features of its last time step have come.

    Attributes:
        logits: [v·crops, K] each, on the CPU.
    """

    def __init__(self, network: FrameNetwork, windows: Indices, batch_size: int) -> None:
        self._network, self._windows, self._batch_size = network, windows, batch_size
        self._last = np.maximum.accumulate(windows.max(axis=1))
        self._first = np.minimum.accumulate(windows.min(axis=1)[::-1])[::-1]  # of a window and of those after it
        self._asked = 0
        self._steps: Indices = np.zeros(0, dtype=np.int64)
        self._features: tuple[Tensor, ...] = ()
        self.logits: list[Tensor] = []

    def add(self, time_steps: Indices, features: tuple[Tensor, ...]) -> None:
        """Take the features [crops, m, …] of the next time steps [m]."""
        self._steps = np.concatenate([self._steps, time_steps])
        pairs = zip(self._features, features, strict=True) if self._features else ((each,) for each in features)
        self._features = tuple(torch.cat(pair, dim=1) for pair in pairs)
        ready = int(np.searchsorted(self._last, time_steps[-1], side="right"))
        for start in range(self._asked, ready, self._batch_size):
            self._ask(self._windows[start : min(ready, start + self._batch_size)])
        self._asked = ready
        if ready < len(self._windows):
            done = int(np.searchsorted(self._steps, self._first[ready]))
            self._steps = self._steps[done:]
            self._features = tuple(each[:, done:].clone() for each in self._features)

    def _ask(self, windows: Indices) -> None:
        places = torch.from_numpy(np.searchsorted(self._steps, windows))
        sequences = [each[:, places].transpose(0, 1).flatten(0, 1) for each in self._features]  # [v·crops, T, …]
        self.logits.append(self._network.sequence(*sequences).float().cpu())


def _chunks(clip: Clip, windows: Indices, read: ReadViews, batch_size: int) -> list[Indices]:
    """The time steps of windows, few enough to be decoded and seen at once."""
    most = max(1, min(batch_size, PART_BYTES // read.step_bytes(clip)))
    time_steps = np.unique(windows)
    return [time_steps[first : first + most] for first in range(0, len(time_steps), most)]
