from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from kineflow.models.bundle import save_bundle
from kineflow.models.card import ModelCard
from kineflow.models.registry import create_model
from kineflow.spec.preprocessing import Preprocessing
from pipelines.cli import app


@pytest.mark.slow
def test_a_bundle_becomes_a_program_that_torch_loads(tmp_path: Path) -> None:
    hyper = {"width": 0.0625, "last_stage": "Mixed3b"}
    wanted = Preprocessing("rgb", 4, 1, 32, 32, (128.0,) * 3, (64.0,) * 3)
    network = create_model("s3d", num_classes=2, **hyper)
    save_bundle(tmp_path / "bundle", network, ModelCard("student", "s3d", dict(hyper), ("a", "b"), wanted))
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["export", str(tmp_path / "bundle"), "-o", str(out), "--to", "torch"])
    assert done.exit_code == 0, done.output
    assert "uint8 [batch, 4, 32, 32, 3]" in done.output
    told = json.loads((out / "export.json").read_text())
    clips = torch.zeros((3, *told["input"]["shape"][1:]), dtype=torch.uint8)
    with torch.no_grad():
        _, probabilities = torch.export.load(out / told["file"]["name"]).module()(clips)
    assert probabilities.shape == (3, 2)


def test_a_folder_without_a_model_is_one_message(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", str(tmp_path), "-o", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert not (tmp_path / "out").exists()
