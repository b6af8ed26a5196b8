from __future__ import annotations

from typing import Any

import pytest
import torch

from components.frontend.run import execute
from components.train_auxiliary import train_auxiliary
from kineflow.models.bundle import load_bundle
from kineflow.models.s3d import S3D
from kineflow.storage.errors import KineflowError

PARAMS = {
    "frames": 4, "short_side": 16, "crop": 12, "steps": 4, "validate_every_steps": 2, "batch_size": 3, "flip": False,
}  # fmt: skip


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("KINEFLOW_RUN_ID", "DVC_STAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def given(tiny_data, tiny_initial, tmp_path) -> dict[str, Any]:
    auxiliary = {"stage": "Mixed3b", "decoder": "spatial", "weight": 0.5}
    return {
        "clips": tiny_data.clips, "flow": tiny_data.flow, "initial": tiny_initial["rgb"], "params": PARAMS,
        "auxiliary": auxiliary, "name": "auxiliary", "seed": 3, "model": tmp_path / "model",
    }  # fmt: skip


def test_the_student_alone_is_written_and_loads_like_any_other(given, tmp_path) -> None:
    result = execute(train_auxiliary, given)
    network, card = load_bundle(tmp_path / "model")
    assert isinstance(network, S3D)
    assert (card.name, card.architecture, card.classes) == ("auxiliary", "s3d", ("dark", "light"))
    assert card.lineage["flow_decoder"] == "spatial at Mixed3b, weight 0.5"
    assert (card.preprocessing.modality, card.preprocessing.frames) == ("rgb", 4)
    assert result.metrics["val/loss"] == pytest.approx(card.metrics["val/loss"])
    curves = (tmp_path / "model" / "curves.csv").read_text()
    assert "train/cross_entropy" in curves
    assert "train/end_point_error" in curves
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
    assert network(torch.zeros(1, 3, 4, 12, 12)).shape == (1, 2)


@pytest.mark.slow
def test_the_weight_and_unlabelled_clips_make_a_difference_and_the_seed_decides(given, tmp_path) -> None:
    variants = {
        "same": {},
        "again": {},
        "heavier": {"auxiliary": {**given["auxiliary"], "weight": 5.0}},
        "unlabelled": {"auxiliary": {**given["auxiliary"], "unlabelled_batch_size": 2}},
    }
    stems = {}
    for name, changes in variants.items():
        execute(train_auxiliary, {**given, **changes, "model": tmp_path / name})
        stems[name] = load_bundle(tmp_path / name)[0].stem.weight
    assert torch.equal(stems["same"], stems["again"])
    assert not torch.equal(stems["same"], stems["heavier"])
    assert not torch.equal(stems["same"], stems["unlabelled"])


def test_a_stage_that_the_network_does_not_have(given, tmp_path, tiny_initial) -> None:
    from kineflow.models.bundle import save_bundle
    from kineflow.models.registry import create_model

    _, card = load_bundle(tiny_initial["rgb"])
    card.hyperparameters["last_stage"] = "Mixed3b"
    short = create_model("s3d", num_classes=0, **card.hyperparameters)
    save_bundle(tmp_path / "short", short, card)
    changes = {"initial": tmp_path / "short", "auxiliary": {"stage": "Mixed3c"}}
    with pytest.raises(KineflowError, match="no stage 'Mixed3c'"):
        execute(train_auxiliary, {**given, **changes})
    assert not (tmp_path / "model").exists()
