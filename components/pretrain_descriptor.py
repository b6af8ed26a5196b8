"""The network that describes clips, before it has a classifier."""

from __future__ import annotations

from components.frontend.command import command
from components.frontend.contract import ModelOutput, StepResult
from kineflow.models.descriptor_settings import DescriptorSettings
from kineflow.tracking.tracker import NULL_TRACKER, Tracker


def pretrain_descriptor(
    *, params: DescriptorSettings, tracker: Tracker = NULL_TRACKER, descriptor: ModelOutput
) -> StepResult:
    """Make the network that describes clips, with the published weights of what looks at their frames.

    Args:
        params: See :class:`DescriptorSettings`.
        tracker: Told where the weights came from.
        descriptor: Folder of the bundle, without a classifier.

    Raises:
        KineflowError: The backbone's weights cannot be had, or it takes colours as BGR.
    """
    import torch

    from kineflow.models.bundle import save_bundle
    from kineflow.models.card import ModelCard, Scalar
    from kineflow.models.clip_descriptor import clip_descriptor
    from kineflow.models.named_weights import load_backbone
    from kineflow.models.weights_table import weights_named
    from kineflow.spec.descriptors import GROUPS, input_of, of_images
    from kineflow.storage.errors import KineflowError

    groups = tuple(group for group in GROUPS if params.backbone or not of_images((group,)))
    hyperparameters: dict[str, Scalar] = {"groups": "+".join(groups)}
    lineage = {"initialised": "statistics of motion and flow"}
    if params.backbone:
        hyperparameters["backbone"] = weights_named(params.backbone).fits[0]
        lineage = {"initialised": f"published weights {params.backbone}"}
    network = clip_descriptor(num_classes=0, in_channels=5, **hyperparameters)  # type: ignore[arg-type]
    if params.backbone:
        images, facts = load_backbone(params.backbone)
        if facts.channel_order != "rgb":
            raise KineflowError(
                f"the weights {params.backbone!r} take colours as {facts.channel_order}",
                remedy="choose weights that take RGB; `kineflow weights` lists them",
            )
        images.reset_classifier(0)
        network.backbone = images
        network.image_mean.copy_(torch.tensor(facts.mean))
        network.image_std.copy_(torch.tensor(facts.std))
    card = ModelCard(
        name="descriptor",
        architecture="clip_descriptor",
        hyperparameters=hyperparameters,
        classes=(),
        preprocessing=input_of(groups, frames=params.frames, stride_frames=params.stride_frames, crop=params.crop),
        lineage=lineage,
    )
    save_bundle(descriptor, network, card)
    tracker.set_tags(lineage)
    return StepResult(
        metrics={"descriptors": float(network.num_features)},
        summary=f"{network.num_features} descriptors of {', '.join(groups)}",
        tags=lineage,
    )


if __name__ == "__main__":
    command(pretrain_descriptor)
