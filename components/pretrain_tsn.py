"""Initial weights of a TSN's streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.frontend.command import command
from components.frontend.contract import ModelOutput, StepResult
from kineflow.models.pretrain_tsn_settings import PretrainTsnSettings
from kineflow.tracking.tracker import NULL_TRACKER, Tracker

if TYPE_CHECKING:
    from pathlib import Path

    from kineflow.models.card import Scalar
    from kineflow.models.network import VideoNetwork
    from kineflow.models.normalisation import Normalisation
    from kineflow.spec.modality import Modality
    from kineflow.spec.preprocessing import Preprocessing


def pretrain_tsn(
    *,
    params: PretrainTsnSettings,
    seed: int = 0,
    tracker: Tracker = NULL_TRACKER,
    rgb: ModelOutput,
    difference: ModelOutput,
    flow: ModelOutput,
    warped: ModelOutput,
) -> StepResult:
    """Make the initial weights of each stream.

    They are model bundles without a classifier: training adds one for its own classes.

    Args:
        params: See :class:`PretrainTsnSettings`.
        seed: Decides every weight that is not loaded; each stream draws its own.
        tracker: Told where the weights came from.
        rgb: Folder of the RGB stream's bundle: one frame a snippet.
        difference: Of the RGB difference stream's.
        flow: Of the flow stream's.
        warped: Of the warped flow stream's, whose network is the flow stream's.

    Raises:
        KineflowError: The checkpoint cannot be had, is not the one expected, or does not fit the network; or its
            normalisation is not known.
    """
    from kineflow.models.bundle import save_bundle
    from kineflow.models.card import ModelCard
    from kineflow.models.cross_modality import initialise_across_modality
    from kineflow.models.normalisation import mismatch
    from kineflow.models.published import from_scratch, have_published, input_of, load_published

    have_published(params.checkpoint, params.sha256)
    known = input_of(params.checkpoint, params.sha256)
    normalisation = params.rgb_input(known)
    rgb_network = _fresh(params, "rgb", seed)
    origin, source = from_scratch(seed), "from scratch"
    if params.checkpoint:
        origin, source = load_published(rgb_network, params.checkpoint, params.sha256, called=params.backbone)

    streams: tuple[tuple[Modality, Path], ...] = (
        ("rgb", rgb),
        ("rgb_difference", difference),
        ("flow", flow),
        ("warped_flow", warped),
    )
    crosses = params.cross_modality and bool(params.checkpoint)
    for number, (modality, folder) in enumerate(streams):
        network, lineage = rgb_network, origin
        if modality != "rgb":
            network, lineage = _fresh(params, modality, seed + number), from_scratch(seed + number)
            if crosses:
                initialise_across_modality(network, rgb_network)
                lineage = {**origin, "cross_modality": "rgb stem averaged over its channels"}
        card = ModelCard(
            name=f"initial-{modality}",
            architecture="tsn",
            hyperparameters=stream_hyperparameters(params, modality),
            classes=(),
            preprocessing=_input(params, modality, normalisation),
            lineage=lineage,
        )
        save_bundle(folder, network, card)

    tracker.set_tags(origin)
    parameters = sum(parameter.numel() for parameter in rgb_network.parameters())
    others = "by the cross-modality rule" if crosses else "from scratch"
    differs = mismatch(normalisation, known)
    return StepResult(
        metrics={"parameters": float(parameters)},
        summary=f"{params.backbone} {source}; other streams {others}{f'; {differs}' if differs else ''}",
        tags=origin,
    )


def _fresh(params: PretrainTsnSettings, modality: Modality, seed: int) -> VideoNetwork:
    import torch

    from kineflow.models.registry import create_model
    from kineflow.spec.modality import channels_of

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create_model(
            "tsn", num_classes=0, in_channels=channels_of(modality), **stream_hyperparameters(params, modality)
        )


def stream_hyperparameters(params: PretrainTsnSettings, modality: Modality) -> dict[str, Scalar]:
    """Keywords of the network of a stream."""
    from kineflow.spec.modality import reads_flow

    return {
        "backbone": params.backbone,
        "snippet_frames": _snippet_frames(params, modality),
        "segments": params.segments,
        "consensus": params.consensus,
        "width": params.width,
        "dropout": params.flow_dropout if reads_flow(modality) else params.rgb_dropout,
        "output_stride": params.output_stride,
    }


def _snippet_frames(params: PretrainTsnSettings, modality: Modality) -> int:
    return {"rgb": 1, "rgb_difference": params.difference_frames}.get(modality, params.flow_frames)


def _input(params: PretrainTsnSettings, modality: Modality, rgb: Normalisation) -> Preprocessing:
    from kineflow.spec.modality import reads_flow
    from kineflow.spec.preprocessing import Preprocessing

    mean: tuple[float, ...] = rgb.mean
    std: tuple[float, ...] = rgb.std
    if reads_flow(modality):
        mean, std = rgb.of_flow(2, still=params.flow_still)
    elif modality == "rgb_difference":
        mean = (0.0,) * 3
    # The size is the paper's; training writes its own into the models it makes.
    return Preprocessing(
        modality,
        frames=_snippet_frames(params, modality),
        stride_frames=1,
        short_side=256,
        crop=224,
        mean=mean,
        std=std,
        channel_order="rgb" if reads_flow(modality) else rgb.channel_order,
        segments=params.segments,
    )


if __name__ == "__main__":
    command(pretrain_tsn)
