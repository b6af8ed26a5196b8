"""One of several streams' initial weights to the frozen backbone of a recurrent network."""

from __future__ import annotations

from components.frontend.command import command
from components.frontend.contract import ModelInput, ModelOutput, StepResult
from kineflow.models.backbone_settings import BackboneSettings
from kineflow.tracking.tracker import NULL_TRACKER, Tracker


def choose_backbone(
    *,
    rgb: ModelInput,
    difference: ModelInput,
    flow: ModelInput,
    params: BackboneSettings,
    tracker: Tracker = NULL_TRACKER,
    backbone: ModelOutput,
) -> StepResult:
    """Choose the stream whose network looks at the frames.

    What it sees of a frame is decided here too. A recipe's graph is the same whatever the values of its parameters, and
    this is where the stream is decided that a recipe of one stream looks at.

    Args:
        rgb: Bundle of a TSN, by the step pretrain_tsn; so are the other two.
        difference: Of the stream of RGB differences.
        flow: Of the stream of flow.
        params: See :class:`BackboneSettings`.
        tracker: Told the stream.
        backbone: Folder to write: the bundle, with its new preprocessing.

    Raises:
        KineflowError: The stream's network looks at more than one frame.
    """
    import dataclasses

    from kineflow.models.bundle import load_bundle, save_bundle
    from kineflow.training.streams import image_network_of

    chosen = {"rgb": rgb, "difference": difference, "flow": flow}[params.stream]
    network, card = load_bundle(chosen)
    image_network_of(network, where=chosen)
    preprocessing = dataclasses.replace(
        card.preprocessing, fit=params.fit, short_side=params.short_side, crop=params.crop
    )
    save_bundle(backbone, network, dataclasses.replace(card, name="backbone", preprocessing=preprocessing))
    tracker.set_tags({"stream": params.stream})
    kind = card.hyperparameters["backbone"]
    return StepResult(summary=f"{kind} of the stream {params.stream}, {card.lineage.get('initialised', 'as it came')}")


if __name__ == "__main__":
    command(choose_backbone)
