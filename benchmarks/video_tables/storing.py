"""How to store clips: bytes, error, and CPU time to write and to read them, by x264's preset, tune and crf.

Each form gets the frames that ingest would store: the clip's own, its shorter side at most 256 px. Error is the PSNR of
the luma of all frames of a clip, dB; time is that of all frames read in order, and of samples: S3D's 64 frames in a
row, TSN's 3 single ones, at random places, the same ones for every form.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import numpy as np
from flow_tables.layout import markdown
from video_tables.clips import RealClip, median_ms, real_clips

from kineflow.video.decode import PartReader, iter_luma, read_frames
from kineflow.video.encode import write_video
from kineflow.video.store import Part, StoredForm, prepared_frames

FORMS: dict[str, tuple[str, str | None, int]] = {
    "veryfast, crf 18 (before)": ("veryfast", None, 18),
    **{f"{preset}, fastdecode, crf {crf}": (preset, "fastdecode", crf)
       for preset in ("veryfast", "medium", "slow") for crf in (18, 20, 23)},
}  # fmt: skip
SAMPLES = 9
HEADER = ("clip", "form", "bytes a frame", "luma, dB", "write, ms a frame", "read, ms a frame", "S3D, ms", "TSN, ms")
_DECIBEL = HEADER.index("luma, dB")


def table(quick: bool) -> str:
    forms = dict(list(FORMS.items())[::3]) if quick else FORMS
    rows: list[list[object]] = []
    for clip in real_clips(quick):
        with tempfile.TemporaryDirectory() as folder:
            print(f"storing: {clip.name}", file=sys.stderr)
            rows += _measured(clip, Path(folder), forms, repeats=3)
    return markdown("Forms of stored clips", HEADER, rows + _against_first(rows, list(forms)))


def _measured(
    clip: RealClip, folder: Path, forms: dict[str, tuple[str, str | None, int]], *, repeats: int
) -> list[list[object]]:
    index = clip.index
    frames = list(prepared_frames(PartReader(clip.path), index, Part(0, index.frames), StoredForm()))
    paths = {name: folder / f"{number}.mp4" for number, name in enumerate(forms)}

    def write(name: str) -> None:
        preset, tune, crf = forms[name]
        write_video(paths[name], frames, fps=index.fps, crf=crf, gop=12, preset=preset, tune=tune)

    written = {name: median_ms({name: partial(write, name)}, 0)[name] for name in forms}
    read = median_ms({name: partial(_all, path) for name, path in paths.items()}, repeats)
    s3d = median_ms({name: _samples(path, index.frames, 64, 1) for name, path in paths.items()}, repeats)
    tsn = median_ms({name: _samples(path, index.frames, 1, 3) for name, path in paths.items()}, repeats)
    truth = [_luma(frame) for frame in frames]
    return [
        [
            clip.name,
            name,
            round(path.stat().st_size / len(frames)),
            f"{_psnr(path, truth):.2f}",
            f"{written[name] / len(frames):.2f}",
            f"{read[name] / len(frames):.3f}",
            f"{s3d[name] / SAMPLES:.1f}",
            f"{tsn[name] / SAMPLES:.1f}",
        ]
        for name, path in paths.items()
    ]


def _all(path: Path) -> None:
    for _ in iter_luma(path):
        pass


def _samples(path: Path, n_frames: int, length: int, count: int) -> Callable[[], None]:
    rng = np.random.default_rng(0)
    places = [sorted(rng.integers(0, n_frames - length + 1, count).tolist()) for _ in range(SAMPLES)]
    wanted = [[start + step for start in starts for step in range(length)] for starts in places]

    def work() -> None:
        for indices in wanted:
            read_frames(path, indices)

    return work


def _luma(frame: np.ndarray) -> np.ndarray:
    """As the encoder gets it, in the range 16 to 235."""
    coded = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format="yuv420p", threads=1)
    return coded.to_ndarray()[: frame.shape[0]].astype(np.float32)


def _psnr(path: Path, truth: list[np.ndarray]) -> float:
    found = read_frames(path, pixel_format="gray")  # stretched to 0..255
    errors = [np.square(one * (219 / 255) + 16 - other).mean() for one, other in zip(found, truth, strict=True)]
    return float(10 * np.log10(255**2 / np.mean(errors)))


def _against_first(rows: list[list[object]], forms: list[str]) -> list[list[object]]:
    """Means over the clips of each form by the first one's: ratios, and a difference of dB."""
    of_form = {form: [row for row in rows if row[1] == form] for form in forms}
    first, summary = of_form[forms[0]], []
    for form in forms[1:]:
        cells: list[object] = ["all, by the first form", form]
        for column in range(2, len(HEADER)):
            values, bases = (np.array([float(str(row[column])) for row in of]) for of in (of_form[form], first))
            if column == _DECIBEL:
                cells.append(f"{(values - bases).mean():+.2f}")
            else:
                cells.append(f"{np.exp(np.log(values / bases).mean()):.2f}")
        summary.append(cells)
    return summary
