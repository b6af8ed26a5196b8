"""Steps that need no torch do not import it: it would cost seconds and half a gigabyte in each of their containers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kineflow.flow.extraction.shards import Shard
from kineflow.sets.clip_set import Clip
from kineflow.sets.flow_file import write_flow
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.synth.dataset import make_dataset
from kineflow.synth.spec import SynthSpec

ROOT = Path(__file__).resolve().parents[3]
WITHOUT_TORCH = ("ingest", "fetch_data", "validate", "merge_flow", "close_run")

WITH_TORCH_REFUSED = """
import ast, importlib, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise AssertionError(f"{name} is imported")

sys.meta_path.insert(0, Refuse())
"""
RUN = """
from components.frontend.command import command
from components.frontend.contract import load_step
command(load_step(f"components.{sys.argv[1]}"), sys.argv[2:])
"""
IMPORT_ALL_IT_MENTIONS = """
source = importlib.import_module(f"components.{sys.argv[1]}").__file__
for node in ast.walk(ast.parse(open(source).read())):
    if isinstance(node, ast.ImportFrom):
        importlib.import_module(node.module)
"""


def without_torch(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITH_TORCH_REFUSED + code, *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_refusing_torch_is_seen() -> None:
    assert "torch is imported" in without_torch(IMPORT_ALL_IT_MENTIONS, "train").stderr


def test_training_imports_torch_and_no_framework_beside_it() -> None:
    frameworks = {"torch", "torch._dynamo", "mlflow", "pandas", "matplotlib", "great_expectations", "kfp"}
    listed = f"import importlib, ast, sys\n{IMPORT_ALL_IT_MENTIONS}\nprint(*sorted({frameworks} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", listed, "train"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["torch"]


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_nothing_a_step_mentions_imports_torch(name: str) -> None:
    done = without_torch(IMPORT_ALL_IT_MENTIONS, name)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = SynthSpec(
        classes=("translate_right", "translate_left"), takes=1, groups={"train": 1, "val": 1, "test": 1},
        frames=3, size_px=32, radius_px=6.0, speed_px=(1.0, 1.5), camera_px=0.5,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("videos")
    make_dataset(folder, spec, seed=1, workers=1)
    return folder


def test_ingest_and_validate_do_their_work_without_torch(videos: Path, tmp_path: Path) -> None:
    params = f'{{"source": "{videos}", "layout": "csv", "short_side": 32}}'
    done = without_torch(RUN, "ingest", "--params", params, "--clips", str(tmp_path / "clips"))
    assert done.returncode == 0, done.stderr
    limits = '{"min_frames": 3, "min_clips_per_class": 1}'
    done = without_torch(
        RUN, "validate", "--clips", str(tmp_path / "clips"), "--params", limits, "--report", str(tmp_path / "report")
    )
    assert done.returncode == 0, done.stderr
    assert "checks passed" in done.stderr


def test_merge_flow_does_its_work_without_torch(tmp_path: Path) -> None:
    clips = [
        Clip(name, name, "x", "g", Split.TRAIN, 3, 25.0, 16, 16, 0, "", Status.OK, "", "") for name in ("run", "walk")
    ]
    for shard in (Shard(0, 2), Shard(1, 2)):
        folder = tmp_path / "shards" / f"{shard.index}"
        entries = {}
        for clip in shard.of(clips):
            write_flow(folder / "media" / f"{clip.clip_id}.mp4", np.full((2, 16, 16, 2), 128, np.uint8))
            entries[clip.clip_id] = FlowEntry(clip.clip_id, f"{clip.clip_id}.mp4", 2, 16, 16, Status.OK, "")
        FlowSet(20.0, entries, str(folder / "media"), shard.described(clips)).save(folder)
    shards = [str(tmp_path / "shards" / name) for name in ("0", "1")]
    done = without_torch(RUN, "merge_flow", "--shards", *shards, "--flow", str(tmp_path / "flow"))
    assert done.returncode == 0, done.stderr
    assert "2 clips" in done.stderr
