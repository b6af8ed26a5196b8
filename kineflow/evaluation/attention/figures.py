"""From where a model looked to figures: tubes, their overlap with true ones, and attention on the actor.

Intervals are over clips: Wilson's for shares of clips, percentiles of the bootstrap (clips drawn with replacement) for
everything else. Clips of one group resemble each other, so that true uncertainty is larger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kineflow.evaluation.attention.maps import SeenRegion, Watched
from kineflow.evaluation.attention.settings import LocaliseSettings
from kineflow.evaluation.attention.truth import ClipTruth
from kineflow.evaluation.intervals import wilson_interval
from kineflow.evaluation.localisation import (
    Detection,
    TrueTube,
    Tube,
    attention_inside,
    average_precisions,
    frame_entropy,
    judge,
    tube_iou,
    tube_of_attention,
)

_RESAMPLES = 500
_PERCENTILES = (2.5, 97.5)

Places = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Estimate:
    """A figure over clips with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Judgement:
    """What is known of one clip that has true boxes.

    Attributes:
        truths: Its actors' tubes.
        overlap: Of the model's tube with the true one it fits best, whatever the classes, in [0, 1].
        overlap_of_frame: The same of a tube that is always the whole frame: what knowing nothing gives.
        inside: Share of the attention that lies on the actor, mean over the frames in which it is seen.
        area: Share of what the model sees that the actor covers in them: what even attention would give.
    """

    truths: tuple[TrueTube, ...]
    overlap: float
    overlap_of_frame: float
    inside: float
    area: float


@dataclass(frozen=True)
class Located:
    """What one model made of one clip.

    Attributes:
        detection: Its tube, class and probability.
        right: Whether the class is the clip's.
        entropy: Of its attention, nats, mean over the frames.
        judgement: Where there are true boxes.
    """

    detection: Detection
    right: bool
    entropy: float
    judgement: Judgement | None


def localise_clip(
    watched: Watched, classes: Sequence[str], truth: ClipTruth | None, settings: LocaliseSettings
) -> Located:
    """Turn a clip's attention into a tube, and compare it with the truth."""
    clip, part = watched.clip, watched.part
    tube = _in_frame(
        tube_of_attention(
            watched.attention,
            height=part.height,
            width=part.width,
            window_steps=settings.window_steps,
            sigma_px=settings.sigma_px,
            threshold=settings.threshold,
        ),
        part,
    )
    best = int(watched.probabilities.argmax())
    judgement = None
    if truth is not None:
        whole = Tube(np.arange(clip.frames), np.tile([0.0, 0.0, clip.width, clip.height], (clip.frames, 1)))
        visible_region = truth.region[:, part.top : part.top + part.height, part.left : part.left + part.width]
        has_truth = truth.region.any(axis=(1, 2))
        judgement = Judgement(
            truths=truth.tubes,
            overlap=max(tube_iou(tube, true.tube) for true in truth.tubes),
            overlap_of_frame=max(tube_iou(whole, true.tube) for true in truth.tubes),
            inside=float(attention_inside(watched.attention[has_truth], visible_region[has_truth]).mean()),
            area=float(visible_region[has_truth].mean()),
        )
    return Located(
        Detection(clip.clip_id, classes[best], float(watched.probabilities[best]), tube),
        right=classes[best] in clip.labels,
        entropy=float(frame_entropy(watched.attention).mean()),
        judgement=judgement,
    )


def figures_of(located: Sequence[Located], *, least_iou: float) -> dict[str, Estimate]:
    """A model's figures over all clips, by name; those that need true boxes are left out where there are none.

    ==================  =========================================================================
    ``top1``            share of clips whose class is right
    ``entropy``         of attention, nats
    ``video_map``       mean average precision of tubes with their classes
    ``found``           share of clips whose tube overlaps by ``least_iou`` with a true one, whatever its class
    ``tube_iou``        mean overlap of the tubes, whatever their classes
    ``inside``          share of the attention on the actor
    ``by_chance``       the same of even attention: the actor's area
    ``top1_on_actor``   top-1 of the clips with more attention on the actor than even attention has
    ``top1_elsewhere``  top-1 of the others
    ==================  =========================================================================
    """
    figures = {
        "top1": _share([clip.right for clip in located]),
        "entropy": _mean([clip.entropy for clip in located]),
    }
    judged = [(clip, clip.judgement) for clip in located if clip.judgement is not None]
    if not judged:
        return figures
    on_actor = [judgement.inside > judgement.area for _, judgement in judged]
    figures |= {
        "video_map": _video_map([clip for clip, _ in judged], least_iou),
        "found": _share([judgement.overlap >= least_iou for _, judgement in judged]),
        "tube_iou": _mean([judgement.overlap for _, judgement in judged]),
        "inside": _mean([judgement.inside for _, judgement in judged]),
        "by_chance": _mean([judgement.area for _, judgement in judged]),
    }
    for name, wanted in (("top1_on_actor", True), ("top1_elsewhere", False)):
        chosen = [clip.right for (clip, _), on in zip(judged, on_actor, strict=True) if on is wanted]
        if chosen:
            figures[name] = _share(chosen)
    return figures


def figures_of_frame(located: Sequence[Located], *, least_iou: float) -> dict[str, Estimate]:
    """``found`` and ``tube_iou`` of tubes that are always the whole frame; none where there are no true boxes."""
    overlaps = [clip.judgement.overlap_of_frame for clip in located if clip.judgement is not None]
    if not overlaps:
        return {}
    return {"found": _share([overlap >= least_iou for overlap in overlaps]), "tube_iou": _mean(overlaps)}


def _in_frame(tube: Tube, part: SeenRegion) -> Tube:
    return Tube(tube.frames, tube.boxes + np.array([part.left, part.top, part.left, part.top]))


def _video_map(located: Sequence[Located], least_iou: float) -> Estimate:
    """Of one tube a clip; a clip is drawn with its tube and its true ones."""
    truths = [clip.judgement.truths if clip.judgement else () for clip in located]
    all_truths = [truth for of_clip in truths for truth in of_clip]
    judged_by_clip = {
        one.video: one for one in judge([clip.detection for clip in located], all_truths, least_iou=least_iou)
    }
    judged = [judged_by_clip[clip.detection.video] for clip in located]

    def of(places: Places) -> float:
        labels = [truth.label for index in places for truth in truths[index]]
        return float(np.mean(list(average_precisions([judged[index] for index in places], labels).values())))

    return _bootstrapped(of, len(located))


def _mean(values: Sequence[float]) -> Estimate:
    of_clips = np.array(values)
    return _bootstrapped(lambda places: float(of_clips[places].mean()), len(of_clips))


def _share(right: Sequence[bool]) -> Estimate:
    return Estimate(sum(right) / len(right), *wilson_interval(sum(right), len(right)))


def _bootstrapped(figure: Callable[[Places], float], clips: int) -> Estimate:
    rng = np.random.default_rng(0)
    drawn = [figure(rng.integers(clips, size=clips)) for _ in range(_RESAMPLES)]
    low, high = np.percentile(drawn, _PERCENTILES)
    return Estimate(figure(np.arange(clips)), float(low), float(high))
