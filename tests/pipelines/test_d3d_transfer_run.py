"""The transfer recipe from a checkpoint of TensorFlow's, with a model of one's own beside it, on tiny data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml

from kineflow.models.bundle import WEIGHTS_FILE, save_bundle
from kineflow.models.card import ModelCard, load_card
from kineflow.models.registry import create_model
from kineflow.models.s3d_tensorflow import released_names
from kineflow.models.weights import weights_sha256
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.files import sha256_of
from tests.tensorflow_checkpoint import write_checkpoint

if TYPE_CHECKING:
    from tests.pipelines.conftest import Project

SHAPE = {"width": 0.125, "last_stage": "Mixed3c", "stem_temporal_stride": 1, "bn_momentum": 0.1}
NETWORK: dict[str, Any] = {"architecture": "s3d_g_tensorflow", **SHAPE}
PARAMS: dict[str, Any] = {
    "seed": 7,
    "ingestion": {"source": "data", "layout": "csv", "short_side": 32},
    "validation": {"min_frames": 9, "min_clips_per_class": 1},
    "training": {"frames": 8, "short_side": 32, "crop": 32, "flip": False, "epochs": 1, "batch_size": 4},
    "evaluation": {
        "clips_per_video": 1, "student": "student", "examples": 1,
    },
    "registration": {"name": "tiny-transfer"},
}  # fmt: skip


@pytest.mark.long
def test_from_a_checkpoint_to_models_side_by_side(project: Project) -> None:
    torch.manual_seed(3)
    state = create_model("s3d_g_tensorflow", num_classes=400, **{k: NETWORK[k] for k in ("width",)}).state_dict()
    variables = {
        released: (state[name].permute(2, 3, 4, 1, 0) if state[name].ndim == 5 else state[name]).contiguous().numpy()
        for name, released in released_names()
    }
    index = write_checkpoint(project.folder / "model.ckpt", variables)
    unit = {"rgb_mean": [0, 0, 0], "rgb_std": [255, 255, 255]}
    start = {**NETWORK, **unit, "checkpoint": "model.ckpt.index", "sha256": weights_sha256(index)}
    own = project.folder / "own"
    seen = Preprocessing("rgb", 8, 1, 32, 32, (0.0,) * 3, (128.0,) * 3)
    save_bundle(
        own,
        create_model("s3d_g_tensorflow", num_classes=2, **SHAPE),
        ModelCard("own", "s3d_g_tensorflow", SHAPE, ("a", "b"), seen),
    )

    mine = {**NETWORK, "checkpoint": "own/", "sha256": sha256_of(own / WEIGHTS_FILE)}
    evaluation = {**PARAMS["evaluation"], "baseline": "compared", "fusion": [{"models": ["student", "compared"]}]}
    values = {**PARAMS, "network": start, "compared_network": mine, "evaluation": evaluation}
    (project.folder / "second.yaml").write_text(yaml.safe_dump(values))
    done = project.kineflow("run", "d3d_transfer", "--params", "second.yaml")
    assert done.code == 0, done.said
    assert "classifier left out (checkpoint: 400 classes" in done.said
    outputs = project.outputs("d3d_transfer", "second.yaml")
    metrics = json.loads((outputs / "evaluate" / "evaluation" / "metrics.json").read_text())
    assert metrics["fusion"].keys() == {"student + compared"}
    stds = [load_card(outputs / name / "model").preprocessing.std for name in ("student", "compared")]
    assert stds == [(255.0,) * 3, (128.0,) * 3]
