"""One map of attention for every frame of a video, and what the model takes the video for.

The model runs over consecutive windows of T steps; the last one ends with the video and may overlap with the one before
it, whose maps count where both have one (its states have seen more)::

    time steps  0 1 2 3 4 5 6 7 8 9      T = 4
    windows     0 1 2 3
                        4 5 6 7
                            6 7 8 9      gives the maps of 8 and 9

A video of n frames has n - 1 time steps (:mod:`kineflow.spec.modality`); its last frame has the map of the last one.
With a stride of s, every s-th time step has a map, which is also that of the frames until the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from kineflow.data.windows import WindowViews, needed_of, window_views
from kineflow.models.card import ModelCard
from kineflow.models.frame_networks import FrameNetwork, tap_of
from kineflow.models.network import VideoNetwork
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import read_flow
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.arrays import Indices
from kineflow.spec.modality import reads_flow
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.sampling import ClipSpec, windows_at
from kineflow.storage.errors import KineflowError
from kineflow.storage.progress import track
from kineflow.video.decode import read_frames

_REMEDY = "localise with networks that attend over maps of frames, such as conv_alstm and videolstm"


class SeenRegion(NamedTuple):
    """The part of the stored frame that a network sees, and that its map lies over, pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class Watched:
    """A video as a model saw it.

    Attributes:
        clip: Which.
        attention: Of every frame, float32 [n, h, w], each of sum 1.
        part: Where in the frame the maps lie.
        probabilities: Of the classes, mean over the windows, float64 [K].
    """

    clip: Clip
    attention: npt.NDArray[np.float32]
    part: SeenRegion
    probabilities: npt.NDArray[np.float64]


def watch_clips(
    network: VideoNetwork,
    card: ModelCard,
    clips: Sequence[Clip],
    clip_set: ClipSet,
    flow_set: FlowSet | None,
    *,
    batch_size: int = 8,
    workers: int = 0,
    device: torch.device | str = "cpu",
) -> Iterator[Watched]:
    """Run a model over whole videos and keep where it looked.

    Args:
        network: With attention over maps; moved to ``device`` and set to evaluation mode.
        card: Its preprocessing.
        clips: Of ``clip_set``.
        clip_set: Where their frames are.
        flow_set: Needed by models that take flow.
        batch_size: Windows a forward pass; those of one video share a pass.
        workers: Decoding processes beside this one.
        device: Where the network runs.

    Raises:
        KineflowError: The network has no attention, or flow is missing.
    """
    check_watchable(card, flow_set)
    assert isinstance(network, FrameNetwork)
    parts = _Parts(clips, clip_set, flow_set, card.preprocessing, batch_size)
    loader: DataLoader[WindowViews] = DataLoader(parts, batch_size=None, num_workers=workers)
    network.to(device).eval()
    maps: list[npt.NDArray[np.float32]] = []
    probabilities: list[npt.NDArray[np.float64]] = []
    batches = track(iter(loader), total=len(parts), what=f"watch {card.name}", unit="part")
    for number, windows in enumerate(batches):
        looked = _look(network, windows.to(device).inputs())
        if looked is None:
            raise _without_attention(card)
        maps.append(looked[0])
        probabilities.append(looked[1])
        clip = parts.ends_at(number)
        if clip is not None:
            every_map = np.concatenate(maps)[_step_of_frame(parts.windows_of(clip), clip.frames)]
            scores = np.concatenate(probabilities).mean(axis=0)
            yield Watched(clip, _shares(every_map), part_seen(clip, card.preprocessing), scores)
            maps, probabilities = [], []


def check_watchable(card: ModelCard, flow_set: FlowSet | None) -> None:
    """See what can be seen of a model's card alone, before anything is run.

    Raises:
        KineflowError: It is no trained frame network, or needs flow and there is none.
    """
    try:
        tap_of(card.architecture)
    except KineflowError:
        raise _without_attention(card) from None
    if not card.classes:
        raise KineflowError(
            "initial weights know no classes", where=f"model {card.name!r}", remedy="localise with a trained model"
        )
    if reads_flow(card.preprocessing.modality) and flow_set is None:
        raise KineflowError(
            "the model takes flow, and no flow set was given",
            where=f"model {card.name!r}",
            remedy="pass the output of the extract_flow step",
        )


def part_seen(clip: Clip, preprocessing: Preprocessing) -> SeenRegion:
    """What of a clip's frame the network's square covers."""
    if preprocessing.fit == "squash":
        return SeenRegion(0, 0, clip.width, clip.height)
    side = round(min(clip.width, clip.height) * preprocessing.crop / preprocessing.short_side)
    return SeenRegion((clip.width - side) // 2, (clip.height - side) // 2, side, side)


def consecutive_windows(n_time_steps: int, spec: ClipSpec) -> Indices:
    """Windows [V,T] that cover every ``stride_frames``-th time step, as in the module's picture."""
    n_sampled = -(-n_time_steps // spec.stride_frames)
    starts = np.minimum(np.arange(0, n_sampled, spec.frames), max(0, n_sampled - spec.frames)) * spec.stride_frames
    return windows_at(n_time_steps, spec, starts)


class _Parts(Dataset[WindowViews]):
    """The windows of the clips, a batch of one clip's at a time."""

    def __init__(
        self,
        clips: Sequence[Clip],
        clip_set: ClipSet,
        flow_set: FlowSet | None,
        preprocessing: Preprocessing,
        batch_size: int,
    ) -> None:
        self.clip_set, self.flow_set, self.preprocessing = clip_set, flow_set, preprocessing
        self.parts = [(clip, windows) for clip in clips for windows in _batches(self.windows_of(clip), batch_size)]

    def windows_of(self, clip: Clip) -> Indices:
        """All windows of a clip, [V,T]."""
        wanted = self.preprocessing
        spec = ClipSpec(wanted.frames, wanted.stride_frames, wanted.short)
        return consecutive_windows(max(1, clip.frames - 1), spec)

    def ends_at(self, number: int) -> Clip | None:
        """The clip whose last part this is, if it is one."""
        clip = self.parts[number][0]
        last = number + 1 == len(self.parts) or self.parts[number + 1][0] is not clip
        return clip if last else None

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, number: int) -> WindowViews:
        clip, windows = self.parts[number]
        needed = needed_of(windows, self.preprocessing, n_frames=clip.frames)
        frames = read_frames(self.clip_set.locate(clip), needed.frames.tolist()) if len(needed.frames) else None
        flow_frames = None
        if len(needed.flow_frames):
            assert self.flow_set is not None  # checked before the first clip is read
            flow_frames = read_flow(self.flow_set.locate(clip.clip_id), needed.flow_frames.tolist())
        return window_views(windows, needed, frames, flow_frames, self.preprocessing, n_frames=clip.frames)


def _batches(windows: Indices, batch_size: int) -> list[Indices]:
    return np.split(windows, range(batch_size, len(windows), batch_size))


@torch.inference_mode()
def _look(network: FrameNetwork, windows: Tensor) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]] | None:
    """Maps [V·T, h, w] of all steps, and class probabilities [V, K]; None without attention over maps."""
    hidden, attention = network.sequence.unroll(*network.frame_features(windows))
    if attention is None or attention.ndim != 4:
        return None
    scores = network.forward_head(hidden.transpose(1, 2)).double()
    probabilities = scores.sigmoid() if network.sequence.multi_label else scores.softmax(dim=1)
    return attention.float().flatten(0, 1).cpu().numpy(), probabilities.cpu().numpy()


def _step_of_frame(windows: Indices, n_frames: int) -> Indices:
    """Which step of the windows [V,T], counted through, each frame has its map from."""
    time_steps, first = np.unique(windows.reshape(-1), return_index=True)
    steps: Indices = first[np.searchsorted(time_steps, np.arange(n_frames), side="right") - 1]
    return steps


def _shares(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Each map of [n, h, w] scaled to a sum of 1: sigmoid attention and rescaled attention have others."""
    shares: npt.NDArray[np.float32] = maps / maps.sum(axis=(1, 2), keepdims=True)
    return shares


def _without_attention(card: ModelCard) -> KineflowError:
    return KineflowError(
        f"a network {card.architecture!r} has no attention over frames", where=f"model {card.name!r}", remedy=_REMEDY
    )
