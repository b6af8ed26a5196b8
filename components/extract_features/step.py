"""The step ``extract_features``: what a frozen backbone sees of every frame, computed once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.contract import Input, Output, StepResult
from components.extract_features.params import FeatureParams
from kineflow.tracking.tracker import NULL_TRACKER, Tracker

if TYPE_CHECKING:
    from pathlib import Path

    from kineflow.data.features import FeatureSource
    from kineflow.data.manifest import ClipSet
    from kineflow.flow.store import FlowSet


def extract_features(
    *,
    clips: Input,
    flow: Input | None = None,
    backbone: Input,
    params: FeatureParams,
    seed: int = 0,  # noqa: ARG001 (every step takes one)
    tracker: Tracker = NULL_TRACKER,
    features: Output,
) -> StepResult:
    """Compute the features of every frame of the clips.

    Work that was interrupted is kept and found again by the next run with the same backbone and parameters.

    Args:
        clips: Clip set.
        flow: Flow set; read where the backbone sees flow.
        backbone: Bundle of a TSN with snippets of one frame; its preprocessing says what it sees of a frame.
        params: See :class:`FeatureParams`.
        seed: Unused; nothing here is random.
        tracker: Told which network it is.
        features: Feature set to write: index, and the features unless ``media_root`` names another place.

    Raises:
        KineflowError: There is no usable clip in these splits, not one has flow where flow is needed, or a clip cannot
            be read.
    """
    from pathlib import Path

    from kineflow.data.features import MEDIA_FOLDER, FeatureSet
    from kineflow.data.manifest import ClipSet, Status
    from kineflow.data.media import put_in_place
    from kineflow.flow.store import FlowSet
    from kineflow.storage.disk import translate_full_disk
    from kineflow.storage.errors import KineflowError
    from kineflow.storage.files import atomic_folder, discard_work, work_folder
    from kineflow.training.feature_extraction import Clips, extract
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

    with translate_full_disk(features.parent):
        work = Path(params.media_root).resolve() if params.media_root else work_folder(features, source)
        extracted = extract(
            network,
            source,
            Clips(clip_set, flow_set),
            chosen,
            work,
            batch_frames=params.batch_frames,
            workers=params.workers,
        )
        good = [entry for entry in extracted.entries if entry.status is Status.OK]
        if not good:
            raise KineflowError(
                f"no clip has features, for the first of them: {extracted.entries[0].reason}",
                where=clips,
                remedy="run extract_flow on these splits",
            )
        with atomic_folder(features) as partial:
            media = work if params.media_root else partial / MEDIA_FOLDER
            stored_bytes = put_in_place((entry.path for entry in good), work, media)
            entries = {entry.clip_id: entry for entry in extracted.entries}
            FeatureSet(source, extracted.shape, entries, str(media)).save(partial)
    discard_work(features)

    moments, failed = sum(entry.moments for entry in good), len(extracted.entries) - len(good)
    return StepResult(
        metrics={
            "clips": len(good),
            "failed": failed,
            "frames": moments,
            "frames_per_second": extracted.moments_per_second,
            "bytes": stored_bytes,
        },
        summary=f"{len(good)} clips, {failed} failed, {moments} frames ({extracted.moments_per_second:.0f} a second) "
        f"to {'x'.join(map(str, extracted.shape))} each, {stored_bytes / 1e6:.1f} MB",
    )


def _source(backbone: Path, params: FeatureParams, clip_set: ClipSet, flow_set: FlowSet | None) -> FeatureSource:
    import dataclasses

    from kineflow.data.features import FeatureSource
    from kineflow.models.bundle import weights_digest
    from kineflow.models.card import load_card
    from kineflow.spec.modality import reads_flow
    from kineflow.training.jobs import check_warped, flow_source_of

    card = load_card(backbone)
    check_warped(card, flow_set)
    flow = flow_source_of(flow_set, clip_set) if flow_set and reads_flow(card.preprocessing.modality) else None
    return FeatureSource(
        weights_digest(backbone),
        card.name,
        params.tap,
        dataclasses.replace(card.preprocessing, frames=1, stride_frames=1, segments=0),
        flow,
    )
