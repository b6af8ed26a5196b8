"""The VideoLSTM recipe from videos to a registered model and a prediction, on tiny data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from tests.pipelines.conftest import Project

STREAM = {
    "frames": 1, "short_side": 32, "crop": 32, "fit": "squash", "flip": False, "steps": 2, "validate_every_steps": 1,
    "batch_size": 4, "optimiser": {"learning_rate": 0.001},
}  # fmt: skip
CELL = {"hidden": 4, "head_width": 4, "pool": True}
RECURRENT = {
    "frames": 6, "steps": 2, "validate_every_steps": 1, "batch_size": 4,
    "optimiser": {"name": "rmsprop", "learning_rate": 0.001, "weight_decay": 0.0},
}  # fmt: skip
PARAMS: dict[str, Any] = {
    "seed": 7,
    "ingestion": {"source": "data", "layout": "csv", "short_side": 32},
    "validation": {"min_frames": 9, "min_clips_per_class": 1},
    "flow": {"bound_px": 5.0, "preset": "capped", "scales": 2, "warps": 1, "splits": ["train", "val", "test"]},
    "network": {"backbone": "vgg16", "width": 0.0625, "output_stride": 8, "segments": 1, "flow_frames": 1,
                "cross_modality": False},
    "spatial": STREAM,
    "temporal": STREAM,
    "features": {},
    "motion_conv_lstm": {**RECURRENT, "network": {"name": "conv_lstm", **CELL}},
    "appearance": {**RECURRENT, "network": {"name": "conv_alstm", **CELL}},
    "motion": {**RECURRENT, "network": {"name": "conv_alstm", **CELL}},
    "attending": {**RECURRENT, "network": {"name": "videolstm", "bottom_kernel": 3, **CELL}},
    "evaluation": {
        "clips_per_video": 2, "windows": "spread", "examples": 1, "student": "videolstm", "baseline": "appearance",
        "fusion": [{"models": ["videolstm", "motion"]}],
    },
    "localisation": {"synthetic": "data", "examples": 1},
    "registration": {"name": "tiny-videolstm"},
}  # fmt: skip


@pytest.mark.long
def test_from_videos_to_a_prediction(project: Project) -> None:
    (project.folder / "videolstm.yaml").write_text(yaml.safe_dump(PARAMS))
    done = project.kineflow("run", "videolstm", "--params", "videolstm.yaml")
    assert done.code == 0, done.said
    assert len(done.ran) == 15
    outputs = project.outputs("videolstm", "videolstm.yaml")
    metrics = json.loads((outputs / "evaluate" / "evaluation" / "metrics.json").read_text())
    models = {"appearance_net", "motion_net", "appearance", "motion_conv_lstm", "motion", "videolstm"}
    assert models <= metrics.keys()
    assert metrics["fusion"].keys() == {"videolstm + motion"}
    located = json.loads((outputs / "localise" / "localisation" / "metrics.json").read_text())
    assert located["models"].keys() == {"videolstm", "appearance", "motion"}
    assert {"video_map", "inside"} <= located["models"]["videolstm"].keys()
    assert located["data"]["clips"] == metrics["data"]["clips"] == 8
    assert "where the actor is" in (outputs / "localise" / "report.html").read_text(encoding="utf-8")
    card = json.loads((outputs / "videolstm" / "model" / "model.json").read_text())
    assert {"appearance_parent", "motion_parent"} <= card["lineage"].keys()
    assert len(card["preprocessing"]["mean"]) == 5

    video = next((project.folder / "data").rglob("*.mp4"))
    predicted = project.kineflow("predict", str(video), "--model", "models:/tiny-videolstm@candidate")
    assert predicted.code == 0, predicted.said
    assert "translate_left" in predicted.said
