"""Bytes and CPU time of real clips: as they come, as stored, their flow, and what a training sample costs to read."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from flow_tables.pairs import shared_data
from scale_model.figures import Media
from scale_model.measuring.clocks import cpu_seconds

from kineflow.data.batch_sampler import SampleRef
from kineflow.data.crops import Jitter
from kineflow.data.dataset import ClipDataset, Geometry
from kineflow.flow.tvl1 import tvl1_flow
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import write_flow
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.spec.modality import Modality
from kineflow.spec.quantise import quantise
from kineflow.spec.sampling import ClipSpec
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.spec.tvl1 import PRESETS
from kineflow.video.decode import iter_luma, read_frames
from kineflow.video.index import index_video
from kineflow.video.store import Part, StoredForm, store_video

FILES = {
    "ucf101": ("v_SoccerJuggling_g23_c01.avi", "v_SoccerJuggling_g24_c01.avi"),
    "kinetics": ("SOX5yA1l24A.mp4", "R6llTwEh07w.mp4", "WUzgd7C1pWA.mp4"),
}
_S3D = Geometry(ClipSpec(frames=64, stride_frames=1), short_side=256, crop=224)
_TSN_JITTER = Jitter(scales=(1.0, 0.875, 0.75))
_TSN_RGB = Geometry(ClipSpec(frames=1, stride_frames=1), short_side=256, crop=224, segments=3, jitter=_TSN_JITTER)
_TSN_FLOW = Geometry(ClipSpec(frames=5, stride_frames=1), short_side=256, crop=224, segments=3, jitter=_TSN_JITTER)
GEOMETRIES: dict[str, tuple[Modality, Geometry]] = {
    "s3d_rgb": ("rgb", _S3D),
    "s3d_flow": ("flow", _S3D),
    "tsn_rgb": ("rgb", _TSN_RGB),
    "tsn_flow": ("flow", _TSN_FLOW),
}


def measure(quick: bool) -> dict[str, Media]:
    """Both kinds; an error where the real clips are not there, since nothing can stand in for them."""
    if shared_data() is None:
        raise SystemExit("real clips are needed in ../shared/data/clips: bytes of rendered ones would say nothing")
    torch.set_num_threads(1)
    return {kind: _kind(files, quick) for kind, files in FILES.items()}


def _kind(files: Sequence[str], quick: bool) -> Media:
    rows = []
    for file in files[:1] if quick else files:
        print(f"media: {file}", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            rows.append(_clip(shared_data() / "clips" / file, Path(folder), quick))  # type: ignore[operator]
    means = {name: statistics.fmean(row[name] for row in rows) for name in rows[0]}
    return Media(clips=len(rows), **means)


def _clip(source: Path, folder: Path, quick: bool) -> dict[str, float]:
    index = index_video(source)
    frames = 49 if quick else index.frames
    stored, flow = folder / "clip.mp4", folder / "clip-flow.mp4"
    part = Part(0, frames)
    ingest_s = cpu_seconds(lambda: index_video(source)) * frames / index.frames
    ingest_s += cpu_seconds(lambda: store_video(source, stored, index=index, part=part, form=StoredForm()))
    luma_s = cpu_seconds(lambda: list(iter_luma(stored)))

    pictures = torch.from_numpy(read_frames(stored, pixel_format="gray"))
    tvl1_flow(pictures[:1], pictures[1:2], PRESETS["fast"], solver="fused")  # compiles
    levels = levels_of(pictures, "capped")
    write_s = cpu_seconds(lambda: write_flow(flow, levels, fps=index.fps))
    at = torch.linspace(2, len(pictures) - 3, 2 if quick else 8).long()
    solve = {name: _solve_ms(pictures[at], pictures[at + 1], name) for name in ("opencv", "capped", "fast")}
    return {
        "raw_bytes_a_frame": source.stat().st_size / index.frames,
        "stored_bytes_a_frame": stored.stat().st_size / frames,
        "flow_bytes_a_field": flow.stat().st_size / (frames - 1),
        "ingest_cpu_ms_a_frame": 1000 * ingest_s / frames,
        "luma_cpu_ms_a_frame": 1000 * luma_s / frames,
        **{f"{name}_cpu_ms_a_pair": ms for name, ms in solve.items()},
        "flow_write_cpu_ms_a_field": 1000 * write_s / (frames - 1),
        **_samples(stored, flow, frames, quick),
    }


def levels_of(pictures: torch.Tensor, preset: str) -> np.ndarray:
    """Flow of all pairs as levels uint8 [T, H, W, 2]."""
    parts = zip(torch.split(pictures[:-1], 16), torch.split(pictures[1:], 16), strict=True)
    return np.concatenate(
        [quantise(tvl1_flow(a, b, PRESETS[preset]).permute(0, 2, 3, 1).numpy(), 20.0) for a, b in parts]
    )


def _solve_ms(first: torch.Tensor, second: torch.Tensor, preset: str) -> float:
    seconds = cpu_seconds(lambda: tvl1_flow(first, second, PRESETS[preset], solver="fused"))
    return 1000 * seconds / len(first)


def _samples(stored: Path, flow: Path, frames: int, quick: bool) -> dict[str, float]:
    """CPU ms of a training sample: seek, decode, resize, crop; one thread, files in the page cache."""
    clip, entry = described(stored, flow, frames)
    clips = ClipSet(("x",), (clip,), str(stored.parent))
    fields = FlowSet(20.0, {clip.clip_id: entry}, str(flow.parent))

    def ms(modality: Modality, geometry: Geometry) -> float:
        data = ClipDataset(clips, [clip], modalities=(modality,), geometry=geometry, flow_set=fields, may_flip=True)
        return 1000 * _median_s([partial(data.__getitem__, SampleRef(0, (n,))) for n in range(4 if quick else 12)])

    return {f"{name}_cpu_ms_a_sample": ms(*asked) for name, asked in GEOMETRIES.items()}


def described(stored: Path, flow: Path, frames: int) -> tuple[Clip, FlowEntry]:
    """Rows of a stored clip and of its flow."""
    height, width = read_frames(stored, [0]).shape[1:3]
    clip = Clip(
        "clip", stored.name, "x", "g", Split.TRAIN, frames, 30.0, width, height, 0, "", Status.OK, "", stored.name
    )
    return clip, FlowEntry("clip", flow.name, frames - 1, width, height, Status.OK, "")


def _median_s(works: Sequence[Callable[[], object]]) -> float:
    return statistics.median([cpu_seconds(work) for work in works][1:])
