"""The multi-clip test protocol: every video is seen through several windows, and the network's answers are averaged.

For each usable clip of a split: windows spread evenly over the video (:func:`kineflow.data.sampling.uniform_clips`),
the centre crop of each or more (:func:`kineflow.data.crops.fixed_views`), the network's softmax, and the mean of the
softmax over all of them. What is stored is the logarithm of that mean, so that the softmax of the stored scores is
exactly the averaged probability, and so that fusion on ``softmax`` averages probabilities over windows and models
alike.

A network of snippets (TSN; its preprocessing has ``segments``) is asked about one snippet a window, and its scores are
averaged *before* the softmax, over crops and snippets, whatever its consensus was in training: so its authors test it,
with 25 snippets and 10 crops.

A video of n frames has n - 1 flow fields. Windows are laid over the first n - 1 positions for RGB too: all
streams are asked about the same moments, and the comparison between them is fair.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from kineflow.data.crops import CropCount
from kineflow.data.manifest import Clip, ClipSet, Split, Status
from kineflow.data.modality import reads_flow
from kineflow.data.sampling import ClipSpec, uniform_clips
from kineflow.errors import KineflowError
from kineflow.evaluation.scores import Scores
from kineflow.evaluation.windows import needed_frames, prepare_windows
from kineflow.flow.store import FlowSet, read_flow
from kineflow.models.bundle import ModelCard, Preprocessing
from kineflow.progress import track
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
    crops: CropCount = 1,
    device: torch.device | str = "cpu",
    workers: int = 0,
) -> Scores:
    """Score every usable clip of a split.

    Args:
        network: Takes float32 ``[B, C, T, crop, crop]``, gives logits ``[B, K]``; is moved to ``device`` and set to
            evaluation mode.
        card: Its name, classes and preprocessing.
        clip_set: The clips; their labels are matched to the card's classes by name.
        flow_set: Needed by a network whose modality is flow, or warped flow.
        split: Which clips.
        clips_per_video: Windows a video, at least 1.
        batch_size: Crops of windows a forward pass, at least 1; those of several videos share a pass.
        crops: Of each window: the centre, with 5 the corners as well, with 10 all of them mirrored too.
        device: Where the network runs.
        workers: Processes that decode beside this one; 0 decodes in this one. Makes no difference to the scores.

    Returns:
        Logarithms of averaged probabilities, or averaged scores; clips in the order of the clip set.

    Raises:
        KineflowError: The split has no usable clip, a label is no class of the model, or flow is missing.
    """
    clips = clip_set.usable(split)
    _check(card, clips, flow_set, split)
    windows = _Windows(clips, clip_set, flow_set, card.preprocessing, clips_per_video, crops)
    videos_per_load = math.ceil(batch_size / (clips_per_video * crops))
    loader: DataLoader[Tensor] = DataLoader(windows, batch_size=videos_per_load, num_workers=workers)
    network.to(device).eval()
    rows: list[Tensor] = []
    with torch.inference_mode():
        scored = _scored(network, loader, batch_size, device, before_softmax=card.preprocessing.segments > 0)
        for row in track(scored, total=len(clips), what=f"score {card.name}"):
            rows.append(row)
    index = {name: place for place, name in enumerate(card.classes)}
    return Scores(
        model=card.name,
        clip_ids=tuple(clip.clip_id for clip in clips),
        labels=np.array([-1 if clip.label is None else index[clip.label] for clip in clips], dtype=np.int64),
        classes=card.classes,
        logits=torch.stack(rows).numpy().astype(np.float32),
        split=split.value,
    )


class _Windows(Dataset[Tensor]):
    """The windows of each video in all crops, float32 [V, crops, C, T, crop, crop], each video decoded once."""

    def __init__(
        self,
        clips: Sequence[Clip],
        clip_set: ClipSet,
        flow_set: FlowSet | None,
        wanted: Preprocessing,
        windows: int,
        crops: CropCount,
    ) -> None:
        self.clips, self.clip_set, self.flow_set = clips, clip_set, flow_set
        self.wanted, self.windows, self.crops = wanted, windows, crops

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: int) -> Tensor:
        clip = self.clips[item]
        spec = ClipSpec(self.wanted.frames, self.wanted.stride_frames)
        indices = uniform_clips(max(1, clip.frames - 1), spec, self.windows)  # [V, T]
        needed, places = needed_frames(indices, self.wanted, n_frames=clip.frames)
        if reads_flow(self.wanted.modality):
            assert self.flow_set is not None  # checked before the first clip is read
            frames = read_flow(self.flow_set.locate(clip.clip_id), needed.tolist())
        else:
            frames = read_frames(self.clip_set.locate(clip), needed.tolist())
        return prepare_windows(frames, places, self.windows, self.wanted, crops=self.crops)


def _scored(
    network: nn.Module,
    loader: DataLoader[Tensor],
    batch_size: int,
    device: torch.device | str,
    *,
    before_softmax: bool,
) -> Iterator[Tensor]:
    """Mean score over windows and crops, or log of the mean softmax, [K] for each video."""
    for videos in loader:  # [N, V, crops, C, T, crop, crop]
        windows = videos.flatten(0, 2)
        answers = torch.cat([network(part.to(device)).float().cpu() for part in windows.split(batch_size)])
        scores = answers.view(len(videos), -1, answers.shape[1])  # [N, V·crops, K]
        if before_softmax:
            yield from scores.mean(dim=1)
        else:
            yield from scores.log_softmax(dim=2).logsumexp(dim=1) - math.log(scores.shape[1])


def _check(card: ModelCard, clips: Sequence[Clip], flow_set: FlowSet | None, split: Split) -> None:
    if not clips:
        raise KineflowError(
            f"the clip set has no usable clip in the split {split.value!r}", remedy="choose another split to evaluate"
        )
    unknown = sorted({clip.label for clip in clips if clip.label is not None} - set(card.classes))
    if unknown:
        raise KineflowError(
            f"{len(unknown)} labels of the clips are no classes of the model, the first of them {unknown[0]!r}",
            where=f"model {card.name!r}",
            remedy="evaluate the model on clips of the classes that it was trained for",
        )
    if not reads_flow(card.preprocessing.modality):
        return
    if flow_set is None:
        raise KineflowError(
            "the model takes flow, and no flow set was given",
            where=f"model {card.name!r}",
            remedy="pass the output of the extract_flow step",
        )
    usable = {clip_id for clip_id, entry in flow_set.entries.items() if entry.status is Status.OK}
    missing = [clip.clip_id for clip in clips if clip.clip_id not in usable]
    if missing:
        raise KineflowError(
            f"no flow for {len(missing)} of {len(clips)} clips, the first of them {missing[0]!r}",
            where=f"model {card.name!r}",
            remedy="run the extract_flow step on this clip set again",
        )
