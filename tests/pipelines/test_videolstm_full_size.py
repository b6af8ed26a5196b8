"""A real clip through the paper's VideoLSTM, as ``params/videolstm_ucf101.yaml`` has it: 224², T = 30, K = 101."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import default_collate

from components.extract_features import extract_features
from components.pretrain_tsn import pretrain_tsn
from kineflow.data.batch_sampler import SampleRef
from kineflow.data.feature_settings import FeatureSettings
from kineflow.models.frame_networks import FrameNetwork
from kineflow.models.pretrain_tsn_settings import PretrainTsnSettings
from kineflow.models.videolstm import ConvALSTM, ConvLSTM, VideoLSTM, warm_start
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import write_flow
from kineflow.sets.flow_set import FlowEntry, FlowSet
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

CLIP = "v_SoccerJuggling_g23_c01.avi"
CLASSES = tuple(f"class{number}" for number in range(101))
STEPS = 30
# Convolutions of VGG-16 alone; the other stream's first ones have a channel less.
BACKBONE = {"appearance": 14_714_688, "motion": 14_714_688 - 64 * 9}
CELL, INITIAL, HEAD, CLASSIFIER = 18_876_416, 4_719_616, 25_691_136, 103_525
ATTENDING = 49_916_006  # with cell, initial states, head and classifier
ABOVE = 4 * 512 * 512 * 9  # what the bottom sees of the top


@pytest.fixture(scope="module")
def paper() -> dict[str, Any]:
    return load_params(graph_of("videolstm"), ROOT / "params" / "videolstm_ucf101.yaml")


@pytest.fixture(scope="module")
def data(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 31 frames of a real clip, and a flow of them."""
    folder = tmp_path_factory.mktemp("data")
    index = index_video(shared_data / "clips" / CLIP)
    clip = Clip(
        "v", CLIP, CLASSES[3], "g", Split.TRAIN, STEPS + 1, 25.0, index.width, index.height, 0, "v", Status.OK, "", "v"
    )
    levels = np.random.default_rng(0).integers(108, 149, (STEPS, index.height, index.width, 2), dtype=np.uint8)
    write_flow(folder / "flow" / "media" / "v.mp4", levels)
    ClipSet(CLASSES, (clip,), str(shared_data / "clips")).save(folder / "clips")
    entry = FlowEntry("v", "v.mp4", STEPS, index.width, index.height, Status.OK, "")
    FlowSet(20.0, {"v": entry}, str(folder / "flow" / "media")).save(folder / "flow")
    return folder


@pytest.fixture(scope="module")
def streams(paper: dict[str, Any], data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stream]]:
    """Both backbones and what they saw; each weighs half a gigabyte."""
    folder = tmp_path_factory.mktemp("streams")
    folders = {name: folder / name for name in ("rgb", "difference", "flow", "warped")}
    from_scratch = {key: value for key, value in paper["network"].items() if key not in ("checkpoint", "sha256")}
    pretrain_tsn(params=PretrainTsnSettings(**{**from_scratch, "cross_modality": False}), **folders)
    found = {}
    for role, name in (("appearance", "rgb"), ("motion", "flow")):
        _as_trained(folders[name], paper["spatial"])
        extract_features(
            clips=data / "clips",
            flow=data / "flow" if role == "motion" else None,
            backbone=folders[name],
            params=FeatureSettings(batch_frames=10),
            features=folder / role,
        )
        found[role] = load_stream(folder / role, folders[name])
    yield found
    shutil.rmtree(folder)


def _as_trained(bundle: Path, settings: dict[str, Any]) -> None:
    """Write into the card what training writes: how frames become squares."""
    import json

    card = json.loads((bundle / "model.json").read_text())
    card["preprocessing"] |= {key: settings[key] for key in ("fit", "short_side", "crop")}
    (bundle / "model.json").write_text(json.dumps(card))


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.long
def test_features_are_maps_of_the_whole_frame(streams: dict[str, Stream]) -> None:
    for stream in streams.values():
        assert stream.features.shape == (512, 7, 7)
        assert stream.features.entries["v"].time_steps == STEPS
        assert stream.features.source.preprocessing.fit == "squash"
    appearance = streams["appearance"].features.source.preprocessing
    assert (appearance.channel_order, appearance.mean) == ("bgr", (104.0, 117.0, 123.0))
    assert streams["motion"].features.source.preprocessing.mean == (128.0, 128.0)


@pytest.mark.long
@pytest.mark.parametrize(
    ("section", "roles", "parameters"),
    [
        ("motion_conv_lstm", ("motion",), CELL + HEAD + CLASSIFIER),
        ("appearance", ("appearance",), ATTENDING),
        ("motion", ("motion",), ATTENDING),
        ("attending", ("appearance", "motion"), ATTENDING + CELL + ABOVE + INITIAL),
    ],
)
def test_one_step_of_training(
    paper: dict[str, Any],
    data: Path,
    streams: dict[str, Stream],
    section: str,
    roles: tuple[str, ...],
    parameters: int,
) -> None:
    settings = RecurrentSettings(**paper[section])
    network, card = _network(streams, roles, settings)
    assert _size(network.sequence) == parameters
    assert _size(network) == parameters + sum(BACKBONE[role] for role in roles)

    clip_set = ClipSet.load(data / "clips")
    clips = FeatureDataset(
        clip_set,
        clip_set.clips,
        feature_sets=dict(zip(network.sequence.inputs, (streams[role].features for role in roles), strict=True)),
        spec=ClipSpec(settings.frames, settings.stride_frames),
    )
    batch = default_collate([clips[SampleRef(0, (0,))]])
    assert {key: tuple(batch[key].shape) for key in network.sequence.inputs} == dict.fromkeys(
        network.sequence.inputs, (1, STEPS, 512, 7, 7)
    )
    task = StepwiseClassification(network, card.preprocessing, settings).train()
    optimiser = build_optimiser(network, settings.optimiser)
    watched = {"top": network.sequence.head.classifier.weight, "backbone": network.stem.weight}
    before = {name: weight.detach().clone() for name, weight in watched.items()}
    loss = task.loss(batch)["loss"]
    loss.backward()
    optimiser.step()
    assert 0 < loss.item() < np.inf
    assert not torch.equal(watched["top"], before["top"])
    assert torch.equal(watched["backbone"], before["backbone"])


@pytest.mark.long
def test_videolstm_starts_from_its_parents(paper: dict[str, Any], streams: dict[str, Stream]) -> None:
    network, card = _network(streams, ("appearance", "motion"), RecurrentSettings(**paper["attending"]))
    appearance, _ = _network(streams, ("appearance",), RecurrentSettings(**paper["appearance"]), seed=1)
    flow, _ = _network(streams, ("motion",), RecurrentSettings(**paper["motion_conv_lstm"]), seed=2)
    assert isinstance(network.sequence, VideoLSTM)
    assert isinstance(appearance.sequence, ConvALSTM)
    assert isinstance(flow.sequence, ConvLSTM)
    fresh = warm_start(network.sequence, flow=flow.sequence, appearance=appearance.sequence)
    own = network.sequence.state_dict()
    assert sum(own[name].numel() for name in fresh) == ABOVE + INITIAL
    assert card.preprocessing.modality == "rgb_flow"

    seen = [streams[role].features.read("v", np.arange(STEPS))[None] for role in ("appearance", "motion")]
    with torch.inference_mode():
        hidden, attention = network.sequence.unroll(*seen)
    assert attention is not None
    assert (hidden.shape, attention.shape) == ((1, STEPS, 512, 7, 7), (1, STEPS, 7, 7))
    assert torch.allclose(attention.sum(dim=(2, 3)), torch.ones(1))


def _network(
    streams: dict[str, Stream], roles: tuple[str, ...], settings: RecurrentSettings, *, seed: int = 0
) -> tuple[FrameNetwork, Any]:
    return network_over([streams[role] for role in roles], settings, CLASSES, name="m", seed=seed)
