"""One batch of real clips through the paper's ST-ResNet, as ``params/st_resnet_ucf101.yaml`` has it: 224², K = 101."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from components.pretrain_st_resnet import pretrain_st_resnet
from components.pretrain_tsn import pretrain_tsn
from kineflow.data.batch_sampler import SampleRef
from kineflow.data.dataset import ClipDataset, Geometry
from kineflow.data.windows import needed_of, prepare_windows
from kineflow.models.bundle import load_bundle, save_bundle
from kineflow.models.pretrain_st_resnet_settings import PretrainSTResNetSettings
from kineflow.models.pretrain_tsn_settings import PretrainTsnSettings
from kineflow.models.st_resnet import STResNet
from kineflow.sets.clip_set import ClipSet
from kineflow.sets.flow_file import read_flow
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.sampling import ClipSpec
from kineflow.training.optimisers import build_optimiser
from kineflow.training.settings import TrainSettings
from kineflow.training.two_stream import TwoStream
from kineflow.video.decode import read_frames
from pipelines.dag.graph import graph_of
from pipelines.dag.params import load_params
from pipelines.dag.sources import ROOT

CLASSES = tuple(f"class{number}" for number in range(101))


@pytest.fixture(scope="module")
def paper() -> dict[str, Any]:
    return load_params(graph_of("st_resnet"), ROOT / "params" / "st_resnet_ucf101.yaml")


@pytest.fixture(scope="module")
def initial(paper: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What the joined networks start from, by their sections' names."""
    folder = tmp_path_factory.mktemp("initial")
    folders = {name: folder / name for name in ("rgb", "difference", "flow", "warped")}
    from_scratch = {key: value for key, value in paper["network"].items() if key not in ("checkpoint", "sha256")}
    pretrain_tsn(params=PretrainTsnSettings(**{**from_scratch, "normalisation": "torchvision"}), **folders)
    for name in ("rgb", "flow"):
        network, card = load_bundle(folders[name])
        network.reset_classifier(len(CLASSES))
        save_bundle(folder / name, network, dataclasses.replace(card, classes=CLASSES))
    joined = {name: folder / name for name in ("st_resnet", "st_resnet_star")}
    pretrain_st_resnet(
        appearance=folders["rgb"],
        motion=folders["flow"],
        params=PretrainSTResNetSettings(**paper["join"]),
        initial=joined["st_resnet"],
    )
    pretrain_st_resnet(
        before=joined["st_resnet"],
        params=PretrainSTResNetSettings(**paper["join_star"]),
        initial=joined["st_resnet_star"],
    )
    return joined


@pytest.mark.long
@pytest.mark.parametrize(
    ("section", "clips", "steps", "answers"), [("st_resnet", 2, 5, 5), ("st_resnet_star", 1, 11, 4)]
)
def test_one_step_of_training(
    paper: dict[str, Any],
    initial: dict[str, Path],
    real_data: tuple[ClipSet, FlowSet],
    section: str,
    clips: int,
    steps: int,
    answers: int,
) -> None:
    settings = TrainSettings(**paper[section])
    network, card = load_bundle(initial[section])
    assert isinstance(network, STResNet)
    assert sum(parameter.numel() for parameter in network.parameters()) == 58_624_394

    clip_set, flow_set = real_data
    geometry = Geometry(
        ClipSpec(settings.frames, settings.stride_frames, settings.short),
        settings.short_side,
        settings.crop,
        jitter=settings.jitter,
        flow_frames=card.preprocessing.flow_frames,
        stride_frames_max=settings.stride_frames_max,
    )
    samples = ClipDataset(
        clip_set,
        clip_set.clips,
        modalities=("rgb_flow",),
        geometry=geometry,
        flow_set=flow_set,
        may_flip=settings.flip,
    )
    batch = default_collate([samples[SampleRef(number, (number,))] for number in range(clips)])
    assert batch["rgb_flow"].shape == (clips, 23, steps, 224, 224)

    task = TwoStream(network, card.preprocessing).train()
    with torch.no_grad():
        scores = network.eval().forward_streams(task.inputs(batch))
    assert scores.appearance.shape == scores.motion.shape == (clips, answers, 101)
    task.train()
    optimiser = build_optimiser(network, settings.optimiser)
    before = {name: stream.conv1.weight.detach().clone() for name, stream in _streams(network).items()}
    loss = task.loss(batch)["loss"]
    loss.backward()
    optimiser.step()
    assert torch.isfinite(loss)
    assert loss.item() > 0
    for name, stream in _streams(network).items():
        assert not torch.equal(stream.conv1.weight, before[name])


@pytest.mark.long
def test_whole_frames_are_tested_over_25_steps(
    paper: dict[str, Any], initial: dict[str, Path], real_data: tuple[ClipSet, FlowSet]
) -> None:
    """The network takes what the evaluation hands it: 256 px on the shorter side, and its mirror image."""
    settings, (clip_set, flow_set) = TrainSettings(**paper["st_resnet_star"]), real_data
    network, card = load_bundle(initial["st_resnet_star"])
    assert isinstance(network, STResNet)
    clip = clip_set.clips[0]
    wanted = dataclasses.replace(
        card.preprocessing,
        frames=settings.test_frames,
        stride_frames=settings.test_stride_frames,
        short_side=settings.short_side,
        crop=settings.crop,
        short=settings.short,
    )
    time_steps = np.linspace(0, clip.frames - 2, wanted.frames).astype(np.int64)[None]
    needed = needed_of(time_steps, wanted, n_frames=clip.frames)
    frames = read_frames(clip_set.locate(clip), needed.frames.tolist())
    flow_frames = read_flow(flow_set.locate(clip.clip_id), needed.flow_frames.tolist())
    seen = prepare_windows(
        time_steps, needed, frames, flow_frames, wanted, n_frames=clip.frames, crops=paper["evaluation"]["crops"]
    )
    assert seen.shape == (1, 2, 23, 25, 256, 256 * clip.width // clip.height)
    with torch.inference_mode():
        assert network.forward_streams(seen[0, :1]).motion.shape == (1, 11, 101)


def _streams(network: STResNet) -> dict[str, Any]:
    return {"appearance": network.appearance, "motion": network.motion}
