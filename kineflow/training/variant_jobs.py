"""From clip set, flow set and bundles to D3D's variants that plain training and distillation do not cover."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from kineflow.data.batch_sampler import BatchSampler, Pool
from kineflow.data.dataset import ClipDataset, Geometry
from kineflow.models.bundle import load_bundle
from kineflow.models.card import ModelCard, Scalar
from kineflow.models.download import display_name
from kineflow.models.learnt_flow import LearntFlow
from kineflow.models.network import VideoNetwork, require_same_tensors, shapes
from kineflow.models.pwc_net import PWCNet
from kineflow.models.registry import create_model
from kineflow.models.weights import fetch_weights, read_weights
from kineflow.sets.clip_set import ClipSet
from kineflow.sets.flow_set import FlowSet
from kineflow.sets.rows import joined
from kineflow.spec.modality import Modality
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.sampling import ClipSpec
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.progress import track
from kineflow.tracking.tracker import Tracker
from kineflow.training.clips import Data, fit_on_clips
from kineflow.training.d3d_variants import AuxiliaryDecoding, StudentWithDecoder
from kineflow.training.flow_estimator import fit_estimator
from kineflow.training.jobs import Trained
from kineflow.training.model_cards import for_these_classes, with_metrics
from kineflow.training.settings import TrainSettings
from kineflow.training.variant_settings import AuxiliarySettings, LearntFlowSettings


def train_with_decoder(
    data: Data,
    initial: Path,
    settings: TrainSettings,
    auxiliary: AuxiliarySettings,
    *,
    name: str,
    seed: int,
    work: Path,
    tracker: Tracker,
) -> Trained:
    """Train a student that also learns to tell the flow; the decoder is left behind.

    The arguments are those of :func:`kineflow.training.jobs.train_network`.

    Raises:
        KineflowError: The student has no such stage, or clips or their flow are missing.
    """
    if data.flow_set is None:
        raise KineflowError("flow is to be decoded, and there is no flow set", remedy="pass extract_flow's output")
    network, card = for_these_classes(initial, data.clip_set, settings, name=name, seed=seed)
    task = AuxiliaryDecoding(
        network,
        card.preprocessing,
        stage=auxiliary.stage,
        decoder=auxiliary.decoder,
        bound_px=data.flow_set.bound_px,
        weight=auxiliary.weight,
        **settings.task_options(),
    )
    modalities: tuple[Modality, ...] = (card.preprocessing.modality, "flow")
    fitted = fit_on_clips(
        task,
        data,
        settings,
        modalities=tuple(dict.fromkeys(modalities)),
        unlabelled_batch=auxiliary.unlabelled_batch_size,
        seed=seed,
        work=work,
        tracker=tracker,
    )
    assert isinstance(task.network, StudentWithDecoder)
    decoded = f"{auxiliary.decoder} at {auxiliary.stage}, weight {auxiliary.weight:g}"
    card = dataclasses.replace(card, lineage={**card.lineage, "flow_decoder": decoded})
    return Trained(task.network.student, with_metrics(card, fitted), fitted)


def start_learnt_flow(
    clip_set: ClipSet, flow_set: FlowSet, stream: Path, settings: LearntFlowSettings, *, name: str, seed: int
) -> tuple[LearntFlow, ModelCard, float | None]:
    """Put a flow estimator in front of a trained flow stream, for training to tune both.

    Args:
        clip_set: Clips of ``train`` and ``unlabelled`` teach the estimator, where it takes steps.
        flow_set: Their flow; its bound is the stream's.
        stream: Bundle of a flow stream, S3D or S3D-G; its classes and classifier are kept.
        settings: Where the estimator comes from.
        name: Of the model.
        seed: Of the estimator's weights and batches.

    Returns:
        The network, its card, and the end-point error of the estimator's last steps, px, None where it took none.

    Raises:
        KineflowError: The stream takes no flow, or the checkpoint cannot be had or does not fit.
    """
    flow_stream, card = load_bundle(stream)
    clip_set.require_form(card.preprocessing, of=f"model {card.name!r}")
    network = _behind_estimator(flow_stream, card, settings, bound_px=flow_set.bound_px, seed=seed)
    lineage = {**card.lineage, "stream": card.name, "estimator": "from scratch"}
    if settings.checkpoint:
        _load_estimator(network.estimator, settings)
        lineage["estimator"] = display_name(settings.checkpoint)
    error = None
    if settings.steps:
        batches = _pairs(clip_set, flow_set, card.preprocessing, settings, seed=seed)
        followed = track(batches, total=settings.steps, what=name, unit="step")
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        course = fit_estimator(
            network.estimator.to(device),
            followed,
            steps=settings.steps,
            settings=settings.optimiser,
            bound_px=flow_set.bound_px,
        )
        last = course[-max(1, len(course) // 10) :]
        error = sum(last) / len(last)
        lineage["estimator"] += f", {settings.steps} steps on flow"
    preprocessing = dataclasses.replace(card.preprocessing, modality="rgb", mean=(0.0,) * 3, std=(1.0,) * 3)
    card = ModelCard(
        name=name,
        architecture="learnt_flow",
        hyperparameters=_hyperparameters(card, settings, bound_px=flow_set.bound_px),
        classes=card.classes,
        preprocessing=preprocessing,
        lineage=lineage,
    )
    return network.cpu().eval(), card, error


def _behind_estimator(
    stream: VideoNetwork, card: ModelCard, settings: LearntFlowSettings, *, bound_px: float, seed: int
) -> LearntFlow:
    # Whether or not it is frozen later, here the estimator may still learn.
    hyperparameters = {**_hyperparameters(card, settings, bound_px=bound_px), "frozen": False}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = create_model("learnt_flow", num_classes=len(card.classes), in_channels=3, **hyperparameters)
    assert isinstance(network, LearntFlow)
    network.stream.load_state_dict(stream.state_dict())
    return network


def _hyperparameters(card: ModelCard, settings: LearntFlowSettings, *, bound_px: float) -> dict[str, Scalar]:
    preprocessing = card.preprocessing
    if preprocessing.modality != "flow" or len(set(preprocessing.mean)) > 1 or len(set(preprocessing.std)) > 1:
        raise KineflowError(
            f"a stream that sees {preprocessing.modality} (mean {preprocessing.mean}, std {preprocessing.std}) "
            "cannot be given learnt flow",
            where=f"model {card.name!r}",
            remedy="give a flow stream whose two channels are normalised alike",
        )
    return {
        **card.hyperparameters,
        "stream": card.architecture,
        "estimator_width": settings.width,
        "frozen": settings.frozen,
        "bound_px": bound_px,
        "flow_mean": preprocessing.mean[0],
        "flow_std": preprocessing.std[0],
    }


def _load_estimator(estimator: PWCNet, settings: LearntFlowSettings) -> None:
    weights = read_weights(fetch_weights(settings.checkpoint, sha256=settings.sha256))
    own = estimator.state_dict()
    # Not every release has this layer, which no flow depends on.
    given = {**{key: value for key, value in own.items() if key.startswith("deconv2.")}, **weights}
    require_same_tensors(
        shapes(own),
        shapes(given),
        where=display_name(settings.checkpoint),
        remedy="give a checkpoint of PWC-Net, and width 1",
    )
    estimator.load_state_dict(given)


def _pairs(
    clip_set: ClipSet, flow_set: FlowSet, preprocessing: Preprocessing, settings: LearntFlowSettings, *, seed: int
) -> DataLoader[object]:
    """Batches of two frames and the flow between them, from anywhere in the clips."""
    clips = ClipDataset(
        clip_set,
        joined(clip_set.usable(Split.TRAIN), clip_set.usable(Split.UNLABELLED)),
        modalities=("rgb", "flow"),
        geometry=Geometry(ClipSpec(2), preprocessing.short_side, preprocessing.crop, fit=preprocessing.fit),
        flow_set=flow_set,
        may_flip=True,
        cache_bytes=settings.cache_mb << 20,
    )
    sampler = BatchSampler([Pool(range(len(clips)), settings.batch_size)], steps=settings.steps, seed=seed)
    return DataLoader(clips, batch_sampler=sampler, num_workers=settings.workers)
