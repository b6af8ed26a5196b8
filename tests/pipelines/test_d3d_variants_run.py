"""The recipe of D3D's variants from videos to reports, a registered model and predictions, on tiny data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from tests.pipelines.conftest import Project

TRAINING = {
    "frames": 8, "short_side": 32, "crop": 32, "flip": False, "steps": 2, "validate_every_steps": 1, "batch_size": 4,
    "optimiser": {"learning_rate": 0.002}, "cache_mb": 64,
}  # fmt: skip
PARAMS: dict[str, Any] = {
    "seed": 7,
    "ingestion": {"source": "data", "layout": "csv", "short_side": 32},
    "validation": {"min_frames": 9, "min_clips_per_class": 1},
    "flow": {"bound_px": 5.0, "preset": "capped", "scales": 2, "warps": 1},
    "network": {"width": 0.125, "last_stage": "Mixed3c", "bn_momentum": 0.1},
    "teacher": TRAINING,
    "student": TRAINING,
    "distillation": {"unlabelled_batch_size": 2},
    "mars": {"layer": "features", "kd_weight": 50.0, "unlabelled_batch_size": 2},
    "distil_only": {"ce_weight": 0.0, "unlabelled_batch_size": 2},
    "reverse": {"direction": "rgb_to_flow", "unlabelled_batch_size": 2},
    "auxiliary": {"stage": "Mixed3b", "decoder": "simple", "unlabelled_batch_size": 2},
    "estimator": {"width": 0.125, "steps": 2, "batch_size": 2},
    "learnt_flow": {**TRAINING, "batch_size": 2},
    "probes": {
        "stages": ["Mixed3b", "Mixed3c"], "decoders": ["simple", "pwc"], "learn_from": ["train", "unlabelled"],
        "steps": 2, "batch_size": 2, "student": "student", "baseline": "plain",
    },
    "evaluation": {
        "clips_per_video": 1, "examples": 1, "student": "student", "baseline": "plain",
        "fusion": [{"models": ["plain", "student"]}],
    },
    "flow_evaluation": {
        "clips_per_video": 1, "examples": 0, "student": "learnt_flow", "baseline": "teacher",
        "fusion": [{"models": ["learnt_flow", "plain"]}],
    },
    "registration": {"name": "tiny-variants"},
}  # fmt: skip
NETWORKS = {"teacher", "plain", "student", "mars", "distil_only", "auxiliary"}


@pytest.mark.long
def test_from_videos_to_reports_and_predictions(project: Project) -> None:
    (project.folder / "d3d_variants.yaml").write_text(yaml.safe_dump(PARAMS))
    done = project.kineflow("run", "d3d_variants", "--params", "d3d_variants.yaml")
    assert done.code == 0, done.said
    assert len(done.ran) == 17
    outputs = project.outputs("d3d_variants", "d3d_variants.yaml")
    metrics = json.loads((outputs / "evaluate" / "evaluation" / "metrics.json").read_text())
    assert metrics.keys() >= NETWORKS
    assert metrics["fusion"].keys() == {"plain + student"}
    flow_metrics = json.loads((outputs / "evaluate-flow" / "evaluation" / "metrics.json").read_text())
    assert {"teacher", "reverse", "learnt_flow"} <= flow_metrics.keys()
    probes = json.loads((outputs / "probe-motion" / "probes" / "metrics.json").read_text())
    assert probes.keys() == NETWORKS | {"untrained-rgb", "untrained-flow", "data"}
    assert probes["student"]["Mixed3c"]["pwc"]["error"] > 0
    assert (outputs / "probe-motion" / "report.html").is_file()

    video = next((project.folder / "data").rglob("*.mp4"))
    for model in ("models:/tiny-variants@candidate", str(outputs / "learnt_flow" / "model")):
        predicted = project.kineflow("predict", str(video), "--model", model)
        assert predicted.code == 0, predicted.said
        assert "translate_left" in predicted.said
