"""Windows of stored features as training and validation samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from kineflow.data.batch_sampler import SampleRef
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.feature_set import FeatureSet
from kineflow.sets.rows_by_id import values_of
from kineflow.spec.arrays import Indices
from kineflow.spec.sampling import ClipSpec, centre_clip, last_start, random_clip, windows_at
from kineflow.storage.errors import KineflowError

LABEL, TARGETS = "label", "targets"


class FeatureDataset(Dataset[dict[str, Tensor]]):
    """Windows of the given clips' features, T time steps each.

    A sample holds a tensor for each input of the network, float32 [T, F, h, w] or [T, D], under the input's name, and
    the ``label``, int64; of a set whose clips may be of several classes, ``targets``, float32 [K]. All of them are of
    the same time steps. An integer key gives the centre window of a clip (validation). A :class:`SampleRef` gives a
    random window of the clip that it names, from its seed alone; with ``every_window``, it names one of all windows of
    all clips (:attr:`items`).

    Args:
        clip_set: What the labels mean.
        clips: The clips, in the order of their indices.
        feature_sets: By the name of the network's input.
        spec: Shape of the window.
        every_window: Whether a :class:`SampleRef` names a window, at every time step where one can start, not a clip.
        cache_bytes: Whole clips' features are kept in memory up to this size, in 16 bits.

    Raises:
        KineflowError: Features are missing for a clip.
    """

    def __init__(
        self,
        clip_set: ClipSet,
        clips: Sequence[Clip],
        *,
        feature_sets: Mapping[str, FeatureSet],
        spec: ClipSpec,
        every_window: bool = False,
        cache_bytes: int = 0,
    ) -> None:
        self.clip_set, self.clips, self.feature_sets, self.spec = clip_set, clips, dict(feature_sets), spec
        for features in self.feature_sets.values():
            _require_features(features, self.clips)
        self._time_steps = self._least_time_steps()
        self._first_window = self._first_windows() if every_window else None
        self._cache = _Cache(cache_bytes)

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def items(self) -> int:
        """How many things a draw can name: clips, or windows."""
        return len(self.clips) if self._first_window is None else int(self._first_window[-1])

    def __getitem__(self, key: int | SampleRef) -> dict[str, Tensor]:
        number, window = self._window(key)
        clip = self.clips[number]
        read = {name: self._read(name, clip, window) for name in self.feature_sets}
        if self.clip_set.multi_label:
            return {**read, TARGETS: torch.from_numpy(self.clip_set.targets(clip))}
        return {**read, LABEL: torch.tensor(self.clip_set.label_index(clip))}

    def _window(self, key: int | SampleRef) -> tuple[int, Indices]:
        """Which clip, and which time steps of it [T]."""
        if not isinstance(key, SampleRef):
            return key, centre_clip(int(self._time_steps[key]), self.spec)[0]
        if self._first_window is None:
            time_steps = int(self._time_steps[key.clip])
            return key.clip, random_clip(time_steps, self.spec, np.random.default_rng(key.seed))[0]
        number = int(np.searchsorted(self._first_window, key.clip, side="right")) - 1
        start = np.array([key.clip - self._first_window[number]])
        return number, windows_at(int(self._time_steps[number]), self.spec, start)[0]

    def _least_time_steps(self) -> NDArray[np.int64]:
        """Of each clip, what all of its features have, [clips]."""
        sets = self.feature_sets.values()
        least: NDArray[np.int64] = np.minimum.reduce(
            [values_of(each.entries, self.clips, "time_steps", missing=0) for each in sets]
        )
        return least

    def _first_windows(self) -> NDArray[np.int64]:
        """The number of each clip's first window, and that of all windows, [clips + 1]."""
        lengths, which = np.unique(self._time_steps, return_inverse=True)
        windows = np.array([last_start(time_steps, self.spec) + 1 for time_steps in lengths.tolist()], np.int64)
        return np.concatenate([[0], np.cumsum(windows[which])])

    def _read(self, name: str, clip: Clip, window: Indices) -> Tensor:
        features = self.feature_sets[name]
        whole = self._cache.get(name, clip)
        time_steps = features.entries[clip.clip_id].time_steps
        if whole is None and self._cache.has_room(time_steps * math.prod(features.shape) * torch.float16.itemsize):
            whole = features.read(clip.clip_id, np.arange(time_steps)).half()
            self._cache.put(name, clip, whole)
        return features.read(clip.clip_id, window) if whole is None else whole[window].float()


class _Cache:
    """Whole clips' features, first come first kept, within a budget of bytes."""

    def __init__(self, budget: int) -> None:
        self._left = budget
        self._kept: dict[tuple[str, str], Tensor] = {}

    def get(self, name: str, clip: Clip) -> Tensor | None:
        return self._kept.get((name, clip.clip_id))

    def has_room(self, size: int) -> bool:
        return size <= self._left

    def put(self, name: str, clip: Clip, features: Tensor) -> None:
        self._kept[name, clip.clip_id] = features
        self._left -= features.nbytes


def _require_features(features: FeatureSet, clips: Sequence[Clip]) -> None:
    if missing := features.lacking(clips):
        raise KineflowError(
            f"no features for {len(missing)} of {len(clips)} clips, the first of them {', '.join(missing[:5])}",
            where=features.media_root,
            remedy="run extract_features on this clip set again, with the splits train and val among its splits",
        )
