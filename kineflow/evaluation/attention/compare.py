"""Watches clips with several models and makes of it what the localise step writes.

::

    metrics.json      figures of every model with their intervals, and what they were measured on
    tubes.parquet     model, clip_id, label, score, frame, left, top, right, bottom: one row for each frame of a tube
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

from kineflow.evaluation.attention.figures import Estimate, Located, figures_of, figures_of_frame, localise_clip
from kineflow.evaluation.attention.maps import Watched, check_watchable, watch_clips
from kineflow.evaluation.attention.page import Looked, ShownClip
from kineflow.evaluation.attention.settings import LocaliseSettings
from kineflow.evaluation.attention.strips import (
    PICTURE_PX,
    PICTURES,
    TRUE,
    TUBE,
    Drawn,
    attention_strip,
    pictured,
    strip,
)
from kineflow.evaluation.attention.truth import ClipTruth, TruthOf, clips_and_truth
from kineflow.evaluation.report.strips import flow_strip
from kineflow.evaluation.results import check_names
from kineflow.models.bundle import load_bundle
from kineflow.models.card import load_card
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.output_files import METRICS_FILE
from kineflow.video.decode import read_frames

TUBES_FILE = "tubes.parquet"
_SIDES = ("left", "top", "right", "bottom")


@dataclass(frozen=True)
class Comparison:
    """What several models made of the same clips.

    Attributes:
        clips: Which.
        located: By model, one entry a clip.
        figures: By model and name.
        whole_frame: The figures of a tube that is always the whole frame; none without true boxes.
        most_entropy: Of even attention, nats, by model.
        examples: Clips to show.
    """

    clips: tuple[Clip, ...]
    located: Mapping[str, Sequence[Located]]
    figures: Mapping[str, Mapping[str, Estimate]]
    whole_frame: Mapping[str, Estimate]
    most_entropy: Mapping[str, float]
    examples: Sequence[ShownClip]


def compare_attention(
    bundles: Sequence[Path], clip_set: ClipSet, flow_set: FlowSet | None, settings: LocaliseSettings
) -> Comparison:
    """Watch every clip with every model.

    Raises:
        KineflowError: A model has no attention, its classes are not known, names are double, or clips, flow or truth
            are missing.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    cards = [load_card(bundle) for bundle in bundles]
    check_names([card.name for card in cards])
    for card in cards:
        check_watchable(card, flow_set)
        clip_set.require_form(card.preprocessing, of=f"model {card.name!r}")
    clips, truth_of = clips_and_truth(clip_set, settings)
    example_clips = in_turn(clips, settings.examples)
    located: dict[str, list[Located]] = {}
    watched: dict[str, dict[str, Watched]] = {}
    most_entropy: dict[str, float] = {}
    for bundle in bundles:
        network, card = load_bundle(bundle)
        located[card.name], watched[card.name] = [], {}
        for clip_watched in watch_clips(
            network,
            card,
            clips,
            clip_set,
            flow_set,
            batch_size=settings.batch_size,
            workers=settings.workers,
            device=device,
        ):
            truth = truth_of(clip_watched.clip) if truth_of else None
            located[card.name].append(localise_clip(clip_watched, card.classes, truth, settings))
            most_entropy[card.name] = math.log(clip_watched.attention[0].size)
            if clip_watched.clip in example_clips:
                watched[card.name][clip_watched.clip.clip_id] = clip_watched
    by_clip = {
        name: dict(zip((clip.clip_id for clip in clips), of_model, strict=True)) for name, of_model in located.items()
    }
    return Comparison(
        clips=tuple(clips),
        located=located,
        figures={name: figures_of(of_model, least_iou=settings.least_iou) for name, of_model in located.items()},
        whole_frame=figures_of_frame(next(iter(located.values())), least_iou=settings.least_iou),
        most_entropy=most_entropy,
        examples=[
            _shown_clip(
                clip,
                clip_set,
                flow_set,
                truth_of,
                settings,
                {name: (watched[name][clip.clip_id], by_clip[name][clip.clip_id]) for name in located},
            )
            for clip in example_clips
        ],
    )


def in_turn(clips: Sequence[Clip], count: int) -> list[Clip]:
    """Up to ``count`` clips, one of each class, then a second of each, in the order of the clips."""
    by_class: dict[str | None, list[Clip]] = {}
    for clip in clips:
        by_class.setdefault(clip.label, []).append(clip)
    turns = chain.from_iterable(zip_longest(*by_class.values()))
    return list(islice((clip for clip in turns if clip is not None), count))


def localisation_metrics(comparison: Comparison) -> dict[str, float]:
    """All figures by name: ``<model>/video_map``, …"""
    return {
        f"{model}/{name}": figure.value
        for model, figures in comparison.figures.items()
        for name, figure in figures.items()
    }


def write_localisation(folder: Path, comparison: Comparison, settings: LocaliseSettings, *, version: str) -> None:
    """Write the files of the module's picture into an existing folder; ``version`` is that of the data."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    metrics: dict[str, Any] = {
        "models": {model: _plain(figures) for model, figures in comparison.figures.items()},
        "whole_frame": _plain(comparison.whole_frame),
        "data": {"split": settings.split, "clips": len(comparison.clips), "version": version},
        "settings": settings.model_dump(mode="json", include={"window_steps", "sigma_px", "threshold", "least_iou"}),
    }
    (folder / METRICS_FILE).write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    columns = dict.fromkeys(("model", "clip_id", "label"), pa.string()) | {"score": pa.float64(), "frame": pa.int64()}
    schema = pa.schema(columns | dict.fromkeys(_SIDES, pa.float64()))
    rows = [row for model, located in comparison.located.items() for row in _rows(model, located)]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / TUBES_FILE)


def _rows(model: str, located: Sequence[Located]) -> Iterator[dict[str, Any]]:
    for detection in (clip.detection for clip in located):
        shared_cells = {"model": model, "clip_id": detection.video, "label": detection.label, "score": detection.score}
        for frame, box in zip(detection.tube.frames.tolist(), detection.tube.boxes.tolist(), strict=True):
            yield shared_cells | {"frame": frame} | dict(zip(_SIDES, box, strict=True))


def _plain(figures: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    return {name: dataclasses.asdict(figure) for name, figure in figures.items()}


def _shown_clip(
    clip: Clip,
    clip_set: ClipSet,
    flow_set: FlowSet | None,
    truth_of: TruthOf | None,
    settings: LocaliseSettings,
    looks: Mapping[str, tuple[Watched, Located]],
) -> ShownClip:
    numbers = pictured(clip)
    frames = read_frames(clip_set.locate(clip), numbers)
    truth: ClipTruth | None = truth_of(clip) if truth_of else None
    true = Drawn([one.tube for one in truth.tubes] if truth else [], TRUE)
    judgement = next(iter(looks.values()))[1].judgement
    return ShownClip(
        clip.clip_id,
        clip.label or "",
        frames=strip(frames, numbers, [true]),
        area=judgement.area if judgement else None,
        flow=flow_strip(flow_set, clip, pictures=PICTURES, height=PICTURE_PX) if flow_set else None,
        looks=tuple(
            Looked(
                name,
                attention_strip(
                    frames,
                    numbers,
                    watched,
                    [true, Drawn([localised.detection.tube], TUBE)],
                    window_steps=settings.window_steps,
                    sigma_px=settings.sigma_px,
                ),
                guess=localised.detection.label,
                score=localised.detection.score,
                right=localised.right,
                overlap=localised.judgement.overlap if localised.judgement else None,
                inside=localised.judgement.inside if localised.judgement else None,
            )
            for name, (watched, localised) in looks.items()
        ),
    )
