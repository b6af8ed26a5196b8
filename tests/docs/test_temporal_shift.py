"""The example of docs/extend.md as a user does it: a network in a project's own package, through all of D3D."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from components.distill import distill
from components.evaluate import evaluate
from components.extract_flow import extract_flow
from components.frontend.run import execute
from components.ingest import ingest
from components.pretrain import pretrain
from components.register import register
from components.train import train
from kineflow.models.bundle import load_bundle
from kineflow.models.registry import create_model
from kineflow.registry.promotion import promote
from kineflow.storage.errors import KineflowError
from kineflow.storage.project import PROJECT
from kineflow.synth.dataset import make_dataset
from kineflow.synth.spec import SynthSpec
from pipelines.dag.graph import graph_of
from pipelines.dag.params import load_params
from pipelines.predict import top_classes
from pipelines.project import make_project

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "temporal_shift.py"
NETWORK = "tsm_lab.temporal_shift"
TRAINING = {
    "frames": 4, "stride_frames": 2, "short_side": 32, "crop": 32, "flip": False, "steps": 2,
    "validate_every_steps": 1, "batch_size": 2, "cache_mb": 64,
}  # fmt: skip
PARAMS: dict[str, Any] = {
    "seed": 7,
    "ingestion": {"source": "data", "short_side": 32, "workers": 1},
    "validation": {"min_frames": 9, "min_clips_per_class": 1},
    "flow": {"bound_px": 5.0, "preset": "capped", "scales": 1, "warps": 1},
    "network": {"architecture": NETWORK, "hyperparameters": {"width": 0.125}},
    "teacher": TRAINING,
    "student": TRAINING,
    "distillation": {"unlabelled_batch_size": 2},
    "evaluation": {"clips_per_video": 1, "student": "student", "baseline": "plain", "examples": 1},
    "registration": {"name": "shifted"},
}
DATA = {
    "classes": ["translate_right", "translate_left"], "takes": 1,
    "groups": {"train": 2, "val": 1, "test": 1, "unlabelled": 1},
    "frames": 9, "size_px": 32, "radius_px": 6.0, "speed_px": [1.0, 1.5], "camera_px": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a package of its own."""
    folder = make_project(tmp_path_factory.mktemp("project"), "d3d")
    package = folder / NETWORK.split(".")[0]
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(EXAMPLE, package)
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    return folder


@pytest.fixture
def project(new_project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, with the working folder in it."""
    for name in (PROJECT, "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(new_project)
    return new_project


def test_a_network_of_ones_own_goes_from_videos_to_the_champion(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = graph_of("d3d")
    sections = load_params(graph, project / "params.yaml")
    make_dataset(project / "data", SynthSpec(**DATA), seed=3)
    out = project / "outputs"

    execute(ingest, {"params": sections["ingestion"], "seed": 7, "clips": out / "clips"})
    data = {"clips": out / "clips", "flow": out / "flow"}
    execute(extract_flow, {**data, "params": sections["flow"]})
    execute(pretrain, {"params": sections["network"], "seed": 7, "rgb": out / "rgb", "flow": out / "initial"})
    teacher = {"initial": out / "initial", "params": sections["teacher"], "name": "teacher", "seed": 7}
    execute(train, {**data, **teacher, "model": out / "teacher"})
    plain = {"clips": out / "clips", "initial": out / "rgb", "params": sections["student"], "seed": 7}
    execute(train, {**plain, "name": "plain", "model": out / "plain"})
    taught = {
        **data,
        **plain,
        "teachers": [out / "teacher"],
        "distillation": sections["distillation"],
        "use_unlabelled": True,
    }
    execute(distill, {**taught, "name": "student", "model": out / "student"})
    models = [out / name for name in ("teacher", "plain", "student")]
    scored = {"evaluation": out / "evaluation", "report": out / "report.html"}
    execute(evaluate, {**data, "models": models, "params": sections["evaluation"], **scored})
    written = {"evaluation": out / "evaluation", "registration": out / "registration"}
    execute(register, {"model": out / "student", "params": sections["registration"], **written})
    assert promote("shifted", dry_run=False).applied

    video = next((project / "data").rglob("*.mp4"))
    served = top_classes(video, "models:/shifted@champion", 2)
    assert served == top_classes(video, str(out / "student"), 2, clips=1)  # as it was tested
    assert sum(score for _, score in served) == pytest.approx(1.0, abs=1e-5)

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with pytest.raises(KineflowError, match=r"no module that may be imported(.|\n)*work in the project that holds"):
        load_bundle(out / "student")


def test_a_frame_hears_of_its_neighbours_alone(project: Path) -> None:
    create_model(NETWORK, num_classes=2, width=0.125)
    shifted = sys.modules[NETWORK].shifted
    clip = torch.arange(1.0, 5).view(4, 1, 1, 1).expand(4, 8, 2, 2)  # frames 1, 2, 3, 4
    moved = shifted(clip, 4, 4)[:, :, 0, 0]
    assert moved[:, 0].tolist() == [0, 1, 2, 3]
    assert moved[:, 2].tolist() == [2, 3, 4, 0]
    assert moved[:, 4].tolist() == [1, 2, 3, 4]


def test_a_keyword_that_it_does_not_take_is_found_before_anything_runs(project: Path) -> None:
    wrong = project / "wrong.yaml"
    wrong.write_text(yaml.safe_dump(PARAMS | {"network": {"architecture": NETWORK, "hyperparameters": {"depth": 101}}}))
    with pytest.raises(KineflowError, match="takes no 'depth'; choose among: dropout, part, width"):
        load_params(graph_of("d3d"), wrong)
