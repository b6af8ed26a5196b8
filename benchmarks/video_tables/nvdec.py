"""What can be told of decoding on a GPU without one: colours by its formula, and what it leaves to the CPU.

Colours: planes of every sixth of the first 60 frames as stored, turned into RGB by the formula of torchcodec's kernel
(BT.601, chroma not smoothed, fractions cut off), less what the reader gives; in levels of 0 to 255. Left to the CPU:
milliseconds to open a file, by torchcodec on its CPU device, beside those of reading S3D's 64 frames and TSN's three.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
from flow_tables.layout import markdown
from video_tables.clips import median_ms, real_clips
from video_tables.reading import ROOT, python_with_peers

from kineflow.video.decode import read_frames


def table(quick: bool) -> str:
    rows = []
    for clip in real_clips(quick):
        print(f"nvdec: {clip.name}", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            path = clip.stored(Path(folder))
            apart, times = _apart(path), _times(path, clip.index.frames)
        rows.append([clip.name, f"{apart.mean():.2f}", np.abs(apart).max(), *(f"{ms:.1f}" for ms in times.values())])
    header = ["clip", "brighter by", "at most off by", "open (ms)", "S3D (ms)", "TSN (ms)"]
    return markdown("Decoding on a GPU, as far as a CPU can tell", header, rows)


def _apart(path: Path) -> np.ndarray:
    expected = read_frames(path, list(range(0, 60, 6)))
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray() for number, frame in zip(range(60), container.decode(video=0), strict=False)]
    return np.stack([_by_kernel(planes) for planes in frames[::6]]).astype(int) - expected


def _by_kernel(planes: np.ndarray) -> np.ndarray:
    """RGB [H, W, 3] from yuv420p, whose planes PyAV puts below each other, [H · 3/2, W]."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    luma = (planes[:height].astype(np.float32) - 16) * (255 / 219)
    chroma = planes[height:].reshape(2, height // 2, width // 2).repeat(2, axis=1).repeat(2, axis=2)
    u, v = (chroma.astype(np.float32) - 128) * (255 / 224)
    rgb = np.stack([luma + 1.402 * v, luma - 0.344136 * u - 0.714136 * v, luma + 1.772 * u], axis=-1)
    return np.clip(rgb, 0, 255).astype(np.uint8)


def _times(path: Path, n_frames: int) -> dict[str, float]:
    done = subprocess.run(
        [python_with_peers(), __file__, path, str(n_frames)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}"},
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    times: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return times


def main() -> None:
    """Where torchcodec is."""
    from torchcodec.decoders import VideoDecoder

    path, n_frames = Path(sys.argv[1]), int(sys.argv[2])
    third = n_frames // 3
    forms = {
        "open": lambda: VideoDecoder(path),
        "S3D": lambda: read_frames(path, list(range(third, third + 64))),
        "TSN": lambda: read_frames(path, [third // 2, third + third // 2, 2 * third + third // 2]),
    }
    print(json.dumps(median_ms(forms, 9)))


if __name__ == "__main__":
    main()
