"""A real clip through D3D, its probes and its variants, with ``params/d3d*_ucf101.yaml``: 64 × 224², K = 101."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from components.pretrain import pretrain
from kineflow.data.batch_sampler import SampleRef
from kineflow.data.dataset import ClipDataset, Geometry
from kineflow.evaluation.probe_settings import ProbeSettings
from kineflow.models.bundle import load_bundle
from kineflow.models.flow_decoder import create_decoder
from kineflow.models.learnt_flow import learnt_flow
from kineflow.models.pretrain_settings import PretrainSettings
from kineflow.models.s3d import S3D
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import write_flow
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.spec.sampling import ClipSpec
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.training.d3d_variants import AuxiliaryDecoding, StudentWithDecoder
from kineflow.training.distillation import Distillation, Teacher
from kineflow.training.motion_probe import MotionProbe, features_for, fit_decoders
from kineflow.training.optimisers import build_optimiser
from kineflow.training.settings import DistillSettings, TrainSettings
from kineflow.training.variant_settings import AuxiliarySettings
from kineflow.video.index import index_video
from pipelines.dag.graph import graph_of
from pipelines.dag.params import load_params
from pipelines.dag.sources import ROOT

CLIP = "v_SoccerJuggling_g23_c01.avi"
CLASSES = tuple(f"class{number}" for number in range(101))
# Features of the probed stages: channels, time steps, and the side of a map.
PROBED = {
    "Conv2c": (192, 32, 56), "Mixed3c": (480, 32, 28), "Mixed4c": (512, 16, 14), "Mixed4f": (832, 16, 14),
    "Mixed5c": (1024, 8, 7),
}  # fmt: skip


@pytest.fixture(scope="module")
def paper() -> dict[str, Any]:
    return load_params(graph_of("d3d_variants"), ROOT / "params" / "d3d_variants_ucf101.yaml")


@pytest.fixture(scope="module")
def initial(paper: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("initial")
    folders = {name: folder / name for name in ("rgb", "flow")}
    pretrain(params=PretrainSettings(**paper["network"]), **folders)
    return folders


@pytest.fixture(scope="module")
def batch(paper: dict[str, Any], shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One clip as the recipe's trainings see it, and flow that pans."""
    settings, flow = TrainSettings(**paper["student"]), tmp_path_factory.mktemp("flow")
    index = index_video(shared_data / "clips" / CLIP)
    clip = Clip(
        CLIP, CLIP, CLASSES[0], CLIP, Split.TRAIN, index.frames, 25.0, index.width, index.height, 0, CLIP, Status.OK,
        "", CLIP,
    )  # fmt: skip
    levels = np.full((index.frames - 1, index.height, index.width, 2), 128, np.uint8)
    levels[..., 0] = 160
    write_flow(flow / f"{CLIP}.mp4", levels)
    entry = FlowEntry(CLIP, f"{CLIP}.mp4", len(levels), index.width, index.height, Status.OK, "")
    clips = ClipDataset(
        ClipSet(CLASSES, (clip,), str(shared_data / "clips")),
        [clip],
        modalities=("rgb", "flow"),
        geometry=Geometry(ClipSpec(settings.frames), settings.short_side, settings.crop),
        flow_set=FlowSet(paper["flow"]["bound_px"], {CLIP: entry}, str(flow)),
        may_flip=settings.flip,
    )
    collated: dict[str, Any] = default_collate([clips[SampleRef(0, (0,))]])
    assert collated["rgb"].shape == (1, 3, 64, 224, 224)
    assert collated["flow"].shape == (1, 2, 64, 224, 224)
    return collated


@pytest.mark.long
def test_probes_of_every_stage(paper: dict[str, Any], initial: dict[str, Path], batch: dict[str, Any]) -> None:
    settings, bound_px = ProbeSettings(**paper["probes"]), paper["flow"]["bound_px"]
    assert settings.stages == tuple(PROBED)
    network, card = load_bundle(initial["rgb"])
    preprocessing = dataclasses.replace(card.preprocessing, frames=64)
    # PWC-Net's decoder, fifty times the work of the simple one, at one stage; below, the shapes at all of them.
    sites = [*((stage, "simple") for stage in settings.stages), ("Mixed4f", "spatial"), ("Mixed4f", "pwc")]
    probes = [
        MotionProbe(network, preprocessing, stage=stage, decoder=decoder, bound_px=bound_px)  # type: ignore[arg-type]
        for stage, decoder in sites
    ]
    for (stage, _), features in zip(sites, features_for(probes, batch), strict=True):  # type: ignore[arg-type]
        channels, steps, side = PROBED[stage]
        assert features.shape == (1, channels, steps, side, side)
    pan = (160 - 127.5) * 2 * bound_px / 255
    courses = fit_decoders(probes, [batch, batch], steps=2, settings=settings.optimiser)  # type: ignore[list-item]
    for first, second in courses:
        assert first == pytest.approx(pan, rel=0.05)  # at first nothing moves
        assert second < first


@pytest.mark.long
def test_decoders_answer_at_the_size_of_the_features(paper: dict[str, Any]) -> None:
    with torch.device("meta"):
        for channels, steps, side in PROBED.values():
            for decoder in paper["probes"]["decoders"]:
                flow = create_decoder(decoder, channels)(torch.empty(1, channels, steps, side, side))
                assert flow.shape == (1, 2, steps, side, side)


@pytest.mark.long
def test_one_step_with_an_auxiliary_decoder(
    paper: dict[str, Any], initial: dict[str, Path], batch: dict[str, Any]
) -> None:
    settings, auxiliary = TrainSettings(**paper["student"]), AuxiliarySettings(**paper["auxiliary"])
    network, card = load_bundle(initial["rgb"])
    network.reset_classifier(len(CLASSES))
    task = AuxiliaryDecoding(
        network,
        card.preprocessing,
        stage=auxiliary.stage,
        decoder=auxiliary.decoder,
        bound_px=paper["flow"]["bound_px"],
        weight=auxiliary.weight,
    ).train()
    assert isinstance(task.network, StudentWithDecoder)
    assert isinstance(network, S3D)
    alone = sum(parameter.numel() for parameter in network.parameters())
    assert alone == 7_910_048 + 1_219_328 + 1025 * 101  # S3D, the gates of S3D-G, and the classifier
    decoder = sum(parameter.numel() for parameter in task.network.decoder.parameters())
    assert decoder == 2_627_008 + 16_706 + 1_549_442  # PWC's from 480 channels
    optimiser = build_optimiser(task.network, settings.optimiser)
    before = network.stem.weight.detach().clone()
    losses = task.loss(batch)  # type: ignore[arg-type]
    losses["loss"].backward()
    torch.nn.utils.clip_grad_norm_(task.network.parameters(), 1e9, error_if_nonfinite=True)
    optimiser.step()
    assert losses["loss"].item() == pytest.approx(
        losses["cross_entropy"].item() + auxiliary.weight * losses["end_point_error"].item(), rel=1e-5
    )
    assert not torch.equal(network.stem.weight, before)


@pytest.mark.long
def test_learnt_flow_of_a_whole_clip(paper: dict[str, Any]) -> None:
    hyper = {key: value for key, value in paper["network"].items() if key in ("width", "bn_momentum")}
    with torch.device("meta"):
        network = learnt_flow(num_classes=101, bound_px=paper["flow"]["bound_px"], **hyper)
        clips = torch.empty(1, 3, 64, 224, 224)
        assert network.estimate(clips).shape == (1, 2, 63, 224, 224)
        assert network(clips).shape == (1, 101)


@pytest.mark.long
def test_one_step_of_d3d_itself(paper: dict[str, Any], initial: dict[str, Path], batch: dict[str, Any]) -> None:
    own = load_params(graph_of("d3d"), ROOT / "params" / "d3d_ucf101.yaml")
    assert {key: own[key] for key in ("network", "student")} == {key: paper[key] for key in ("network", "student")}
    settings, distillation = TrainSettings(**own["student"]), DistillSettings(**own["distillation"])
    (student, seen), (teacher, taught) = (load_bundle(initial[name]) for name in ("rgb", "flow"))
    for network in (student, teacher):
        network.reset_classifier(len(CLASSES))
    task = Distillation(
        student, seen.preprocessing, teachers=[Teacher(teacher, taught.preprocessing)], settings=distillation
    ).train()
    optimiser = build_optimiser(student, settings.optimiser)
    before = student.stem.weight.detach().clone(), teacher.stem.weight.detach().clone()
    losses = task.loss(batch)  # type: ignore[arg-type]
    assert losses["loss"].item() == pytest.approx(losses["cross_entropy"].item() + losses["distillation"].item())
    losses["loss"].backward()
    torch.nn.utils.clip_grad_norm_(student.parameters(), 1e9, error_if_nonfinite=True)
    optimiser.step()
    assert not torch.equal(student.stem.weight, before[0])
    assert torch.equal(teacher.stem.weight, before[1])
