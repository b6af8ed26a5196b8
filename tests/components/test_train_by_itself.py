from __future__ import annotations

from typing import Any

import pytest
import torch

from components.frontend.run import execute
from components.train_fixmatch import train_fixmatch
from components.train_mean_teacher import train_mean_teacher
from kineflow.models.bundle import load_bundle
from kineflow.storage.errors import KineflowError

PARAMS = {
    "frames": 4, "short_side": 16, "crop": 12, "steps": 4, "validate_every_steps": 2, "batch_size": 3, "flip": False,
}  # fmt: skip
STEPS = {"fixmatch": train_fixmatch, "mean_teacher": train_mean_teacher}


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("KINEFLOW_RUN_ID", "DVC_STAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def given(tiny_data, tiny_initial, tmp_path) -> dict[str, Any]:
    return {
        "clips": tiny_data.clips, "initial": tiny_initial["rgb"], "params": PARAMS, "name": "itself", "seed": 3,
        "model": tmp_path / "model",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "settings", "term", "described"),
    [
        ("fixmatch", {"threshold": 0.5}, "confident", "fixmatch: 1 × above 0.5; colour_jitter 0.4, cutout 0.5, zoom"),
        (
            "mean_teacher",
            {"cutout": 0, "zoom": 0},
            "consistency",
            "mean teacher: 100 × consistency, rising over 0.3",
        ),
    ],
)
def test_a_model_like_any_other_is_written(given, tmp_path, method: str, settings, term: str, described: str) -> None:
    settings["unlabelled_batch_size"] = 2
    result = execute(STEPS[method], {**given, method: settings})
    network, card = load_bundle(tmp_path / "model")
    assert (card.name, card.architecture, card.classes) == ("itself", "s3d", ("dark", "light"))
    assert card.lineage["semi_supervised"].startswith(described)
    assert result.metrics["val/loss"] == pytest.approx(card.metrics["val/loss"])
    assert f"train/{term}" in (tmp_path / "model" / "curves.csv").read_text()
    assert network(torch.zeros(1, 3, 4, 12, 12)).shape == (1, 2)
    learnt = network.stem.weight.clone()
    execute(STEPS[method], {**given, method: settings, "model": tmp_path / "again"})
    assert torch.equal(load_bundle(tmp_path / "again")[0].stem.weight, learnt)


def test_what_cannot_be_is_said(given, tiny_initial) -> None:
    with pytest.raises(KineflowError, match="the mean teacher, which is kept, is an average already"):
        execute(train_mean_teacher, {**given, "params": {**PARAMS, "ema": 0.9}, "mean_teacher": {}})
    with pytest.raises(KineflowError, match="FixMatch cannot learn from mixed clips"):
        execute(train_fixmatch, {**given, "params": {**PARAMS, "mixup": 0.2}, "fixmatch": {}})
    assert not given["model"].exists()
