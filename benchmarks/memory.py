"""Peak memory of every step, by length and size of the videos: ``python benchmarks/memory.py [--quick] [FOLDER]``.

A project of six videos for each kind, and ``kineflow run d3d`` of a few steps on them; figures are those that each step
records of its greatest process (``cost/peak_memory_mb``), and of ``kineflow predict`` on one of the videos. What a step
needs must not grow with the length of a video. FOLDER keeps the projects.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml
from flow_tables.layout import markdown
from mlflow import MlflowClient

from kineflow.video.encode import write_video
from pipelines.engines.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
# Width, height, seconds.
KINDS = {
    "320x240, 5 s": (320, 240, 5),
    "320x240, 30 s": (320, 240, 30),
    "320x240, 2 min": (320, 240, 120),
    "1920x1080, 5 s": (1920, 1080, 5),
    "3840x2160, 3 s": (3840, 2160, 3),
}
QUICK = ("320x240, 5 s", "320x240, 30 s")
FPS = 25
SPLITS = ("train", "train", "val", "test", "test", "unlabelled")
NETWORK = {"architecture": "s3d_g", "width": 0.25, "last_stage": "Mixed3c", "bn_momentum": 0.1, "dropout": 0.0}
TRAIN = {"frames": 16, "short_side": 112, "crop": 112, "steps": 2, "validate_every_steps": 1, "batch_size": 2}
PARAMS = {
    "seed": 1,
    "ingestion": {"source": "videos", "layout": "csv", "annotations": "clips.csv", "short_side": 128},
    "validation": {"require_every_class_in": []},
    "flow": {"preset": "fast"},
    "network": NETWORK,
    "teacher": TRAIN,
    "student": TRAIN,
    "distillation": {"unlabelled_batch_size": 2},
    "evaluation": {"clips_per_video": 10, "batch_size": 8, "student": "student", "baselines": False},
    "registration": {"name": "memory"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="a temporary one by default")
    parser.add_argument("--quick", action="store_true", help="two kinds alone")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        found = {kind: peaks(kind, folder / kind.replace(" ", "")) for kind in (QUICK if given.quick else KINDS)}
    steps = list(dict.fromkeys(step for of_kind in found.values() for step in of_kind))
    rows = [[step, *(f"{of_kind.get(step, 0):.0f}" for of_kind in found.values())] for step in steps]
    print(markdown("Peak memory of the greatest process, MB", ["step", *found], rows, "Stored at a short side of 128."))


def peaks(kind: str, project: Path) -> dict[str, float]:
    """Peak MB by step."""
    print(kind, file=sys.stderr)
    if not (project / "videos").is_dir():
        kineflow("init", ".", at=project)
        write_videos(project, *KINDS[kind])
        (project / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    kineflow("run", "d3d", at=project)
    runs = Workspace.of("d3d", project / "params.yaml", project).outputs
    bundle = runs / "student" / "model"
    predicted = kineflow("predict", str(project / "videos" / "0.mp4"), "--model", str(bundle), at=project)
    return {**recorded(project), "predict": predicted}


def recorded(project: Path) -> dict[str, float]:
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    found: dict[str, float] = {}
    for run in client.search_runs([each.experiment_id for each in client.search_experiments()]):
        if peak := run.data.metrics.get("cost/peak_memory_mb"):
            found[run.info.run_name] = peak
    return dict(sorted(found.items()))


def write_videos(project: Path, width: int, height: int, seconds: int) -> None:
    """Six videos of drifting stripes, and the list that has them."""
    (project / "videos").mkdir(parents=True)
    rows = []
    for number, split in enumerate(SPLITS):
        frames = stripes(width, height, seconds * FPS, seed=number)
        write_video(project / "videos" / f"{number}.mp4", frames, fps=FPS)
        label = "" if split == "unlabelled" else "ab"[number % 2]
        rows.append([f"{number}.mp4", label, split, f"g{number}"])
    with (project / "clips.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label", "split", "group"), *rows])


def stripes(width: int, height: int, frames: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    image = np.kron(texture, np.ones((8, 8, 1), np.uint8))[:height, :width]
    for moment in range(frames):
        yield np.roll(image, moment * (1 + seed % 3) * width // 160, axis=1)


def kineflow(*arguments: str, at: Path) -> float:
    """Run a command; gives the most memory that its own process held, MB."""
    at.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "KINEFLOW_PROJECT": str(at)}
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    process = subprocess.Popen(command, cwd=at, env=environment, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: exit status {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
