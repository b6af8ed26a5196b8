"""One batch of real clips through the paper's TSN as ``params/tsn_ucf101.yaml`` describes it: 224², 101 classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import default_collate

from components.pretrain_tsn import pretrain_tsn
from kineflow.data.batch_sampler import SampleRef
from kineflow.data.crops import Jitter
from kineflow.data.dataset import ClipDataset, Geometry
from kineflow.models.bundle import load_bundle
from kineflow.models.pretrain_tsn_settings import PretrainTsnSettings
from kineflow.sets.clip_set import ClipSet
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.sampling import ClipSpec
from kineflow.training.optimisers import build_optimiser
from kineflow.training.settings import TrainSettings
from kineflow.training.tasks import Classification
from pipelines.dag.graph import graph_of
from pipelines.dag.params import load_params
from pipelines.dag.sources import ROOT

CLASSES = tuple(f"class{number}" for number in range(101))


@pytest.fixture(scope="module")
def paper() -> dict[str, Any]:
    return load_params(graph_of("tsn"), ROOT / "params" / "tsn_ucf101.yaml")


@pytest.fixture(scope="module")
def streams(paper: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("streams")
    folders = {name: folder / name for name in ("rgb", "difference", "flow", "warped")}
    from_scratch = {key: value for key, value in paper["network"].items() if key not in ("checkpoint", "sha256")}
    params = PretrainTsnSettings(**{**from_scratch, "normalisation": "caffe"})  # the checkpoint's own
    pretrain_tsn(params=params, **folders)
    return folders


@pytest.mark.long
@pytest.mark.parametrize(
    ("stream", "section", "planes"),
    [("rgb", "spatial", 3), ("difference", "difference", 15), ("flow", "temporal", 10), ("warped", "temporal", 10)],
)
def test_one_step_of_training(
    paper: dict[str, Any],
    streams: dict[str, Path],
    real_data: tuple[ClipSet, FlowSet],
    stream: str,
    section: str,
    planes: int,
) -> None:
    settings = TrainSettings(**paper[section])
    network, card = load_bundle(streams[stream])
    network.reset_classifier(len(CLASSES))
    assert network.stem.in_channels == planes
    # The stem of the other streams has more channels: 64 kernels of 7×7 each.
    expected = 10_353_733 + 20_032 + (planes - 3) * 64 * 49
    assert sum(parameter.numel() for parameter in network.parameters()) == expected

    clip_set, flow_set = real_data
    modality = card.preprocessing.modality
    jitter = Jitter(settings.crop_scales, settings.crop_positions)
    geometry = Geometry(ClipSpec(settings.frames), settings.short_side, settings.crop, segments=3, jitter=jitter)
    clips = ClipDataset(
        clip_set, clip_set.clips, modalities=(modality,), geometry=geometry, flow_set=flow_set, may_flip=settings.flip
    )
    batch = default_collate([clips[SampleRef(number, (number,))] for number in range(2)])
    assert batch[modality].shape == (2, planes // settings.frames, 3 * settings.frames, 224, 224)

    task = Classification(network, card.preprocessing, partial_norms=settings.partial_norms).train()
    optimiser = build_optimiser(network, settings.optimiser)
    before = network.stem.weight.detach().clone()
    loss = task.loss(batch)["loss"]
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), settings.optimiser.clip_gradient_norm, error_if_nonfinite=True)
    optimiser.step()
    assert loss.item() > 0
    assert not torch.equal(network.stem.weight, before)
