"""Clips as training and validation samples: map-style, sized, deterministic."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, NotRequired, TypedDict, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from kineflow.data import transforms
from kineflow.data.batch_sampler import SampleRef
from kineflow.data.crops import Jitter, jittered_view
from kineflow.data.frame_view import FrameView
from kineflow.data.onlookers import view_beside, window_beside
from kineflow.data.segments import middle_snippets, random_snippets
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import read_flow
from kineflow.sets.flow_set import FlowSet
from kineflow.sets.rows import whole_numbers
from kineflow.sets.rows_by_id import values_of
from kineflow.spec.arrays import Indices, Pixels
from kineflow.spec.modality import Modality, assemble, flow_frames_of, frames_of, reads_flow, reads_frames
from kineflow.spec.sampling import ClipSpec, centre_clip, random_clip
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames

StoredPart = Literal["rgb", "flow"]
Size = tuple[int, int]  # height and width, px

_READS: dict[StoredPart, Callable[[Modality], bool]] = {"rgb": reads_frames, "flow": reads_flow}


class Sample(TypedDict):
    """One clip as a network sees it.

    ``rgb`` uint8 [3, T, S, S], ``rgb_difference`` int16 of the same shape, ``flow`` and ``warped_flow`` uint8 flow
    [2, T, S, S], ``rgb_flow`` uint8 [3+2L, T, S, S], each present when asked for; ``label`` int64, -1 for an unlabelled
    clip; of a batch, ``labelled`` the rows that have a label, int64 [L], once that was asked; of a mixed one,
    ``mixed_label`` the other label, int64, and ``share`` the weight of the first, float32 [], and clips may be float32;
    ``rgb_view`` in place of ``rgb`` what is still to be decoded, of a batch a list of it. Field t of the flow leads
    from frame t of ``rgb`` to the next. Snippets (:class:`Geometry`) follow each other in T. What onlookers see, and
    what a teacher has said of the clip where that was kept, stand beside these under keys of their own.
    """

    label: torch.Tensor
    rgb: NotRequired[torch.Tensor]
    rgb_difference: NotRequired[torch.Tensor]
    flow: NotRequired[torch.Tensor]
    warped_flow: NotRequired[torch.Tensor]
    rgb_flow: NotRequired[torch.Tensor]
    labelled: NotRequired[torch.Tensor]
    rgb_view: NotRequired[FrameView]
    mixed_label: NotRequired[torch.Tensor]
    share: NotRequired[torch.Tensor]


@dataclass(frozen=True)
class Geometry:
    """Window and size of a sample.

    Attributes:
        spec: Shape of the window, or with ``segments`` of each snippet.
        short_side, crop: Of the frames after resizing and of the square cut out of them, px.
        segments: K; TSN's snippets, one from each of K segments of the clip, stand in for one window. 0: one window.
        jitter: How training crops vary; None: squares of side ``crop``, placed anywhere.
        fit: ``squash`` takes the whole frame, its sides made equal, in place of a crop.
        flow_frames: L of ``rgb_flow``.
        stride_frames_max: The stride of a random window is drawn from the spec's to this; 0: it is the spec's.
    """

    spec: ClipSpec
    short_side: int
    crop: int
    segments: int = 0
    jitter: Jitter | None = None
    fit: Literal["crop", "squash"] = "crop"
    flow_frames: int = 1
    stride_frames_max: int = 0


@dataclass(frozen=True)
class Onlooker:
    """A network that sees the same moment and place of a clip in a geometry of its own.

    Attributes:
        modality: What it sees.
        geometry: Its window and size; nothing is drawn for it.
    """

    modality: Modality
    geometry: Geometry


NO_ONLOOKERS: Mapping[str, Onlooker] = MappingProxyType({})


class ClipDataset(Dataset[Sample]):
    """Samples of the given clips.

    An integer key gives the centre window and the centre crop (validation); a :class:`SampleRef` gives a random window
    and view that depend on its seed alone (training). All modalities of a sample share window and view; onlookers see
    the same moment and place (:mod:`kineflow.data.onlookers`).

    Args:
        clip_set: Where the clips lie and what their labels mean.
        clips: The clips, in the order of their indices.
        modalities: What each sample holds.
        flow_set: Needed for the modalities that hold flow.
        geometry: Window and size.
        may_flip: Whether a random view may be mirrored. Off where left and right are different classes.
        onlookers: Who else sees the clips; by the key under which a sample has what it sees.
        cache_bytes: Decoded clips are kept in memory up to this size, so small sets are decoded once.
        decodes_rgb: Off: a sample holds ``rgb_view`` in place of ``rgb``.

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
        onlookers: Mapping[str, Onlooker] = NO_ONLOOKERS,
        cache_bytes: int = 0,
        decodes_rgb: bool = True,
    ) -> None:
        self.clip_set, self.clips, self.modalities = clip_set, clips, tuple(modalities)
        self.flow_set, self.geometry, self.may_flip = flow_set, geometry, may_flip
        self._cache, self._decodes_rgb = _DecodedClips(cache_bytes), decodes_rgb
        self._onlookers = {key: self._seen_by(onlooker) for key, onlooker in onlookers.items()}
        self._answers: dict[str, torch.Tensor] = {}
        if any(map(reads_flow, [*self.modalities, *(each.modality for each in onlookers.values())])):
            _require_flow(flow_set, self.clips)

    def __len__(self) -> int:
        return len(self.clips)

    def has_fixed_views(self) -> bool:
        """Whether a random sample of each clip is its centre sample, since there is nothing to draw."""
        geometry = self.geometry
        spec, square = geometry.spec, (geometry.crop, geometry.crop)
        if self.may_flip or geometry.segments or geometry.jitter or geometry.stride_frames_max > spec.stride_frames:
            return False
        if not (whole_numbers(self.clips, "frames") - 1 <= spec.span_frames).all():
            return False
        return geometry.fit == "squash" or all(self._common_size(sizes) == square for sizes in self._stored_sizes())

    def showing(self, modalities: Sequence[Modality]) -> ClipDataset:
        """Samples of the same clips that hold other modalities, and nothing of onlookers.

        Decoded clips are kept by each data set for itself.
        """
        other = copy.copy(self)
        other.modalities, other._onlookers, other._cache = tuple(modalities), {}, self._cache.empty()
        return other

    def with_answers(self, answers: Mapping[str, torch.Tensor]) -> ClipDataset:
        """The same samples, and in each, by their keys, the clip's rows of ``answers`` [clips, …]."""
        other = copy.copy(self)
        other._answers = dict(answers)
        return other

    def _seen_by(self, onlooker: Onlooker) -> ClipDataset:
        """The same clips in an onlooker's geometry; what is decoded is kept for both."""
        other = copy.copy(self)
        other.modalities, other.geometry = (onlooker.modality,), onlooker.geometry
        return other

    def __getitem__(self, key: int | SampleRef) -> Sample:
        rng = np.random.default_rng(key.seed) if isinstance(key, SampleRef) else None
        place = key.clip if isinstance(key, SampleRef) else key
        clip = self.clips[place]
        # Flow has one frame fewer than the clip has; the last frame is left out for RGB too, so that both
        # streams, alone or together, see the same windows.
        window = self._window(max(1, clip.frames - 1), rng)
        view = self._view(clip, rng)
        sample: dict[str, Any] = {"label": torch.tensor(self.clip_set.label_index(clip))}
        for modality in self.modalities:
            if modality == "rgb" and not self._decodes_rgb:
                frames = frames_of(window, modality, n_frames=clip.frames)
                sample["rgb_view"] = self._frame_view(clip, frames, view)
            else:
                sample[modality] = self._tensor(clip, modality, window, view)
        for name, onlooker in self._onlookers.items():
            sample[name] = onlooker._beside(clip, window, view, seen_by=self)
        sample |= {name: rows[place] for name, rows in self._answers.items()}
        return cast(Sample, sample)

    def _tensor(self, clip: Clip, modality: Modality, window: Indices, view: transforms.View) -> torch.Tensor:
        frames = frames_of(window, modality, n_frames=clip.frames)
        flow_frames = flow_frames_of(window, modality, n_frames=clip.frames, flow_frames=self.geometry.flow_frames)
        cuts = self._read(clip, "rgb", frames, view), self._read(clip, "flow", flow_frames, view)
        return transforms.to_tensor(assemble(*cuts, modality))

    def _beside(self, clip: Clip, window: Indices, view: transforms.View, *, seen_by: ClipDataset) -> torch.Tensor:
        """What this onlooker sees where another data set shows ``window`` and ``view``."""
        geometry, (modality,) = self.geometry, self.modalities
        seen = window.reshape(max(1, seen_by.geometry.segments), -1)
        own_window = window_beside(seen, max(1, clip.frames - 1), geometry.spec, geometry.segments).reshape(-1)
        frames = seen_by._size_of(clip), self._size_of(clip)
        return self._tensor(clip, modality, own_window, view_beside(view, *frames, geometry.crop))

    def _frame_view(self, clip: Clip, frames: Indices, view: transforms.View) -> FrameView:
        path, indices = self.clip_set.locate(clip), tuple(frames.tolist())
        return FrameView(path, clip.frames, clip.height, clip.width, indices, self.geometry.short_side, view)

    def _window(self, time_steps: int, rng: np.random.Generator | None) -> Indices:
        """Moments of a sample [T], of one window or of all snippets."""
        spec, segments = self.geometry.spec, self.geometry.segments
        if rng and self.geometry.stride_frames_max > spec.stride_frames:
            stride = int(rng.integers(spec.stride_frames, self.geometry.stride_frames_max + 1))
            spec = replace(spec, stride_frames=stride)
        if segments:
            chosen = (
                random_snippets(time_steps, spec, segments, rng) if rng else middle_snippets(time_steps, spec, segments)
            )
        else:
            chosen = random_clip(time_steps, spec, rng) if rng else centre_clip(time_steps, spec)
        return chosen.reshape(-1)  # [K, L] → [K·L]

    def _common_size(self, stored: Iterable[Size]) -> Size:
        """Height and width that all sources of a clip have after resizing, from their stored sizes.

        Flow stored smaller than the clip may come out a pixel longer or shorter: the view lies in both.
        """
        sizes = [transforms.resized_to(*size, self.geometry.short_side) for size in stored]
        return min(height for height, _ in sizes), min(width for _, width in sizes)

    def _size_of(self, clip: Clip) -> Size:
        return self._common_size(self._stored_size(clip, source) for source in self._sources())

    def _sources(self) -> list[StoredPart]:
        return [source for source, reads in _READS.items() if any(map(reads, self.modalities))]

    def _stored_size(self, clip: Clip, source: StoredPart) -> Size:
        if source == "rgb":
            return clip.height, clip.width
        assert self.flow_set is not None  # checked once, in __init__
        entry = self.flow_set.entries[clip.clip_id]
        return entry.height, entry.width

    def _stored_sizes(self) -> set[tuple[Size, ...]]:
        """The different sizes of the clips' sources."""
        sides = [self._stored_sides(source, name) for source in self._sources() for name in ("height", "width")]
        different = set(zip(*(column.tolist() for column in sides), strict=True))
        return {tuple(zip(row[::2], row[1::2], strict=True)) for row in different}

    def _stored_sides(self, source: StoredPart, name: str) -> NDArray[np.integer[Any]]:
        if source == "rgb":
            return whole_numbers(self.clips, name)
        assert self.flow_set is not None  # checked once, in __init__
        return values_of(self.flow_set.entries, self.clips, name, missing=0)

    def _view(self, clip: Clip, rng: np.random.Generator | None) -> transforms.View:
        size, jitter = self.geometry.crop, self.geometry.jitter
        if self.geometry.fit == "squash":
            flip = bool(rng and self.may_flip and rng.random() < 0.5)
            return transforms.View(0, 0, size, flip, squash=True)
        height, width = self._size_of(clip)
        if rng is None:
            return transforms.centre_view(height, width, size)
        if jitter:
            return jittered_view(height, width, size, jitter, may_flip=self.may_flip, rng=rng)
        return transforms.random_view(height, width, size, may_flip=self.may_flip, rng=rng)

    def _read(self, clip: Clip, source: StoredPart, indices: Indices, view: transforms.View) -> Pixels:
        """What the view shows of frames or flow frames [T,S,S,·]; an array without rows where there are no indices."""
        if not len(indices):
            return np.zeros((0, 0, 0, 0), dtype=np.uint8)
        whole = self._cache.get(clip.clip_id, source)
        if whole is None and self._cache.has_room(_decoded_bytes(clip, channels=2 if source == "flow" else 3)):
            whole = self._decode(clip, source)
            self._cache.put(clip.clip_id, source, whole)
        if whole is not None:
            return self._seen(whole[indices], clip, source, view)
        # Cut as it is decoded, so that no whole frame is kept.
        return self._decode(clip, source, indices, lambda image: self._seen(image[None], clip, source, view)[0])

    def _seen(self, frames: Pixels, clip: Clip, source: StoredPart, view: transforms.View) -> Pixels:
        stored = self._stored_size(clip, source)
        if source == "rgb":  # a picture may change its size within a file, whose first one the index has
            frames = transforms.resize(frames, *stored)
        elif frames.shape[1:3] != stored:
            raise KineflowError(
                f"frames of {frames.shape[2]}x{frames.shape[1]} px, where the index says {stored[1]}x{stored[0]}",
                where=f"{source} of {clip.clip_id}",
                remedy="run ingest and extract_flow again",
            )
        return transforms.shown(frames, view, self.geometry.short_side, is_flow=source == "flow")

    def _decode(
        self,
        clip: Clip,
        source: StoredPart,
        indices: Indices | None = None,
        each: Callable[[Pixels], Pixels] | None = None,
    ) -> Pixels:
        wanted = None if indices is None else indices.tolist()
        if source == "rgb":
            return read_frames(self.clip_set.locate(clip), wanted, each=each)
        assert self.flow_set is not None  # checked once, in __init__
        return read_flow(self.flow_set.locate(clip.clip_id), wanted, each=each)


class _DecodedClips:
    """Whole decoded clips, first come first kept, within a budget of bytes."""

    def __init__(self, budget: int) -> None:
        self.budget = self._left = budget
        self._clips: dict[tuple[str, str], transforms.Frames] = {}

    def empty(self) -> _DecodedClips:
        """Another of the same budget, without clips."""
        return _DecodedClips(self.budget)

    def get(self, clip_id: str, source: StoredPart) -> transforms.Frames | None:
        return self._clips.get((clip_id, source))

    def has_room(self, size: int) -> bool:
        return size <= self._left

    def put(self, clip_id: str, source: StoredPart, frames: transforms.Frames) -> None:
        self._clips[clip_id, source] = frames
        self._left -= frames.nbytes


def _decoded_bytes(clip: Clip, *, channels: int) -> int:
    return clip.frames * clip.height * clip.width * channels


def _require_flow(flow_set: FlowSet | None, clips: Sequence[Clip]) -> None:
    if flow_set is None:
        raise KineflowError("a flow stream needs a flow set", remedy="pass the output of the extract_flow step")
    if missing := flow_set.lacking(clips):
        raise KineflowError(
            f"no flow for {len(missing)} clips, the first of them {', '.join(missing[:5])}",
            remedy="run extract_flow on this clip set again",
        )
