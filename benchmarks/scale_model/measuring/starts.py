"""How long a step takes before it works: in a fresh interpreter, caches warm."""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from scale_model.figures import Starts
from scale_model.measuring.clocks import command, median_command

_ROOT = Path(__file__).resolve().parents[3]
_ENV = {"OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": "", "KINEFLOW_RUN_ID": "", "DVC_STAGE": ""}


def measure(quick: bool) -> Starts:
    """``--help``, a flow step with one clip of three frames, and what a training step imports."""
    repeats = 2 if quick else 5
    python = [sys.executable, "-m"]
    print("starts", file=sys.stderr)
    helped = median_command([*python, "components.extract_flow", "--help"], repeats, cwd=_ROOT, env=_ENV)
    imports = "import components.train, kineflow.training.jobs"
    trained = median_command([sys.executable, "-c", imports], repeats, cwd=_ROOT, env=_ENV)
    with tempfile.TemporaryDirectory() as folder:
        clips = _clip_set(Path(folder))
        runs = [
            command(
                [*python, "components.extract_flow", "--clips", str(clips), "--flow", f"{folder}/flow{number}",
                 "--params", '{"preset": "capped", "workers": 1, "device": "cpu"}'],
                cwd=_ROOT, env=_ENV,
            )
            for number in range(repeats + 1)
        ]  # fmt: skip
    return Starts(
        help_cpu_s=helped.cpu_s,
        help_wall_s=helped.wall_s,
        flow_step_cpu_s=statistics.median(run.cpu_s for run in runs[1:]),
        flow_step_wall_s=statistics.median(run.wall_s for run in runs[1:]),
        train_imports_cpu_s=trained.cpu_s,
        train_imports_wall_s=trained.wall_s,
    )


def _clip_set(folder: Path) -> Path:
    from kineflow.sets.clip_set import Clip, ClipSet
    from kineflow.spec.split import Split
    from kineflow.spec.status import Status
    from kineflow.video.encode import write_video

    media = folder / "clips" / "media"
    media.mkdir(parents=True)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    write_video(media / "a.mp4", pictures, fps=25)
    clip = Clip("a", "a.mp4", "x", "g", Split.TRAIN, 3, 25.0, 64, 64, 0, "", Status.OK, "", "a.mp4")
    ClipSet(("x",), (clip,), str(media)).save(folder / "clips")
    return folder / "clips"
