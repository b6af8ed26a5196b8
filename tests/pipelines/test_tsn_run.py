"""The TSN recipe from videos to a registered model and a prediction, on tiny data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from tests.pipelines.conftest import Project

STREAM = {
    "frames": 3, "short_side": 32, "crop": 32, "flip": False, "steps": 2, "validate_every_steps": 1, "batch_size": 4,
    "optimiser": {
        "name": "sgd", "learning_rate": 0.001, "bias_lr_mult": 2, "stem_lr_mult": 5, "clip_gradient_norm": 20
    },
}  # fmt: skip
FLOW = {"bound_px": 5.0, "preset": "capped", "scales": 2, "warps": 1}
PARAMS: dict[str, Any] = {
    "seed": 7,
    "ingestion": {"source": "data", "layout": "csv", "short_side": 32},
    "validation": {"min_frames": 9, "min_clips_per_class": 1},
    "flow": FLOW,
    "warped_flow": {**FLOW, "camera_motion": "removed"},
    "network": {"width": 0.125, "output_stride": 8, "flow_frames": 3, "difference_frames": 3},
    "spatial": {**STREAM, "frames": 1},
    "difference": STREAM,
    "temporal": {**STREAM, "crop_scales": [1, 0.875]},
    "evaluation": {
        "clips_per_video": 2, "examples": 1, "student": "difference", "baseline": "rgb",
        "fusion": [{"models": ["rgb", "flow", "warped"], "weights": [1, 1, 0.5], "average": "logits"}],
    },
    "registration": {"name": "tiny-tsn"},
}  # fmt: skip


@pytest.mark.long
def test_from_videos_to_a_prediction(project: Project) -> None:
    (project.folder / "tsn.yaml").write_text(yaml.safe_dump(PARAMS))
    done = project.kineflow("run", "tsn", "--params", "tsn.yaml")
    assert done.code == 0, done.said
    assert len(done.ran) == 11
    outputs = project.outputs("tsn", "tsn.yaml")
    metrics = json.loads((outputs / "evaluate" / "evaluation" / "metrics.json").read_text())
    assert {"rgb", "difference", "flow", "warped"} <= metrics.keys()
    assert metrics["fusion"].keys() == {"rgb + flow + warped"}

    again = project.kineflow("run", "tsn", "--params", "tsn.yaml")
    assert (again.code, again.ran) == (0, []), again.said
    video = next((project.folder / "data").rglob("*.mp4"))
    for model in ("models:/tiny-tsn@candidate", str(outputs / "difference" / "model")):
        predicted = project.kineflow("predict", str(video), "--model", model)
        assert predicted.code == 0, predicted.said
        assert "translate_left" in predicted.said
