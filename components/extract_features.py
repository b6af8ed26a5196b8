"""The step ``extract_features``: what a frozen backbone sees of every frame, computed once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.frontend.command import command
from components.frontend.contract import DatasetInput, DatasetOutput, MeasuredResult, ModelInput, StepResult
from kineflow.data.feature_settings import FeatureSettings
from kineflow.tracking.tracker import NULL_TRACKER, Tracker

if TYPE_CHECKING:
    from pathlib import Path

    from kineflow.sets.clip_set import ClipSet
    from kineflow.sets.feature_set import FeatureSource
    from kineflow.sets.flow_set import FlowSet


def extract_features(
    *,
    clips: DatasetInput,
    flow: DatasetInput | None = None,
    backbone: ModelInput,
    params: FeatureSettings,
    tracker: Tracker = NULL_TRACKER,
    features: DatasetOutput,
) -> MeasuredResult:
    """Compute what a frozen backbone sees of every frame.

    Work that was interrupted is kept and found again by the next run with the same backbone and parameters.

    Args:
        clips: Clip set.
        flow: Flow set; read where the backbone sees flow.
        backbone: Bundle of a TSN with snippets of one frame; its preprocessing says what it sees of a frame.
        params: See :class:`FeatureSettings`.
        tracker: Told which network it is.
        features: Feature set to write: an index; the features lie where ``media_root`` says.

    Raises:
        KineflowError: There is no usable clip in these splits, not one has flow where flow is needed, or a clip cannot
            be read.
    """
    from kineflow.sets.clip_set import ClipSet
    from kineflow.sets.feature_saving import save_features
    from kineflow.sets.flow_set import FlowSet
    from kineflow.sets.media import open_media
    from kineflow.storage.disk import translate_full_disk
    from kineflow.storage.errors import KineflowError
    from kineflow.training.feature_extraction import ClipsAndFlow, extract
    from kineflow.training.streams import load_image_network

    clip_set = ClipSet.load(clips)
    flow_set = FlowSet.load(flow) if flow else None
    chosen = clip_set.usable(*params.splits)
    if not chosen:
        raise KineflowError(
            f"no usable clip in the splits {', '.join(params.splits)}", where=clips, remedy="choose other splits"
        )
    network, _ = load_image_network(backbone)
    source = _source(backbone, params, clip_set, flow_set)
    tracker.set_tags({"backbone": source.backbone, "tap": params.tap, "modality": source.preprocessing.modality})

    with translate_full_disk(features.parent), open_media(params.media_root, features) as media:
        extracted = extract(
            network,
            source,
            ClipsAndFlow(clip_set, flow_set),
            chosen,
            media.store,
            batch_frames=params.batch_frames,
            workers=params.workers,
        )
        good, stored_bytes = save_features(features, source, extracted.shape, extracted.entries, media, clips=clips)
    time_steps, failed = sum(entry.time_steps for entry in good), len(extracted.entries) - len(good)
    return StepResult(
        metrics={
            "clips": len(good),
            "failed": failed,
            "frames": time_steps,
            "frames_per_second": extracted.time_steps_per_second,
            "bytes": stored_bytes,
        },
        summary=f"{len(good)} clips, {failed} failed, {time_steps} frames "
        f"({extracted.time_steps_per_second:.0f} a second) to {'x'.join(map(str, extracted.shape))} each, "
        f"{stored_bytes / 1e6:.1f} MB",
    )


def _source(backbone: Path, params: FeatureSettings, clip_set: ClipSet, flow_set: FlowSet | None) -> FeatureSource:
    import dataclasses

    from kineflow.models.bundle import weights_digest
    from kineflow.models.card import load_card
    from kineflow.sets.feature_set import FeatureSource
    from kineflow.spec.modality import reads_flow
    from kineflow.training.clips import check_warped
    from kineflow.training.model_cards import flow_source_of

    card = load_card(backbone)
    check_warped(card, flow_set)
    flow = flow_source_of(flow_set, clip_set) if flow_set and reads_flow(card.preprocessing.modality) else None
    return FeatureSource(
        weights_digest(backbone),
        card.name,
        params.tap,
        dataclasses.replace(
            card.preprocessing, frames=1, stride_frames=1, segments=0, fps=clip_set.fps, size=clip_set.size
        ),
        flow,
    )


if __name__ == "__main__":
    command(extract_features)
