"""The ST-ResNet recipe from videos to a registered model and a prediction, on tiny data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from tests.pipelines.conftest import Project

STREAM = {
    "frames": 1, "short_side": 32, "crop": 32, "flip": False, "steps": 2, "validate_every_steps": 1, "batch_size": 4,
    "optimiser": {"name": "sgd", "learning_rate": 0.001, "bias_lr_mult": 2},
}  # fmt: skip
JOINED = {
    **STREAM, "frames": 3, "stride_frames": 1, "stride_frames_max": 2, "test_frames": 6, "test_stride_frames": 2,
    "short": "closer",
}  # fmt: skip
PARAMS: dict[str, Any] = {
    "seed": 7,
    "ingestion": {"source": "data", "layout": "csv", "short_side": 32},
    "validation": {"min_frames": 9, "min_clips_per_class": 1},
    "flow": {"bound_px": 5.0, "preset": "capped", "scales": 2, "warps": 1},
    "network": {"backbone": "resnet50", "width": 0.125, "output_stride": 8, "segments": 1, "flow_frames": 2},
    "appearance": STREAM,
    "motion": {**STREAM, "frames": 2},
    "join": {"temporal_init": "centre"},
    "st_resnet": JOINED,
    "join_star": {"temporal_pool": True},
    "st_resnet_star": JOINED,
    "evaluation": {
        "clips_per_video": 2, "crops": "whole", "examples": 1, "student": "st_resnet_star", "baseline": "st_resnet",
        "fusion": [{"models": ["appearance", "motion"], "average": "logits"}],
    },
    "registration": {"name": "tiny-st-resnet"},
}  # fmt: skip


@pytest.mark.long
def test_from_videos_to_a_prediction(project: Project) -> None:
    (project.folder / "st_resnet.yaml").write_text(yaml.safe_dump(PARAMS))
    done = project.kineflow("run", "st_resnet", "--params", "st_resnet.yaml")
    assert done.code == 0, done.said
    assert len(done.ran) == 12
    outputs = project.outputs("st_resnet", "st_resnet.yaml")
    metrics = json.loads((outputs / "evaluate" / "evaluation" / "metrics.json").read_text())
    assert {"appearance", "motion", "st_resnet", "st_resnet_star"} <= metrics.keys()
    assert metrics["fusion"].keys() == {"appearance + motion"}
    card = json.loads((outputs / "st_resnet_star" / "model" / "model.json").read_text())
    assert card["hyperparameters"]["temporal_pool"]
    assert (card["preprocessing"]["frames"], len(card["preprocessing"]["mean"])) == (6, 3 + 2 * 2)

    video = next((project.folder / "data").rglob("*.mp4"))
    predicted = project.kineflow("predict", str(video), "--model", "models:/tiny-st-resnet@candidate")
    assert predicted.code == 0, predicted.said
    assert "translate_left" in predicted.said
