"""From a video's decoded frames to batches for the network: every view as float32, or each frame once as uint8.

The first form is what Kineflow did before: the windows of a video in all crops as one float32 tensor, then cut into
batches. The second hands the distinct frames over ("resized") and makes each batch of them where the network
is, here on the CPU ("batches"; :mod:`kineflow.data.windows`). Both give the same numbers. "Held" is the resident memory
that a form adds beside the decoded frames, at its peak.
"""

from __future__ import annotations

import ctypes
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from flow_tables.layout import markdown
from torch import Tensor
from video_tables.clips import median_ms, real_clips

from kineflow.data.crops import Crops, fixed_views
from kineflow.data.transforms import apply_view, normalise, resize_short_side, to_tensor
from kineflow.data.windows import WindowViews, needed_of, window_views
from kineflow.spec.arrays import Indices, Pixels
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.sampling import ClipSpec, uniform_clips
from kineflow.video.decode import read_frames

S3D = Preprocessing("rgb", 64, 1, 256, 224, (127.5,) * 3, (127.5,) * 3)
TSN = Preprocessing("rgb", 1, 1, 256, 224, (104.0, 117.0, 123.0), (1.0,) * 3, channel_order="bgr", segments=3)
TESTS: dict[str, tuple[Preprocessing, int, Crops, int]] = {
    "S3D, 10 windows of 64 frames": (S3D, 10, 1, 2),
    "TSN, 25 frames in 10 crops": (TSN, 25, 10, 50),
}


def table(quick: bool) -> str:
    torch.set_num_threads(1)
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for clip in real_clips(quick):
            print(f"windows: {clip.name}", file=sys.stderr)
            stored, frames = clip.stored(Path(folder)), clip.index.frames
            for name, test in TESTS.items():
                rows.append([clip.name, name, *_measured(stored, frames, test, repeats=3 if quick else 7)])
    header = ["clip", "test", "decoding, ms", "float32", "uint8: resized", "batches", "held: float32", "uint8"]
    return markdown("Views of a video for the network", header, rows)


def _measured(path: Path, n_frames: int, test: tuple[Preprocessing, int, Crops, int], *, repeats: int) -> list[str]:
    wanted, count, crops, batch = test
    windows = uniform_clips(n_frames - 1, ClipSpec(wanted.frames), count)
    needed = needed_of(windows, wanted, n_frames=n_frames)
    frames = read_frames(path, needed.frames.tolist())

    def in_float() -> Iterator[Tensor]:
        yield from torch.split(_every_view(frames, needed.frames, windows, wanted, crops), batch)

    def views() -> WindowViews:
        return window_views(windows, needed, frames, None, wanted, n_frames=n_frames, crops=crops)

    def once(views: WindowViews) -> Iterator[Tensor]:
        yield from (views.inputs(first, first + batch) for first in range(0, len(views), batch))

    for one, other in zip(in_float(), once(views()), strict=True):
        assert torch.equal(one, other)
    ready = views()
    forms = {
        "decode": lambda: read_frames(path, needed.frames.tolist()),
        "float": lambda: _all(in_float()),
        "views": views,
        "once": lambda: _all(once(ready)),
    }
    ms = median_ms(forms, repeats)
    held = [_peak_mib(lambda: _all(in_float())), _peak_mib(lambda: _all(once(views())))]
    return [*(f"{ms[name]:.0f}" for name in forms), *(f"{mib:.0f} MiB" for mib in held)]


def _all(batches: Iterable[Tensor]) -> None:
    for _ in batches:
        pass


def _every_view(frames: Pixels, read: Indices, windows: Indices, wanted: Preprocessing, crops: Crops) -> Tensor:
    """Float32 [V·crops, C, T, S, S]."""
    sized = resize_short_side(frames, wanted.short_side)
    positions = np.searchsorted(read, windows.reshape(-1))
    views = [
        normalise(to_tensor(apply_view(sized, view)[positions]), wanted)
        for view in fixed_views(*sized.shape[1:3], wanted.crop, crops)
    ]
    clips = torch.stack(views)
    clips = clips.reshape(*clips.shape[:2], len(windows), -1, *clips.shape[3:])
    return torch.cat([clips.permute(2, 0, 1, 3, 4, 5).flatten(0, 1)])


def _peak_mib(work: Callable[[], object]) -> float:
    """What a work adds to the resident memory, at its peak; by Linux's count, which is set back for it."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed is no longer resident
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident_mib("VmRSS")
    work()
    return _resident_mib("VmHWM") - before


def _resident_mib(line: str) -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(each.split()[1]) for each in status if each.startswith(line)) / 1024
