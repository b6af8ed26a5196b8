"""Initial weights of the RGB and of the flow stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.frontend.command import command
from components.frontend.contract import ModelOutput, StepResult
from kineflow.models.pretrain_settings import PretrainSettings
from kineflow.tracking.tracker import NULL_TRACKER, Tracker

if TYPE_CHECKING:
    from kineflow.models.card import ModelCard, Scalar
    from kineflow.models.network import VideoNetwork
    from kineflow.models.normalisation import Normalisation
    from kineflow.models.transformers_checkpoint import Checkpoint
    from kineflow.spec.preprocessing import Preprocessing


def pretrain(
    *, params: PretrainSettings, seed: int = 0, tracker: Tracker = NULL_TRACKER, rgb: ModelOutput, flow: ModelOutput
) -> StepResult:
    """Make the initial weights of each modality.

    They are model bundles without a classifier: training adds one for its own classes.

    Args:
        params: See :class:`PretrainSettings`.
        seed: Decides every weight that is not loaded; the flow stream draws its own.
        tracker: Told where the weights came from.
        rgb: Folder of the RGB stream's bundle, 3 channels.
        flow: Folder of the flow stream's bundle, 2 channels.

    Raises:
        KineflowError: The checkpoint cannot be had, is not the one expected, or does not fit the network; or its
            normalisation is not known.
    """
    from kineflow.models.bundle import save_bundle
    from kineflow.models.card import ModelCard
    from kineflow.models.cross_modality import initialise_across_modality
    from kineflow.models.normalisation import mismatch
    from kineflow.models.published import flow_card_of, from_scratch, have_published, input_of, load_published
    from kineflow.models.transformers_checkpoint import load_checkpoint

    library = _library_checkpoint(params)
    if not library:
        have_published(params.checkpoint, params.sha256)
    known = None if library else input_of(params.checkpoint, params.sha256)
    rgb_input = (
        library.preprocessing(mean=params.rgb_mean, std=params.rgb_std)
        if library
        else _rgb_input(params.rgb_input(known))
    )
    flow_input = _flow_input(params, flow_card_of(params.flow_checkpoint))
    hyperparameters: dict[str, Scalar] = {"config": library.shape.text} if library else hyperparameters_of(params)
    rgb_network = _fresh_network(params, hyperparameters, in_channels=3, seed=seed)
    origin, source = from_scratch(seed), "from scratch"
    if library:
        origin, source = load_checkpoint(rgb_network, library, params.sha256)
    elif params.checkpoint:
        origin, source = load_published(rgb_network, params.checkpoint, params.sha256, called=params.architecture)
    summary = f"{params.architecture} {source}"

    flow_network = _fresh_network(params, hyperparameters, in_channels=2, seed=seed + 1)
    flow_origin, flow_source = from_scratch(seed + 1), "from scratch"
    if params.flow_checkpoint:
        flow_origin, flow_source = load_published(
            flow_network, params.flow_checkpoint, params.flow_sha256, called=params.architecture
        )
    elif params.flow_from_rgb and params.checkpoint:
        initialise_across_modality(flow_network, rgb_network)
        flow_origin = {**origin, "cross_modality": "rgb stem averaged over its channels"}
        flow_source = "by the cross-modality rule"

    for folder, network, preprocessing, lineage in (
        (rgb, rgb_network, rgb_input, origin),
        (flow, flow_network, flow_input, flow_origin),
    ):
        card = ModelCard(
            name=f"initial-{preprocessing.modality}",
            architecture=params.architecture,
            hyperparameters=hyperparameters,
            classes=(),
            preprocessing=preprocessing,
            lineage=lineage,
        )
        save_bundle(folder, network, card)

    tags = origin | ({f"flow_{key}": value for key, value in flow_origin.items()} if params.flow_checkpoint else {})
    tracker.set_tags(tags)
    parameters = sum(parameter.numel() for parameter in rgb_network.parameters())
    summary += f"; flow {flow_source}"
    if known and (differs := mismatch(params.rgb_input(known), known)):
        summary += f"; {differs}"
    return StepResult(
        metrics={"parameters": float(parameters)},
        summary=summary,
        tags=tags,
    )


def _library_checkpoint(params: PretrainSettings) -> Checkpoint | None:
    """The checkpoint of a network of transformers; None of any other network."""
    from kineflow.models.transformers_checkpoint import find_checkpoint
    from kineflow.models.transformers_names import ARCHITECTURE

    if params.architecture != ARCHITECTURE:
        return None
    return find_checkpoint(params.checkpoint, **params.hyperparameters)


def _fresh_network(
    params: PretrainSettings, hyperparameters: dict[str, Scalar], *, in_channels: int, seed: int
) -> VideoNetwork:
    import torch

    from kineflow.models.registry import create_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create_model(params.architecture, num_classes=0, in_channels=in_channels, **hyperparameters)


def hyperparameters_of(params: PretrainSettings) -> dict[str, Scalar]:
    """All that the network is built with, so that its card holds when a default changes."""
    from kineflow.models.registry import default_hyperparameters

    defaults = default_hyperparameters(params.architecture)
    plain = {name: value for name, value in defaults.items() if isinstance(value, str | int | float | None)}
    return {**plain, **params.keywords()}


def _rgb_input(takes: Normalisation) -> Preprocessing:
    from kineflow.spec.preprocessing import Preprocessing

    # The geometry is the paper's; training writes its own into the models it makes.
    return Preprocessing("rgb", 64, 1, 256, 224, mean=takes.mean, std=takes.std, channel_order=takes.channel_order)


def _flow_input(params: PretrainSettings, learnt: ModelCard | None) -> Preprocessing:
    from kineflow.spec.preprocessing import Preprocessing

    mean, std = params.flow_input((learnt.preprocessing.mean, learnt.preprocessing.std) if learnt else None)
    return Preprocessing("flow", 64, 1, 256, 224, mean=mean, std=std)


if __name__ == "__main__":
    command(pretrain)
