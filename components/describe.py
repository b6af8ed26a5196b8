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

    Descriptions are named by the clip's bytes and by how they are made: a new label, or new clips beside old ones, cost
    nothing again, and work that was interrupted is found by the next run.

    Args:
        clips: Clip set; all of its clips are described but those without a label.
        flow: Flow set.
        descriptor: Bundle of the network.
        params: See :class:`DescribeSettings`.
        descriptions: Feature set to write, a row of descriptors for each window of a clip.

    Raises:
        KineflowError: There is no usable clip, or not one has flow.
    """
    from kineflow.models.bundle import load_bundle
    from kineflow.selection.description import describe as describe_all
    from kineflow.sets.clip_set import ClipSet
    from kineflow.sets.feature_set import FeatureSet
    from kineflow.sets.flow_set import FlowSet
    from kineflow.sets.media import open_media
    from kineflow.spec.split import Split
    from kineflow.spec.status import Status
    from kineflow.storage.disk import translate_full_disk
    from kineflow.storage.errors import KineflowError
    from kineflow.storage.files import atomic_folder

    clip_set, flow_set = ClipSet.load(clips), FlowSet.load(flow)
    chosen = clip_set.usable(Split.TRAIN, Split.VAL, Split.TEST)
    if not chosen:
        raise KineflowError("no usable clip has a label", where=clips, remedy="give some clips a label in the list")
    network, card = load_bundle(descriptor)
    with translate_full_disk(descriptions.parent), open_media(params.media_root, descriptions) as media:
        made = describe_all(network, card, descriptor, clip_set, flow_set, chosen, media, params)
        good = [entry for entry in made.entries if entry.status is Status.OK]
        if not good:
            raise KineflowError(
                f"no clip could be described, for the first of them: {made.entries[0].reason}",
                where=clips,
                remedy="run extract_flow on these clips",
            )
        with atomic_folder(descriptions) as partial:
            paths = [entry.path for entry in good]
            stored_bytes, media_root = media.bytes_of(paths), media.settle(paths, partial)
            entries = {entry.clip_id: entry for entry in made.entries}
            FeatureSet(made.source, (network.num_features,), entries, media_root).save(partial)
    failed = len(made.entries) - len(good)
    return StepResult(
        metrics={"clips": len(good), "failed": failed, "descriptors": network.num_features, "bytes": stored_bytes},
        summary=f"{len(good)} clips, {failed} failed, {network.num_features} descriptors a window; "
        f"{made.described} clips were new, {made.seconds:.0f} s",
    )


if __name__ == "__main__":
    command(describe)
