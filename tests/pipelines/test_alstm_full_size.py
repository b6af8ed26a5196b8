"""One batch of real clips through the paper's ALSTM, as ``params/alstm_ucf101.yaml`` has it: 224², K = 101."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import default_collate

from components.choose_backbone import choose_backbone
from components.extract_features import extract_features
from components.pretrain_tsn import pretrain_tsn
from kineflow.data.batch_sampler import SampleRef
from kineflow.data.feature_settings import FeatureSettings
from kineflow.models.backbone_settings import BackboneSettings
from kineflow.models.pretrain_tsn_settings import PretrainTsnSettings
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.sampling import ClipSpec
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.training.composite import network_over
from kineflow.training.feature_dataset import FeatureDataset
from kineflow.training.optimisers import build_optimiser
from kineflow.training.recurrent_settings import RecurrentSettings
from kineflow.training.stepwise import StepwiseClassification
from kineflow.training.streams import Stream, load_stream
from kineflow.video.index import index_video
from pipelines.dag.graph import graph_of
from pipelines.dag.params import load_params
from pipelines.dag.sources import ROOT

CLIPS = ("v_SoccerJuggling_g23_c01.avi", "TrumanShow_wave_f_nm_np1_fr_med_26.avi")
CLASSES = tuple(f"class{number}" for number in range(101))
FRAMES = 33  # of each clip, for speed: three windows of 30 time steps

LSTM = 3_147_776 + 2 * 2_099_200
INITIAL_STATES, LOCATION = 6 * 524_800, 49 * 512
HEAD = 262_656 + 513 * len(CLASSES)
PARAMETERS = {
    "attention": LSTM + INITIAL_STATES + LOCATION + HEAD,
    "average": LSTM + INITIAL_STATES + HEAD,
    "max": LSTM + INITIAL_STATES + HEAD,
    "cube": 50_176 * len(CLASSES) + len(CLASSES),
    "penalised": LSTM + INITIAL_STATES + LOCATION + HEAD,
}


@pytest.fixture(scope="module")
def paper() -> dict[str, Any]:
    return load_params(graph_of("alstm"), ROOT / "params" / "alstm_ucf101.yaml")


@pytest.fixture(scope="module")
def clip_set(shared_data: Path) -> ClipSet:
    clips = []
    for number, name in enumerate(CLIPS):
        index = index_video(shared_data / "clips" / name)
        assert index.frames > FRAMES
        clips.append(
            Clip(
                name, name, CLASSES[number], name, Split.TRAIN, FRAMES, 25.0, index.width, index.height, 0, name,
                Status.OK, "", name,
            )
        )  # fmt: skip
    return ClipSet(CLASSES, tuple(clips), str(shared_data / "clips"))


@pytest.fixture(scope="module")
def stream(paper: dict[str, Any], clip_set: ClipSet, tmp_path_factory: pytest.TempPathFactory) -> Stream:
    folder = tmp_path_factory.mktemp("alstm")
    from_scratch = {key: value for key, value in paper["network"].items() if key not in ("checkpoint", "sha256")}
    params = PretrainTsnSettings(**{**from_scratch, "normalisation": "half_range"})  # the checkpoint's own
    initial = {name: folder / name for name in ("rgb", "difference", "flow")}
    pretrain_tsn(params=params, warped=folder / "warped", **initial)
    choose_backbone(params=BackboneSettings(**paper["backbone"]), backbone=folder / "backbone", **initial)
    clip_set.save(folder / "clips")
    features = FeatureSettings(**{**paper["features"], "media_root": "", "batch_frames": 32})
    extract_features(
        clips=folder / "clips", backbone=folder / "backbone", params=features, features=folder / "features"
    )
    return load_stream(folder / "features", folder / "backbone")


@pytest.mark.long
@pytest.mark.parametrize("section", list(PARAMETERS))
def test_one_step_of_training(paper: dict[str, Any], clip_set: ClipSet, stream: Stream, section: str) -> None:
    settings = RecurrentSettings(**paper[section])
    assert stream.features.shape == (1024, 7, 7)
    network, card = network_over([stream], settings, CLASSES, name=section, seed=0)
    assert sum(parameter.numel() for parameter in network.sequence.parameters()) == PARAMETERS[section]
    assert (card.preprocessing.frames, card.preprocessing.crop, card.preprocessing.fit) == (30, 224, "squash")

    clips = FeatureDataset(
        clip_set,
        clip_set.clips,
        feature_sets={"features": stream.features},
        spec=ClipSpec(settings.frames, settings.stride_frames),
        every_window=settings.windows == "every",
    )
    assert clips.items == 2 * 3
    batch = default_collate([clips[SampleRef(number, (0,))] for number in (0, 5)])
    assert batch["features"].shape == (2, 30, 1024, 7, 7)
    assert batch["label"].tolist() == [0, 1]

    task = StepwiseClassification(network, card.preprocessing, settings).train()
    optimiser = build_optimiser(network, settings.optimiser)
    before = network.sequence.head.classifier.weight.detach().clone()
    losses = task.loss(batch)
    losses["loss"].backward()
    optimiser.step()
    assert torch.isfinite(losses["loss"])
    if section != "cube":  # nothing is known yet: at each of 30 steps of both clips, chance among 101 classes
        assert losses["cross_entropy"].item() == pytest.approx(2 * 30 * math.log(101), rel=0.05)
    if "attention_penalty" in losses:
        assert losses["attention_penalty"].item() / 2 == pytest.approx(7.367, rel=0.01)
    assert not torch.equal(network.sequence.head.classifier.weight, before)
