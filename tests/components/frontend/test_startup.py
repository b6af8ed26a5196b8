"""Steps that need no torch do not import it: it would cost seconds and half a gigabyte in each of their containers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kineflow.flow.extraction.shards import clips_of, described
from kineflow.sets.clip_set import Clip
from kineflow.sets.flow_file import write_flow
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.spec.shard import Shard
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.synth.dataset import make_dataset
from kineflow.synth.spec import SynthSpec

pytestmark = pytest.mark.slow

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
import json
from components.frontend.command import command
from components.frontend.contract import load_step
for name, *words in json.loads(sys.argv.pop()):
    try:
        command(load_step(f"components.{name}"), words)
    except SystemExit as ended:
        assert not ended.code, name
"""
IMPORT_ALL_THEY_MENTION = """
for name in sys.argv[1:]:
    source = importlib.import_module(f"components.{name}").__file__
    for node in ast.walk(ast.parse(open(source).read())):
        if isinstance(node, ast.ImportFrom):
            importlib.import_module(node.module)
"""


def without_torch(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITH_TORCH_REFUSED + code, *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_refusing_torch_is_seen() -> None:
    assert "torch is imported" in without_torch(IMPORT_ALL_THEY_MENTION, "train").stderr


def test_training_imports_torch_and_no_framework_beside_it() -> None:
    frameworks = {"torch", "torch._dynamo", "mlflow", "pandas", "matplotlib", "great_expectations", "kfp"}
    listed = f"import importlib, ast, sys\n{IMPORT_ALL_THEY_MENTION}\nprint(*sorted({frameworks} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", listed, "train"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["torch"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = SynthSpec(
        classes=("translate_right", "translate_left"), takes=1, groups={"train": 1, "val": 1, "test": 1},
        frames=3, size_px=32, radius_px=6.0, speed_px=(1.0, 1.5), camera_px=0.5,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("videos")
    make_dataset(folder, spec, seed=1, workers=1)
    return folder


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("shards")
    clips = [
        Clip(name, name, "x", "g", Split.TRAIN, 3, 25.0, 16, 16, 0, "", Status.OK, "", "") for name in ("run", "walk")
    ]
    for shard in (Shard(0, 2), Shard(1, 2)):
        place = folder / f"{shard.index}"
        entries = {}
        for clip in clips_of(shard, clips):
            write_flow(place / "media" / f"{clip.clip_id}.mp4", np.full((2, 16, 16, 2), 128, np.uint8))
            entries[clip.clip_id] = FlowEntry(clip.clip_id, f"{clip.clip_id}.mp4", 2, 16, 16, Status.OK, "")
        FlowSet(20.0, entries, str(place / "media"), described(shard, clips)).save(place)
    return [str(folder / name) for name in ("0", "1")]


def test_steps_do_their_work_without_torch_and_nothing_that_they_mention_imports_it(
    videos: Path, shards: list[str], tmp_path: Path
) -> None:
    clips, params = str(tmp_path / "clips"), {"source": str(videos), "layout": "csv", "short_side": 32}
    limits = {"min_frames": 3, "min_clips_per_class": 1}
    steps = [
        ["ingest", "--params", json.dumps(params), "--clips", clips],
        ["validate", "--clips", clips, "--params", json.dumps(limits), "--report", str(tmp_path / "report")],
        ["merge_flow", "--shards", *shards, "--flow", str(tmp_path / "flow")],
    ]
    done = without_torch(RUN + IMPORT_ALL_THEY_MENTION, *WITHOUT_TORCH, json.dumps(steps))
    assert done.returncode == 0, done.stderr
    assert "checks passed" in done.stderr
    assert "2 clips" in done.stderr
    assert (tmp_path / "flow").is_dir()
