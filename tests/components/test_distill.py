import pytest
import torch

from components.distill import distill
from components.frontend.run import execute
from components.train import train
from kineflow.models.bundle import load_bundle

PARAMS = {
    "frames": 4, "short_side": 16, "crop": 12, "steps": 4, "validate_every_steps": 2, "batch_size": 3, "flip": False,
}  # fmt: skip


@pytest.fixture(autouse=True)
def untracked(monkeypatch):
    for variable in ("KINEFLOW_RUN_ID", "DVC_STAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def given(tiny_data, tiny_initial, tmp_path) -> dict:
    """A trained flow teacher, and all else that a student needs."""
    data = {"clips": tiny_data.clips, "flow": tiny_data.flow, "params": PARAMS}
    execute(train, {**data, "initial": tiny_initial["flow"], "name": "teacher", "model": tmp_path / "teacher"})
    student = {"initial": tiny_initial["rgb"], "teachers": [tmp_path / "teacher"], "name": "student"}
    return {
        **data,
        **student,
        "distillation": {"kd_weight": 2.0, "unlabelled_batch_size": 2},
        "model": tmp_path / "model",
    }


@pytest.mark.slow
def test_students_with_and_without_unlabelled_clips(given, tmp_path):
    result = execute(distill, given)
    execute(distill, {**given, "use_unlabelled": True, "model": tmp_path / "other"})
    (labelled, card), (both, _) = (load_bundle(tmp_path / name) for name in ("model", "other"))
    assert (card.name, card.classes, card.lineage["teacher"]) == ("student", ("dark", "light"), "teacher")
    assert card.preprocessing.modality == "rgb"
    assert result.metrics["val/loss"] == pytest.approx(card.metrics["val/loss"])
    assert not torch.equal(labelled.stem.weight, both.stem.weight)
    assert {path.name for path in tmp_path.iterdir()} == {"teacher", "model", "other"}
    curves = (tmp_path / "model" / "curves.csv").read_text()
    assert "train/cross_entropy" in curves
    assert "train/distillation" in curves
