"""CPU time of a training sample: Kineflow, torchcodec and decord on the same stored clips.

Samples are S3D's (64 frames in a row) and TSN's (3 single frames) at random places, the same ones for all: uint8
[1, 3, T, 224, 224], the centre of frames whose shorter side is 256 px, as a batch of one. Every sample opens its file
anew, as a data set of many files does. Peers decode with one thread, their frames are resized and cut by the same code;
torchcodec is asked both to scan the file first ("exact") and not to ("approximate"). They are installed into an
environment of their own, among the temporary files, which borrows torch from this one.

Each clip is stored in two forms: as ingest stores it, and as it did before (veryfast, crf 18, no fastdecode).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

import numpy as np
from flow_tables.layout import markdown
from video_tables.clips import RealClip, real_clips

from kineflow.video.decode import PartReader
from kineflow.video.encode import write_video
from kineflow.video.store import Part, StoredForm, prepared_frames

ROOT = Path(__file__).resolve().parents[2]
PEERS = ("torchcodec==0.13.0", "decord==0.6.0")
STORED = ("as stored before", "as stored")


def table(quick: bool) -> str:
    python, rows = python_with_peers(), []
    ratios: dict[tuple[str, str], list[list[float]]] = {}
    for clip in real_clips(quick):
        print(f"reading: {clip.name}", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            for stored, path in zip(STORED, _stored(clip, Path(folder)), strict=True):
                for sample, ms in _measured(python, path, clip.index.frames, quick).items():
                    rows.append([clip.name, stored, sample, *(f"{each:.1f}" for each in ms.values())])
                    ratios.setdefault((stored, sample), []).append([each / ms["Kineflow"] for each in ms.values()])
                    forms = list(ms)
    for (stored, sample), each in ratios.items():
        means = np.exp(np.log(each).mean(axis=0))
        rows.append(["all, by Kineflow", stored, sample, *(f"{mean:.2f}" for mean in means)])
    note = f"Milliseconds a sample. Peers: {', '.join(PEERS)}."
    return markdown("Training samples", ["clip", "form", "sample", *forms], rows, note)


def _stored(clip: RealClip, folder: Path) -> tuple[Path, Path]:
    before = folder / "before.mp4"
    frames = prepared_frames(PartReader(clip.path), clip.index, Part(0, clip.index.frames), StoredForm())
    write_video(before, frames, fps=clip.index.fps, crf=18, gop=12)
    return before, clip.stored(folder)


def _measured(python: Path, path: Path, n_frames: int, quick: bool) -> dict[str, dict[str, float]]:
    """Of each sample the milliseconds of each reader."""
    done = subprocess.run(
        [python, Path(__file__).with_name("readers.py"), path, str(n_frames), str(5 if quick else 15)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr)
    measured: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return measured


def python_with_peers() -> Path:
    folder = Path(tempfile.gettempdir()) / "kineflow-video-peers"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        name = f"python{sys.version_info.major}.{sys.version_info.minor}"
        borrowed = Path(sysconfig.get_path("purelib"))
        (folder / "lib" / name / "site-packages" / "borrowed.pth").write_text(
            f"import site; site.addsitedir({str(borrowed)!r})\n"
        )
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", *PEERS], check=True)
    return python
