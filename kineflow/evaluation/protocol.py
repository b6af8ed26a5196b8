"""The multi-clip test protocol: every video is seen in several views, whose scores are averaged.

For each usable clip of a split: windows laid out over the video (:func:`kineflow.spec.sampling.clips_laid_out`), the
centre crop of each or more (:func:`kineflow.data.crops.fixed_views`), which are its views; of each the network's
softmax, and the mean of these. What is stored is the logarithm of that mean, so that the softmax of the stored scores
is exactly the averaged probability, and so that fusion on ``softmax`` averages probabilities over views and models
alike. By ``majority`` (ALSTM's released code) each view votes for its best class instead, and the shares of the votes
stand in for the mean (:mod:`kineflow.evaluation.view_aggregation`).

A recurrent network over frames (:class:`~kineflow.models.frame_networks.FrameNetwork`) has its backbone look at each
frame of a video once, however many windows the frame is in.

A network of snippets (TSN; its preprocessing has ``segments``) is asked about one snippet a window, and its scores are
averaged *before* the softmax, over crops and snippets, whatever its consensus was in training: so its authors test it,
with 25 snippets and 10 crops.

A video of n frames has n - 1 flow frames. Windows are laid over the first n - 1 positions for RGB too: all
streams are asked about the same time steps, and the comparison between them is fair.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from kineflow.data.crops import Crops
from kineflow.data.windows import WindowViews, needed_of, window_views
from kineflow.evaluation.frame_by_frame import logits_frame_by_frame
from kineflow.evaluation.scores import Scores
from kineflow.evaluation.view_aggregation import aggregate_views
from kineflow.evaluation.view_protocol import ViewAggregation
from kineflow.models.card import ModelCard
from kineflow.models.frame_networks import FrameNetwork
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import read_flow
from kineflow.sets.flow_set import FlowSet
from kineflow.sets.indexed import MissingMediaError
from kineflow.sets.rows import distinct
from kineflow.spec.arrays import Indices
from kineflow.spec.modality import reads_flow
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.sampling import ClipSpec, WindowLayout, clips_laid_out, covering_clips
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.progress import track
from kineflow.storage.ranges import StorageError
from kineflow.video.decode import read_frames


def score_clips(
    network: nn.Module,
    card: ModelCard,
    clip_set: ClipSet,
    flow_set: FlowSet | None,
    split: Split,
    *,
    clips_per_video: int,
    batch_size: int,
    crops: Crops = 1,
    layout: WindowLayout = "even",
    view_aggregation: ViewAggregation = "average",
    device: torch.device | str = "cpu",
    workers: int = 0,
) -> Scores:
    """Score every usable clip of a split.

    Args:
        network: Takes float32 ``[B, C, T, crop, crop]``, gives logits ``[B, K]``; is moved to ``device`` and set to
            evaluation mode.
        card: Its name, classes and preprocessing.
        clip_set: The clips; their labels are matched to the card's classes by name.
        flow_set: Needed by a network whose modality holds flow.
        split: Which clips.
        clips_per_video: Windows a video, at least 1.
        batch_size: Views a forward pass, at least 1; those of several videos share a pass.
        crops: Of each window, see :func:`kineflow.data.crops.fixed_views`.
        layout: Of the windows; ``dense`` is for frame networks.
        view_aggregation: See :func:`kineflow.evaluation.view_aggregation.aggregate_views`.
        device: Where the network runs.
        workers: Processes that decode beside this one; 0 decodes in this one. Makes no difference to the scores.

    Returns:
        Logarithms of averaged probabilities (or shares of votes), or averaged scores; clips in the order of the clip
        set.

    Raises:
        KineflowError: The split has no usable clip, a label is no class of the model, or flow is missing.
    """
    clips = clip_set.usable(split)
    check_clips(card, clips, split)
    _check_flow(card, clips, flow_set)
    read = _Reader(clip_set, flow_set, card.preprocessing)
    spec = ClipSpec(card.preprocessing.frames, card.preprocessing.stride_frames, card.preprocessing.short)
    laid_out = [clips_laid_out(max(1, clip.frames - 1), spec, clips_per_video, layout) for clip in clips]
    # In a short video windows repeat, and so would their logits.
    windows, repeats = zip(*(_distinct(of_video) for of_video in laid_out), strict=True)
    network.to(device).eval()
    if isinstance(network, FrameNetwork):
        per_video = logits_frame_by_frame(
            network, clips, windows, read, crops=crops, batch_size=batch_size, device=device, workers=workers
        )
    elif layout == "dense":
        raise KineflowError(
            "windows from every frame on are for networks that look at frames one by one",
            where=f"model {card.name!r}",
            remedy="set windows to even, spread or covering",
        )
    else:
        per_video = _outputs(network, _Windows(clips, windows, read, crops), batch_size, device, workers)
    rows: list[Tensor] = []
    with torch.inference_mode():
        tracked = track(per_video, total=len(clips), what=f"score {card.name}")
        for distinct, places in zip(tracked, repeats, strict=True):
            every = distinct.view(places.max() + 1, -1, distinct.shape[1])[places].flatten(0, 1)  # [V·crops, K]
            before_softmax = card.preprocessing.segments > 0
            rows.append(aggregate_views(every[None], how=view_aggregation, before_softmax=before_softmax)[0])
    return dataclasses.replace(unscored(card, clips, split), logits=torch.stack(rows).numpy().astype(np.float32))


def describe_clips(
    network: nn.Module,
    card: ModelCard,
    clip_set: ClipSet,
    flow_set: FlowSet | None,
    clips: Sequence[Clip],
    *,
    windows: int,
    batch_size: int,
    device: torch.device | str = "cpu",
    workers: int = 0,
) -> Iterator[Tensor | str]:
    """What a network gives for the windows that cover each clip, float32 [V, D]; of a short clip they are fewer.

    In the place of a clip that cannot be read it is the reason why.

    Args:
        network: Takes float32 ``[B, C, T, crop, crop]``; is moved to ``device`` and set to evaluation mode.
        card: Its preprocessing.
        clip_set: Where the clips lie.
        flow_set: Needed by a network whose modality holds flow.
        clips: In the order in which they are given back.
        windows: Of a clip, at most; see :func:`kineflow.spec.sampling.covering_clips`.
        batch_size: Windows a forward pass.
        device: Where the network runs.
        workers: Processes that decode beside this one.

    Raises:
        KineflowError: Flow is missing, or the store fails that holds the clips.
    """
    if not clips:
        return
    _check_flow(card, clips, flow_set)
    spec = ClipSpec(card.preprocessing.frames, card.preprocessing.stride_frames, card.preprocessing.short)
    laid_out = [covering_clips(max(1, clip.frames - 1), spec, windows) for clip in clips]
    network.to(device).eval()
    read = _Reader(clip_set, flow_set, card.preprocessing)
    with torch.inference_mode():
        videos = _Windows(clips, laid_out, read, 1)
        for loaded in _loaded(_Readable(videos), _videos_per_load(videos, batch_size), workers):
            readable = [video for video in loaded if isinstance(video, WindowViews)]
            outputs = iter(_forward(network, readable, batch_size, device) if readable else ())
            for video in loaded:
                yield next(outputs) if isinstance(video, WindowViews) else video


def unscored(card: ModelCard, clips: Sequence[Clip], split: Split) -> Scores:
    """What is known of the scores of ``clips`` before a network is asked: all but the scores, which are 0."""
    index = {name: number for number, name in enumerate(card.classes)}
    return Scores(
        model=card.name,
        clip_ids=tuple(clip.clip_id for clip in clips),
        labels=np.array([-1 if clip.label is None else index[clip.label] for clip in clips], dtype=np.int64),
        classes=card.classes,
        logits=np.zeros((len(clips), len(card.classes)), dtype=np.float32),
        split=split.value,
    )


class _Reader:
    """Reads what windows of a clip need, each frame and flow frame once."""

    def __init__(self, clip_set: ClipSet, flow_set: FlowSet | None, wanted: Preprocessing) -> None:
        self.clip_set, self.flow_set, self.wanted = clip_set, flow_set, wanted

    def __call__(self, clip: Clip, windows: Indices, crops: Crops) -> WindowViews:
        """The views of windows [V,T] of time steps."""
        needed = needed_of(windows, self.wanted, n_frames=clip.frames)
        frames = read_frames(self.clip_set.locate(clip), needed.frames.tolist()) if len(needed.frames) else None
        flow_frames = None
        if len(needed.flow_frames):
            assert self.flow_set is not None  # checked before the first clip is read
            flow_frames = read_flow(self.flow_set.locate(clip.clip_id), needed.flow_frames.tolist())
        return window_views(windows, needed, frames, flow_frames, self.wanted, n_frames=clip.frames, crops=crops)


class _Windows(Dataset[WindowViews]):
    """The windows of each video in all crops, each video decoded once."""

    def __init__(self, clips: Sequence[Clip], windows: Sequence[Indices], read: _Reader, crops: Crops) -> None:
        self.clips, self.windows, self.read, self.crops = clips, windows, read, crops

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: int) -> WindowViews:
        return self.read(self.clips[item], self.windows[item], self.crops)


class _Readable(Dataset[WindowViews | str]):
    """The same, and where a video cannot be read the reason why."""

    def __init__(self, windows: _Windows) -> None:
        self.windows = windows

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, item: int) -> WindowViews | str:
        try:
            return self.windows[item]
        except (StorageError, MissingMediaError):
            raise
        except KineflowError as error:
            return error.problem


def _distinct(windows: Indices) -> tuple[Indices, Indices]:
    """Windows [V,T] without repeats, and where each is among them, [V]."""
    distinct, places = np.unique(windows, axis=0, return_inverse=True)
    return distinct, places.reshape(-1)


def _outputs(
    network: nn.Module, windows: _Windows, batch_size: int, device: torch.device | str, workers: int
) -> Iterator[Tensor]:
    """What the network gives for each video, [V·crops, K]; several share a pass, except as whole frames of any size."""
    for videos in _loaded(windows, _videos_per_load(windows, batch_size), workers):
        yield from _forward(network, videos, batch_size, device)


def _videos_per_load(windows: _Windows, batch_size: int) -> int:
    if windows.crops == "whole":
        return 1
    return math.ceil(batch_size / (max(map(len, windows.windows)) * windows.crops))


def _loaded(videos: Dataset[Any], at_once: int, workers: int) -> Iterable[list[Any]]:
    loader: DataLoader[Any] = DataLoader(videos, batch_size=at_once, num_workers=workers, collate_fn=list)
    return loader


def _forward(
    network: nn.Module, videos: Sequence[WindowViews], batch_size: int, device: torch.device | str
) -> Sequence[Tensor]:
    parts = _batches([video.to(device) for video in videos], batch_size)
    logits = torch.cat([network(part).float().cpu() for part in parts])
    return torch.split(logits, [len(video) for video in videos])


def _batches(videos: Sequence[WindowViews], batch_size: int) -> Iterator[Tensor]:
    """Network inputs of all views, ``batch_size`` at once; those of several videos share a batch."""
    batch: list[Tensor] = []
    room = batch_size
    for video in videos:
        first = 0
        while first < len(video):
            batch.append(video.inputs(first, first + room))
            first, room = first + len(batch[-1]), room - len(batch[-1])
            if not room:
                yield _joined(batch)
                batch, room = [], batch_size
    if batch:
        yield _joined(batch)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def check_clips(card: ModelCard, clips: Sequence[Clip], split: Split) -> None:
    """Check that there are clips, of classes that the model knows.

    Raises:
        KineflowError: There are none, or a label is no class of the model.
    """
    if not clips:
        raise KineflowError(
            f"the clip set has no usable clip in the split {split.value!r}", remedy="choose another split to evaluate"
        )
    unknown = sorted(distinct(clips, "label") - {None, *card.classes})
    if unknown:
        raise KineflowError(
            f"{len(unknown)} labels of the clips are no classes of the model, the first of them {unknown[0]!r}",
            where=f"model {card.name!r}",
            remedy="evaluate the model on clips of the classes that it was trained for",
        )


def _check_flow(card: ModelCard, clips: Sequence[Clip], flow_set: FlowSet | None) -> None:
    if not reads_flow(card.preprocessing.modality):
        return
    if flow_set is None:
        raise KineflowError(
            "the model takes flow, and no flow set was given",
            where=f"model {card.name!r}",
            remedy="pass the output of the extract_flow step",
        )
    if missing := flow_set.lacking(clips):
        raise KineflowError(
            f"no flow for {len(missing)} of {len(clips)} clips, the first of them {missing[0]!r}",
            where=f"model {card.name!r}",
            remedy="run the extract_flow step on this clip set again",
        )
