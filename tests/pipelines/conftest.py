"""A project in a folder of its own, small data in it, and the command line in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import write_flow
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.video.index import index_video
from pipelines.engines.workspace import Workspace
from pipelines.project import make_project

TINY_TRAINING = {
    "frames": 8, "short_side": 32, "crop": 32, "flip": False, "steps": 4, "validate_every_steps": 2, "batch_size": 4,
    "optimiser": {"learning_rate": 0.002}, "cache_mb": 64,
}  # fmt: skip
CLASSES_OF_UCF101 = tuple(f"class{number}" for number in range(101))

TINY_PARAMS: dict[str, Any] = {
    "seed": 7,
    "ingestion": {"source": "data", "layout": "csv", "short_side": 32},
    "validation": {"min_frames": 9, "min_clips_per_class": 1},
    "flow": {"bound_px": 5.0, "preset": "capped", "scales": 2, "warps": 1},
    "network": {
        "architecture": "s3d_g", "width": 0.125, "last_stage": "Mixed3c", "stem_temporal_stride": 1, "bn_momentum": 0.1,
    },
    "teacher": TINY_TRAINING,
    "student": dict(TINY_TRAINING),
    "distillation": {"kd_weight": 0.3, "unlabelled_batch_size": 4},
    "evaluation": {
        "clips_per_video": 1, "student": "student", "baseline": "plain", "examples": 2,
        "fusion": [{"models": ["teacher", "student"]}],
    },
    "registration": {"name": "tiny"},
}  # fmt: skip
TINY_SYNTH = {
    "classes": ["translate_right", "translate_left"], "takes": 2,
    "groups": {"train": 2, "val": 1, "test": 2, "unlabelled": 2},
    "frames": 9, "size_px": 32, "radius_px": 6.0, "speed_px": [1.0, 1.5], "camera_px": 0.5,
}  # fmt: skip


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    said: str

    @property
    def ran(self) -> list[str]:
        """Tasks that the command says it ran."""
        named = re.search(r"\d+ tasks? run: (.*)", self.said)
        return named[1].strip().split(", ") if named else []


@dataclass(frozen=True)
class Project:
    """A project.

    Attributes:
        folder: Its root, a DVC repository.
    """

    folder: Path

    def kineflow(self, *arguments: str, env: dict[str, str] | None = None) -> Finished:
        """Run the command line in it."""
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_TRACKING", "KINEFLOW"))
        }
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *arguments],
            cwd=self.folder,
            env={**clean, "COLUMNS": "1000", **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=3600,
            check=False,
        )
        return Finished(done.returncode, done.stdout)

    def outputs(self, recipe: str, params_file: str) -> Path:
        """Where the outputs of a recipe with a parameter file lie."""
        return Workspace.of(recipe, self.folder / params_file, self.folder).outputs

    def set_params(self, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change ``params.yaml``."""
        path = self.folder / "params.yaml"
        values = yaml.safe_load(path.read_text())
        change(values)
        path.write_text(yaml.safe_dump(values))


def small_project(folder: Path) -> Project:
    """Make a project in ``folder`` with tiny parameters and no data yet."""
    make_project(folder, "d3d")
    (folder / "params.yaml").write_text(yaml.safe_dump(TINY_PARAMS))
    (folder / "synth.yaml").write_text(yaml.safe_dump(TINY_SYNTH))
    return Project(folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a tiny synthetic data set."""
    made = small_project(tmp_path_factory.mktemp("project"))
    synth = made.kineflow("synth", "data", "--spec", "synth.yaml", "--seed", "3", "--workers", "1")
    assert synth.code == 0, synth.said
    return made


@pytest.fixture
def bare_project(tmp_path: Path) -> Project:
    """A project without data."""
    return small_project(tmp_path)


@pytest.fixture(scope="session")
def real_data(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ClipSet, FlowSet]:
    """Two real clips of 101 classes, and a random flow of each that hardly moves."""
    flow, clips, entries = tmp_path_factory.mktemp("flow"), [], {}
    rng = np.random.default_rng(0)
    for number, name in enumerate(("v_SoccerJuggling_g23_c01.avi", "TrumanShow_wave_f_nm_np1_fr_med_26.avi")):
        index = index_video(shared_data / "clips" / name)
        clips.append(
            Clip(
                name, name, CLASSES_OF_UCF101[number], name, Split.TRAIN, index.frames, 25.0, index.width, index.height,
                0, name, Status.OK, "", name,
            )
        )  # fmt: skip
        levels = rng.integers(108, 149, (index.frames - 1, index.height, index.width, 2), dtype=np.uint8)
        write_flow(flow / f"{name}.mp4", levels)
        entries[name] = FlowEntry(name, f"{name}.mp4", len(levels), index.width, index.height, Status.OK, "")
    clip_set = ClipSet(CLASSES_OF_UCF101, tuple(clips), str(shared_data / "clips"))
    return clip_set, FlowSet(20.0, entries, str(flow))
