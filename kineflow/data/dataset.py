"""Clips as training and validation samples: map-style, sized, deterministic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict

import numpy as np
import torch
from torch.utils.data import Dataset

from kineflow.data import transforms
from kineflow.data.crops import Jitter, jittered_view
from kineflow.data.draws import Draw
from kineflow.data.manifest import Clip, ClipSet
from kineflow.data.modality import Modality, channels_of, differences, reads_flow, sources
from kineflow.data.sampling import ClipSpec, Indices, centre_clip, random_clip
from kineflow.data.segments import middle_snippets, random_snippets
from kineflow.errors import KineflowError
from kineflow.flow.store import FlowSet, read_flow
from kineflow.video.decode import read_frames


class Sample(TypedDict):
    """One clip as a network sees it.

    ``rgb`` uint8 [3, T, S, S], ``rgb_difference`` int16 of the same shape, ``flow`` and ``warped_flow`` uint8 levels
    [2, T, S, S], each present when asked for; ``label`` int64, -1 for an unlabelled clip. Field t of the flow leads
    from frame t of ``rgb`` to the next. Snippets (:class:`Geometry`) follow each other in T.
    """

    label: torch.Tensor
    rgb: NotRequired[torch.Tensor]
    rgb_difference: NotRequired[torch.Tensor]
    flow: NotRequired[torch.Tensor]
    warped_flow: NotRequired[torch.Tensor]


@dataclass(frozen=True)
class Geometry:
    """Window and size of a sample.

    Attributes:
        spec: Shape of the window, or with ``segments`` of each snippet.
        short_side, crop: Of the frames after resizing and of the square cut out of them, px.
        segments: K; TSN's snippets, one from each of K segments of the clip, stand in for one window. 0: one window.
        jitter: How training crops vary; None: squares of side ``crop``, placed anywhere.
    """

    spec: ClipSpec
    short_side: int
    crop: int
    segments: int = 0
    jitter: Jitter | None = None


class ClipDataset(Dataset[Sample]):
    """Samples of the given clips.

    An integer key gives the centre window and the centre crop (validation); a :class:`Draw` gives a random window and
    view that depend on the draw's seed alone (training). All modalities of a sample share window and view.

    Args:
        clip_set: Where the clips lie and what their labels mean.
        clips: The clips, in the order of their indices.
        modalities: What each sample holds.
        flow_set: Needed for the modalities ``flow`` and ``warped_flow``.
        geometry: Window and size.
        may_flip: Whether a random view may be mirrored. Off where left and right are different classes.
        cache_bytes: Decoded clips are kept in memory up to this size, so small sets are decoded once.

    Raises:
        KineflowError: Flow was asked for, and is missing for a clip.
    """

    def __init__(
        self,
        clip_set: ClipSet,
        clips: Sequence[Clip],
        *,
        modalities: Sequence[Modality],
        geometry: Geometry,
        flow_set: FlowSet | None = None,
        may_flip: bool = False,
        cache_bytes: int = 0,
    ) -> None:
        self.clip_set, self.clips, self.modalities = clip_set, list(clips), tuple(modalities)
        self.flow_set, self.geometry, self.may_flip = flow_set, geometry, may_flip
        self._cache = _DecodedClips(cache_bytes)
        if any(map(reads_flow, self.modalities)):
            _require_flow(flow_set, self.clips)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: int | Draw) -> Sample:
        rng = np.random.default_rng(key.seed) if isinstance(key, Draw) else None
        clip = self.clips[key.clip if isinstance(key, Draw) else key]
        # Flow has one field fewer than the clip has frames; the last frame is left out for RGB too, so that both
        # streams, alone or together, see the same windows.
        fields = max(1, clip.frames - 1)
        window = self._window(fields, rng)
        seen = {
            modality: transforms.resize_short_side(
                self._read(clip, modality, sources(window, modality, n_frames=clip.frames)), self.geometry.short_side
            )
            for modality in self.modalities
        }
        # Flow stored smaller than the clip may come out a pixel longer or shorter: the view lies in both.
        height, width = (min(frames.shape[axis] for frames in seen.values()) for axis in (1, 2))
        view = self._view(height, width, rng)
        sample: Sample = {"label": torch.tensor(self.clip_set.label_index(clip))}
        for modality, frames in seen.items():
            cut = transforms.apply_view(frames, view, is_flow=reads_flow(modality))
            sample[modality] = transforms.to_tensor(differences(cut) if modality == "rgb_difference" else cut)
        return sample

    def _window(self, fields: int, rng: np.random.Generator | None) -> Indices:
        """Moments of a sample [T], of one window or of all snippets."""
        spec, segments = self.geometry.spec, self.geometry.segments
        if segments:
            snippets = random_snippets(fields, spec, segments, rng) if rng else middle_snippets(fields, spec, segments)
        else:
            snippets = random_clip(fields, spec, rng) if rng else centre_clip(fields, spec)
        return snippets.reshape(-1)  # [K, L] → [K·L]

    def _view(self, height: int, width: int, rng: np.random.Generator | None) -> transforms.View:
        if rng is None:
            return transforms.centre_view(height, width, self.geometry.crop)
        if self.geometry.jitter:
            return jittered_view(
                height, width, self.geometry.crop, self.geometry.jitter, may_flip=self.may_flip, rng=rng
            )
        return transforms.random_view(height, width, self.geometry.crop, may_flip=self.may_flip, rng=rng)

    def _read(self, clip: Clip, modality: Modality, window: np.ndarray) -> transforms.Frames:
        whole = self._cache.get(clip.clip_id, modality)
        if whole is None and self._cache.has_room(_decoded_bytes(clip, modality)):
            whole = self._decode(clip, modality, None)
            self._cache.put(clip.clip_id, modality, whole)
        return whole[window] if whole is not None else self._decode(clip, modality, window)

    def _decode(self, clip: Clip, modality: Modality, window: np.ndarray | None) -> transforms.Frames:
        indices = None if window is None else window.tolist()
        if not reads_flow(modality):
            return read_frames(self.clip_set.locate(clip), indices)
        assert self.flow_set is not None  # checked once, in __init__
        return read_flow(self.flow_set.locate(clip.clip_id), indices)


class _DecodedClips:
    """Whole decoded clips, first come first kept, within a budget of bytes."""

    def __init__(self, budget: int) -> None:
        self._left = budget
        self._clips: dict[tuple[str, str], transforms.Frames] = {}

    def get(self, clip_id: str, modality: str) -> transforms.Frames | None:
        return self._clips.get((clip_id, modality))

    def has_room(self, size: int) -> bool:
        return size <= self._left

    def put(self, clip_id: str, modality: str, frames: transforms.Frames) -> None:
        self._clips[clip_id, modality] = frames
        self._left -= frames.nbytes


def _decoded_bytes(clip: Clip, modality: Modality) -> int:
    return clip.frames * clip.height * clip.width * channels_of(modality)


def _require_flow(flow_set: FlowSet | None, clips: list[Clip]) -> None:
    if flow_set is None:
        raise KineflowError("a flow stream needs a flow set", remedy="pass the output of the extract_flow step")
    extracted = flow_set.usable_ids()
    missing = [clip.clip_id for clip in clips if clip.clip_id not in extracted]
    if missing:
        raise KineflowError(
            f"no flow for {len(missing)} clips, the first of them {', '.join(missing[:5])}",
            remedy="run extract_flow on this clip set again",
        )
