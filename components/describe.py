"""The step ``describe``: a few numbers or a few thousand for each window of each clip, computed once."""

from __future__ import annotations

from components.frontend.command import command
from components.frontend.contract import DatasetInput, DatasetOutput, MeasuredResult, ModelInput, StepResult
from kineflow.selection.settings import DescribeSettings


def describe(
    *,
    clips: DatasetInput,
    flow: DatasetInput,
    descriptor: ModelInput,
    params: DescribeSettings,
    descriptions: DatasetOutput,
) -> MeasuredResult:
    """Describe every clip by the network of ``pretrain_descriptor``.

    A clip without flow, or that cannot be read, is listed with the reason. Descriptions are named by the clip's bytes
    and by how they are made: a new label, or new clips beside old ones, cost nothing again, and work that was
    interrupted is found by the next run.

    Args:
        clips: Clip set; all of its clips are described but those without a label.
        flow: Flow set.
        descriptor: Bundle of the network.
        params: See :class:`DescribeSettings`.
        descriptions: Feature set to write, a row of descriptors for each window of a clip.

    Raises:
        KineflowError: There is no usable clip, or not one could be described.
    """
    from kineflow.models.bundle import load_bundle
    from kineflow.selection.description import describe as describe_all
    from kineflow.sets.clip_set import ClipSet
    from kineflow.sets.feature_saving import save_features
    from kineflow.sets.flow_set import FlowSet
    from kineflow.sets.media import open_media
    from kineflow.spec.split import Split
    from kineflow.storage.disk import translate_full_disk
    from kineflow.storage.errors import KineflowError

    clip_set, flow_set = ClipSet.load(clips), FlowSet.load(flow)
    chosen = clip_set.usable(Split.TRAIN, Split.VAL, Split.TEST)
    if not chosen:
        raise KineflowError("no usable clip has a label", where=clips, remedy="give some clips a label in the list")
    network, card = load_bundle(descriptor)
    with translate_full_disk(descriptions.parent), open_media(params.media_root, descriptions) as media:
        made = describe_all(network, card, descriptor, clip_set, flow_set, chosen, media, params)
        good, stored_bytes = save_features(
            descriptions, made.source, (network.num_features,), made.entries, media, clips=clips
        )
    failed = len(made.entries) - len(good)
    return StepResult(
        metrics={"clips": len(good), "failed": failed, "descriptors": network.num_features, "bytes": stored_bytes},
        summary=f"{len(good)} clips, {failed} failed, {network.num_features} descriptors a window; "
        f"{made.described} clips were new, {made.seconds:.0f} s",
    )


if __name__ == "__main__":
    command(describe)
