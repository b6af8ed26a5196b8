"""Initial weights of ST-ResNet: two streams joined, or the network before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.frontend.command import command
from components.frontend.contract import ModelInput, ModelOutput, StepResult
from kineflow.models.pretrain_st_resnet_settings import PretrainSTResNetSettings
from kineflow.tracking.tracker import NULL_TRACKER, Tracker

if TYPE_CHECKING:
    from pathlib import Path

    from kineflow.models.card import ModelCard, Scalar
    from kineflow.models.resnet import ResNet50
    from kineflow.models.st_resnet import STResNet
    from kineflow.spec.preprocessing import Preprocessing


def pretrain_st_resnet(
    *,
    appearance: ModelInput | None = None,
    motion: ModelInput | None = None,
    before: ModelInput | None = None,
    params: PretrainSTResNetSettings,
    seed: int = 0,
    tracker: Tracker = NULL_TRACKER,
    initial: ModelOutput,
) -> StepResult:
    """Join two trained streams, or give a trained ST-ResNet its pool over time.

    What is written is the bundle that ST-ResNet, or ST-ResNet*, is trained from. Classifiers are those of the parents:
    training keeps them where it is about the same classes.

    Args:
        appearance: Bundle of the stream that sees frames: a TSN of one segment on ResNet-50.
        motion: Bundle of the stream that sees flow, likewise; the flow frames of its snippet are those of a time step.
        before: Bundle of an ST-ResNet to continue from, instead of the two.
        params: See :class:`PretrainSTResNetSettings`.
        seed: Decides the taps over time where these are ``random``.
        tracker: Told where the weights came from.
        initial: Folder of the bundle.

    Raises:
        KineflowError: The networks given are too many, too few, not of the kind named here, or do not fit each other.
    """
    from kineflow.models.bundle import save_bundle
    from kineflow.storage.errors import KineflowError

    if before and not (appearance or motion):
        network, card = _continued(before, params)
        summary = f"from {card.lineage['before']}"
    elif appearance and motion and not before:
        network, card, fresh = _joined(appearance, motion, params, seed)
        summary = f"from {card.lineage['appearance']} and {card.lineage['motion']}"
        summary += f"; {fresh} temporal convolutions drawn anew" if fresh else ""
    else:
        raise KineflowError(
            "an ST-ResNet is made of two streams, or of one ST-ResNet",
            remedy="give appearance and motion, or before alone",
        )
    save_bundle(initial, network, card)
    tracker.set_tags(card.lineage)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return StepResult(metrics={"parameters": float(parameters)}, summary=summary, tags=card.lineage)


def _joined(
    appearance: Path, motion: Path, params: PretrainSTResNetSettings, seed: int
) -> tuple[STResNet, ModelCard, int]:
    """The second step of training: network, card, and how many weights no stream has."""
    from dataclasses import replace

    from kineflow.models.st_resnet import warm_start

    seeing, seeing_card = _stream(appearance, "rgb")
    moving, moving_card = _stream(motion, "flow")
    _require_the_same(seeing_card, moving_card)
    hyperparameters = {key: seeing_card.hyperparameters[key] for key in ("width", "output_stride")}
    if seeing.caffe:
        hyperparameters["caffe"] = True
    card = replace(
        seeing_card,
        name="initial-st_resnet",
        architecture="st_resnet",
        hyperparameters={**hyperparameters, **params.model_dump()},
        preprocessing=_input(seeing_card.preprocessing, moving_card),
        lineage={**_parent("appearance", seeing_card, appearance), **_parent("motion", moving_card, motion)},
        metrics={},
        flow=moving_card.flow,
    )
    network = _build(card, seed)
    fresh = warm_start(network, appearance=seeing, motion=moving)
    return network, card, len(fresh)


def _continued(before: Path, params: PretrainSTResNetSettings) -> tuple[STResNet, ModelCard]:
    """The third step of training."""
    from dataclasses import replace

    from kineflow.models.bundle import load_bundle
    from kineflow.models.st_resnet import STResNet, warm_start_star
    from kineflow.storage.errors import KineflowError

    trained, before_card = load_bundle(before)
    if not isinstance(trained, STResNet):
        raise KineflowError(
            f"{before_card.name!r} is a {before_card.architecture}, and no ST-ResNet", where=before, remedy="give one"
        )
    card = replace(
        before_card,
        name="initial-st_resnet_star" if params.temporal_pool else "initial-st_resnet",
        hyperparameters={**before_card.hyperparameters, **params.model_dump(exclude={"temporal_init"})},
        lineage=_parent("before", before_card, before),
        metrics={},
    )
    network = _build(card, seed=0)  # all its weights are about to be replaced
    warm_start_star(network, before=trained)
    return network, card


def _stream(bundle: Path, modality: str) -> tuple[ResNet50, ModelCard]:
    """The network for images within a stream that was trained by itself."""
    from kineflow.models.bundle import load_bundle
    from kineflow.models.resnet import ResNet50
    from kineflow.models.tsn import TSN
    from kineflow.storage.errors import KineflowError

    network, card = load_bundle(bundle)
    seen_modality = card.preprocessing.modality
    if not isinstance(network, TSN) or not isinstance(network.backbone, ResNet50) or seen_modality != modality:
        kind = card.hyperparameters.get("backbone", card.architecture)
        raise KineflowError(
            f"a stream is a TSN on resnet50 that sees {modality}; {card.name!r} is {kind} that sees {seen_modality}",
            where=bundle,
            remedy="pretrain it with backbone resnet50 or resnet50_caffe, and give each stream its own",
        )
    if network.snippet_frames > 1 and modality == "rgb":
        raise KineflowError(
            f"the appearance stream sees {network.snippet_frames} frames at once, and ST-ResNet one a time step",
            where=bundle,
            remedy="train it with frames: 1",
        )
    return network.backbone, card


def _require_the_same(appearance: ModelCard, motion: ModelCard) -> None:
    from kineflow.storage.errors import KineflowError

    sizes = [(card.hyperparameters["width"], card.hyperparameters["output_stride"]) for card in (appearance, motion)]
    if sizes[0] != sizes[1]:
        raise KineflowError(
            "width and output_stride are {} and {} for appearance, {} and {} for motion".format(*sizes[0], *sizes[1]),
            remedy="pretrain both streams as one network",
        )
    if appearance.classes != motion.classes:
        raise KineflowError(
            f"the streams know different classes, {len(appearance.classes)} and {len(motion.classes)} of them",
            remedy="train both on one clip set",
        )


def _input(appearance: Preprocessing, motion: ModelCard) -> Preprocessing:
    """A frame as the appearance stream takes it, and under it the flow frames as the motion stream does."""
    from dataclasses import replace

    flow_frames = motion.hyperparameters["snippet_frames"]
    assert isinstance(flow_frames, int)  # a TSN was built with it
    return replace(
        appearance,
        modality="rgb_flow",
        mean=appearance.mean + motion.preprocessing.mean * flow_frames,
        std=appearance.std + motion.preprocessing.std * flow_frames,
        segments=0,
    )


def _build(card: ModelCard, seed: int) -> STResNet:
    import torch

    from kineflow.models.st_resnet import st_resnet

    hyperparameters: dict[str, Scalar] = card.hyperparameters
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: STResNet = st_resnet(
            num_classes=len(card.classes),
            in_channels=len(card.preprocessing.mean),
            **hyperparameters,  # type: ignore[arg-type]
        )
    return network


def _parent(role: str, card: ModelCard, bundle: Path) -> dict[str, str]:
    from kineflow.models.bundle import weights_digest
    from kineflow.models.card import FITTED_ON, splits_learnt

    facts = {role: card.name, f"{role}_weights_sha256": weights_digest(bundle)}
    if learnt := splits_learnt(card.lineage):
        facts[f"{role}_{FITTED_ON}"] = ", ".join(learnt)
    return facts


if __name__ == "__main__":
    command(pretrain_st_resnet)
