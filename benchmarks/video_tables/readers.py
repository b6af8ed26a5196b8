"""Run by :mod:`video_tables.reading` where the peers are: milliseconds of each reader on one clip, as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import decord
import numpy as np
import torch
from torchcodec.decoders import VideoDecoder
from video_tables.clips import median_ms

from kineflow.data.dataset import ClipDataset, Geometry
from kineflow.data.transforms import apply_view, centre_view, resize_short_side, to_tensor
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.arrays import Indices, Pixels
from kineflow.spec.sampling import ClipSpec
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.video.decode import read_frames

SHORT_SIDE, CROP = 256, 224
Read = Callable[[Path, list[int]], torch.Tensor]


class _Placed(ClipDataset):
    """Samples of the frames that are asked for."""

    places: Indices

    def _window(self, time_steps: int, rng: np.random.Generator | None) -> Indices:
        return self.places


def _data_set(path: Path, n_frames: int) -> _Placed:
    height, width = read_frames(path, [0]).shape[1:3]
    clip = Clip(
        "clip", path.name, "x", "g", Split.TRAIN, n_frames, 25.0, width, height, 0, "", Status.OK, "", path.name
    )
    geometry = Geometry(ClipSpec(1, 1), SHORT_SIDE, CROP)
    return _Placed(ClipSet(("x",), (clip,), str(path.parent)), [clip], modalities=("rgb",), geometry=geometry)


def _by_kineflow(data: _Placed, _: Path, indices: list[int]) -> torch.Tensor:
    data.places = np.asarray(indices)
    return data[0]["rgb"]


def _cut(frames: Pixels) -> torch.Tensor:
    sized = resize_short_side(frames, SHORT_SIDE)
    return to_tensor(apply_view(sized, centre_view(*sized.shape[1:3], CROP)))


def _by_torchcodec(seek_mode: str, path: Path, indices: list[int]) -> torch.Tensor:
    decoder = VideoDecoder(str(path), num_ffmpeg_threads=1, seek_mode=seek_mode)  # type: ignore[arg-type]
    frames = decoder.get_frames_at(indices).data  # [T, 3, H, W]
    if min(frames.shape[2:]) == SHORT_SIDE:
        view = centre_view(*frames.shape[2:], CROP)
        cut = frames[:, :, view.top : view.top + CROP, view.left : view.left + CROP]
        return cut.transpose(0, 1)
    return _cut(frames.permute(0, 2, 3, 1).contiguous().numpy())


def _by_decord(path: Path, indices: list[int]) -> torch.Tensor:
    return _cut(decord.VideoReader(str(path), num_threads=1).get_batch(indices).asnumpy())


def _turns(read: Read, path: Path, places: list[list[int]]) -> Callable[[], torch.Tensor]:
    """Each call reads the next sample, and puts it into a batch."""
    ahead = iter(places)
    return lambda: torch.stack([read(path, next(ahead))])


def main() -> None:
    path, n_frames, repeats = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    readers: dict[str, Read] = {
        "Kineflow": partial(_by_kineflow, _data_set(path, n_frames)),
        "torchcodec, exact": partial(_by_torchcodec, "exact"),
        "torchcodec, approximate": partial(_by_torchcodec, "approximate"),
        "decord": _by_decord,
    }
    rng = np.random.default_rng(0)
    starts = rng.integers(0, n_frames - 64, repeats + 1).tolist()
    samples = {
        "S3D": [list(range(start, start + 64)) for start in starts],
        "TSN": [[int((k + rng.random()) * n_frames / 3) for k in range(3)] for _ in starts],
    }
    found = {
        name: median_ms({reader: _turns(read, path, places) for reader, read in readers.items()}, repeats)
        for name, places in samples.items()
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
