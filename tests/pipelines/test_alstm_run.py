"""The ALSTM recipe from videos to a registered model and a prediction, on tiny data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from tests.pipelines.conftest import Project

ALSTM = {"name": "alstm", "layers": 1, "hidden": 8, "head_width": 8}
RECURRENT = {
    "network": ALSTM, "frames": 6, "windows": "every", "steps": 2, "validate_every_steps": 1, "batch_size": 4,
    "optimiser": {"name": "adam", "learning_rate": 0.002, "weight_decay": 0.0},
}  # fmt: skip
PARAMS: dict[str, Any] = {
    "seed": 7,
    "ingestion": {"source": "data", "layout": "csv", "short_side": 32},
    "validation": {"min_frames": 9, "min_clips_per_class": 1},
    "flow": {"bound_px": 5.0, "preset": "capped", "scales": 2, "warps": 1, "splits": ["train", "val", "test"]},
    "network": {
        "backbone": "googlenet", "width": 0.125, "output_stride": 8, "segments": 1, "flow_frames": 1,
        "difference_frames": 1,
    },
    "backbone": {"stream": "flow", "short_side": 32, "crop": 32},
    "features": {"batch_frames": 16},
    "attention": RECURRENT,
    "average": {**RECURRENT, "network": {**ALSTM, "attention": "average"}},
    "max": {**RECURRENT, "network": {**ALSTM, "attention": "max"}},
    "cube": {**RECURRENT, "network": {"name": "cube_regression"}},
    "penalised": {**RECURRENT, "attention_penalty": 10.0},
    "evaluation": {"windows": "dense", "examples": 1, "student": "attention", "baseline": "average"},
    "registration": {"name": "tiny-alstm"},
}  # fmt: skip
MODELS = {"attention", "average", "max", "cube", "penalised"}


@pytest.mark.long
def test_from_videos_to_a_prediction(project: Project) -> None:
    (project.folder / "alstm.yaml").write_text(yaml.safe_dump(PARAMS))
    done = project.kineflow("run", "alstm", "--params", "alstm.yaml")
    assert done.code == 0, done.said
    assert len(done.ran) == 13
    outputs = project.outputs("alstm", "alstm.yaml")
    metrics = json.loads((outputs / "evaluate" / "evaluation" / "metrics.json").read_text())
    assert metrics.keys() >= MODELS
    card = json.loads((outputs / "attention" / "model" / "model.json").read_text())
    assert (card["architecture"], card["hyperparameters"]["cells"]) == ("alstm", 16)
    assert card["preprocessing"]["modality"] == "flow"
    assert card["flow"]["bound_px"] == 5.0

    video = next((project.folder / "data").rglob("*.mp4"))
    predicted = project.kineflow("predict", str(video), "--model", "models:/tiny-alstm@candidate")
    assert predicted.code == 0, predicted.said
    assert "translate_left" in predicted.said
