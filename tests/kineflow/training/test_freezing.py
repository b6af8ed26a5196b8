from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from kineflow.models.network import VideoNetwork
from kineflow.models.registry import create_model
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.errors import KineflowError
from kineflow.training.d3d_variants import AuxiliaryDecoding
from kineflow.training.settings import TrainSettings
from kineflow.training.tasks import Classification
from kineflow.training.trainer import Trainer

RGB = Preprocessing("rgb", 4, 1, short_side=32, crop=32, mean=(128.0,) * 3, std=(64.0,) * 3)


def s3d() -> VideoNetwork:
    torch.manual_seed(0)
    return create_model("s3d", num_classes=2, width=0.0625, last_stage="Mixed4b", stem_temporal_stride=1)


def batch(number: int = 0) -> dict[str, torch.Tensor]:
    noise = torch.Generator().manual_seed(number)
    clips = torch.randint(256, (2, 3, 4, 32, 32), dtype=torch.uint8, generator=noise)
    return {"rgb": clips, "label": torch.tensor([0, 1])}


def trainer(**frozen: Any) -> Trainer:
    settings = TrainSettings(
        steps=4, validate_every_steps=4, short_side=32, crop=32, frozen="backbone",
        optimiser={"learning_rate": 0.01, "weight_decay": 0.1}, **frozen,
    )  # fmt: skip
    task = Classification(s3d(), RGB, **settings.task_options())
    return Trainer(task, settings, seed=0, device=torch.device("cpu"))


def moved(network: torch.nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    """Weights and statistics that are others now."""
    now = network.state_dict()
    return {name for name in before if not torch.equal(before[name], now[name])}


def copied(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_a_linear_probe_changes_the_classifier_alone_and_keeps_nothing_of_the_backbone() -> None:
    probe = trainer()
    network, before = probe.task.network, copied(probe.task.network)
    for number in range(2):
        probe.step(batch(number))
        probe.validate([batch()], 2)
    assert moved(network, before) == {"classifier.1.weight", "classifier.1.bias"}
    features = network.forward_features(torch.randn(2, 3, 4, 32, 32))
    assert not features.requires_grad
    assert network.classifier.training
    assert not any(layer.training for layer in network.features.modules() if isinstance(layer, torch.nn.BatchNorm3d))


def test_the_last_stages_may_learn_too() -> None:
    tuned = trainer(unfrozen_stages=2)
    before = copied(tuned.task.network)
    tuned.step(batch())
    stages = {name.split(".")[1] for name in moved(tuned.task.network, before) if name.startswith("features")}
    assert stages == {"6", "8"}  # Mixed3c and Mixed4b; a pool between them


def test_all_learns_from_the_step_on_that_was_asked_for_and_a_resumed_run_does_the_same() -> None:
    staged = trainer(unfreeze_after_steps=2)
    network, before = staged.task.network, copied(staged.task.network)
    for number in range(2):
        staged.step(batch(number))
        assert moved(network, before) == {"classifier.1.weight", "classifier.1.bias"}
    saved = copy.deepcopy(staged.state_dict())
    staged.step(batch(2))
    stem = {"features.0.0.0.weight", "features.0.0.1.running_mean"}
    assert stem <= moved(network, before)
    staged.step(batch(3))

    resumed = trainer(unfreeze_after_steps=2)
    resumed.load_state_dict(saved)
    for number in (2, 3):
        resumed.step(batch(number))
    assert moved(resumed.task.network, copied(network)) == set()


def test_a_decoder_beside_the_network_learns_all_the_same() -> None:
    task = AuxiliaryDecoding(s3d(), RGB, stage="Mixed3b", decoder="simple", bound_px=20.0, frozen="backbone")
    learning = {name.partition(".")[0] for name, p in task.network.named_parameters() if p.requires_grad}
    assert learning == {"student", "decoder"}
    assert [name for name, p in task.network.student.named_parameters() if p.requires_grad] == [
        "classifier.1.weight",
        "classifier.1.bias",
    ]


def test_more_stages_than_there_are_is_refused() -> None:
    with pytest.raises(KineflowError, match=r"unfrozen_stages is 6, and S3D has 6 stages"):
        Classification(s3d(), RGB, frozen="backbone", unfrozen_stages=6)
