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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kineflow.data.crops import Crops
from kineflow.data.windows import WindowViews
from kineflow.evaluation.frame_by_frame import logits_frame_by_frame
from kineflow.evaluation.scores import Scores
from kineflow.evaluation.view_aggregation import aggregate_views
from kineflow.evaluation.view_protocol import ViewAggregation
from kineflow.evaluation.view_stream import Part, ViewReader
from kineflow.evaluation.window_by_window import ask_of_windows, logits_window_by_window
from kineflow.models.card import ModelCard
from kineflow.models.frame_networks import FrameNetwork
from kineflow.models.freed_memory import keep_freed_memory
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_set import FlowSet
from kineflow.sets.indexed import MissingMediaError
from kineflow.sets.rows import distinct
from kineflow.spec.arrays import Indices
from kineflow.spec.classes import several_classes
from kineflow.spec.modality import reads_flow
from kineflow.spec.sampling import ClipSpec, WindowLayout, clips_laid_out, covering_clips
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.progress import track
from kineflow.storage.ranges import StorageError


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
        batch_size: Views a forward pass, at most, at least 1; those of several videos share a pass.
        crops: Of each window, see :func:`kineflow.data.crops.fixed_views`.
        layout: Of the windows; ``dense`` is for frame networks.
        view_aggregation: See :func:`kineflow.evaluation.view_aggregation.aggregate_views`.
        device: Where the network runs.
        workers: Processes that decode beside this one, at most; 0 decodes in this one. Makes no difference to the
            scores, and memory is bounded (:mod:`kineflow.evaluation.view_stream`).

    Returns:
        Logarithms of averaged probabilities (or shares of votes), or averaged scores; clips in the order of the clip
        set.

    Raises:
        KineflowError: The split has no usable clip, a label is no class of the model, or flow is missing.
    """
    clips = clip_set.usable(split)
    check_clips(card, clips, split)
    _check_flow(card, clips, flow_set)
    if layout == "dense" and not isinstance(network, FrameNetwork):
        raise KineflowError(
            "windows from every frame on are for networks that look at frames one by one",
            where=f"model {card.name!r}",
            remedy="set windows to even, spread or covering",
        )
    spec = ClipSpec(card.preprocessing.frames, card.preprocessing.stride_frames, card.preprocessing.short)
    read = ViewReader(clip_set, flow_set, card.preprocessing, crops)

    def laid_out(clip: Clip) -> Indices:
        return clips_laid_out(max(1, clip.frames - 1), spec, clips_per_video, layout)

    def distinct(clip: Clip) -> Indices:
        # In a short video windows repeat, and so would their logits.
        return np.unique(laid_out(clip), axis=0)

    keep_freed_memory()
    network.to(device).eval()
    asked: dict[str, Any] = {"batch_size": batch_size, "device": device, "workers": workers}
    if isinstance(network, FrameNetwork):
        per_video = logits_frame_by_frame(network, clips, distinct, read, **asked)
    else:
        per_video = logits_window_by_window(network, clips, distinct, read, **asked)
    aggregation: dict[str, Any] = {
        "how": view_aggregation,
        "before_softmax": card.preprocessing.segments > 0,
        "multi_label": card.multi_label,
    }
    rows: list[Tensor] = []
    with torch.inference_mode():
        tracked = track(per_video, total=len(clips), what=f"score {card.name}")
        for clip, logits in zip(clips, tracked, strict=True):
            _, places = np.unique(laid_out(clip), axis=0, return_inverse=True)
            places = places.reshape(-1)
            every = logits.view(places.max() + 1, -1, logits.shape[1])[places].flatten(0, 1)  # [V·crops, K]
            rows.append(aggregate_views(every[None], **aggregation)[0])
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
    read = ViewReader(clip_set, flow_set, card.preprocessing)
    keep_freed_memory()
    network.to(device).eval()
    with torch.inference_mode():
        yield from ask_of_windows(
            network,
            clips,
            lambda clip: covering_clips(max(1, clip.frames - 1), spec, windows),
            read,
            prepare=_Readable(read),
            batch_size=batch_size,
            device=device,
            workers=workers,
        )


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
        truth=_truth(card, clips),
    )


def _truth(card: ModelCard, clips: Sequence[Clip]) -> NDArray[np.bool_] | None:
    """The classes of each clip, bool [N,K], for a model that tells several."""
    if not card.multi_label:
        return None
    return np.array([[name in clip.labels for name in card.classes] for clip in clips], dtype=np.bool_)


@dataclass(frozen=True)
class _Readable:
    """The views of a part, and where its video cannot be read the reason why."""

    read: ViewReader

    def __call__(self, part: Part) -> WindowViews | str:
        try:
            return self.read(part)
        except (StorageError, MissingMediaError):
            raise
        except KineflowError as error:
            return error.problem


def check_clips(card: ModelCard, clips: Sequence[Clip], split: Split) -> None:
    """Check that there are clips, of classes that the model knows.

    Raises:
        KineflowError: There are none, a label is no class of the model, or clips have several and it tells one.
    """
    if not clips:
        raise KineflowError(
            f"the clip set has no usable clip in the split {split.value!r}", remedy="choose another split to evaluate"
        )
    further = {name for text in distinct(clips, "also") for name in text.splitlines()}
    if further and not card.multi_label:
        raise several_classes(f"model {card.name!r}")
    unknown = sorted((distinct(clips, "label") | further) - {None, *card.classes})
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
