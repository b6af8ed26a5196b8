"""Requests and bytes of real clips read from S3 by range: a training sample, and the extraction of flow."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from flow_tables.pairs import shared_data
from scale_model.figures import Ranges
from scale_model.measuring.counting_server import BUCKET, counting_server
from scale_model.measuring.media import FILES, GEOMETRIES, described, levels_of

from kineflow.data.batch_sampler import SampleRef
from kineflow.data.dataset import ClipDataset
from kineflow.sets.clip_set import ClipSet
from kineflow.sets.flow_file import write_flow
from kineflow.sets.flow_set import FlowSet
from kineflow.video.decode import iter_luma, read_frames
from kineflow.video.index import index_video
from kineflow.video.store import Part, StoredForm, store_video

SMALL_BLOCK_BYTES = 2**16


def measure(quick: bool) -> dict[str, Ranges]:
    """Both kinds of clips, each reading with an empty cache."""
    torch.set_num_threads(1)
    return {f"ranges_{kind}": _kind(files[:1] if quick else files, quick) for kind, files in FILES.items()}


def _kind(files: Sequence[str], quick: bool) -> Ranges:
    with tempfile.TemporaryDirectory() as temporary, counting_server() as server:
        rows = []
        for file in files:
            print(f"ranges: {file}", file=sys.stderr)
            rows.append(_clip(shared_data() / "clips" / file, Path(temporary), server, quick))  # type: ignore[operator]
    return Ranges(**{name: sum(row[name] for row in rows) / len(rows) for name in rows[0]})


def _clip(source: Path, folder: Path, server: Any, quick: bool) -> dict[str, float]:
    from kineflow.storage.media import digest_of, locate
    from kineflow.storage.ranges import traffic
    from kineflow.storage.upload import upload_file

    index, stored, flow = index_video(source), folder / "clip.mp4", folder / "clip-flow.mp4"
    store_video(source, stored, index=index, part=Part(0, index.frames), form=StoredForm())
    pictures = torch.from_numpy(read_frames(stored, pixel_format="gray"))
    write_flow(flow, levels_of(pictures, "fast" if quick else "capped"), fps=index.fps)
    root = f"s3://{BUCKET}/{source.stem}"
    upload_file(stored, f"{root}/{stored.name}")

    server.seen.clear()
    before = traffic()
    remote = locate(root, stored.name)
    with _empty_cache():
        digest_of(remote)
        list(iter_luma(remote))
    upload_file(flow, f"{root}/{flow.name}")
    found = {
        "extract_requests_a_clip": float(server.seen.total()),
        "extract_share_read": (traffic() - before).received_bytes / stored.stat().st_size,
    }
    clip, entry = described(stored, flow, index.frames)
    clips, fields = ClipSet(("x",), (clip,), root), FlowSet(20.0, {clip.clip_id: entry}, root)
    for name, (modality, geometry) in GEOMETRIES.items():
        data = ClipDataset(clips, [clip], modalities=(modality,), geometry=geometry, flow_set=fields, may_flip=True)
        draws = 4 if quick else 16
        size = (flow if modality == "flow" else stored).stat().st_size
        found |= _read(data, name, draws, size)
        if name == "tsn_rgb":
            with _block_bytes(SMALL_BLOCK_BYTES):
                found |= _read(data, "tsn_rgb_small", draws, size)
    return found


def _read(data: ClipDataset, name: str, draws: int, size: int) -> dict[str, float]:
    """Requests of a sample, and its share of the ``size`` bytes of the file, on average."""
    from kineflow.storage.ranges import traffic

    before = traffic()
    for seed in range(draws):
        with _empty_cache():
            data[SampleRef(0, (seed,))]
    asked = traffic() - before
    return {
        f"{name}_requests_a_sample": asked.requests / draws,
        f"{name}_share_read": asked.received_bytes / draws / size,
    }


@contextmanager
def _block_bytes(size: int) -> Iterator[None]:
    """Read in blocks of another size than Kineflow does."""
    from kineflow.storage.ranges import RangeReader

    defaults = RangeReader.__init__.__kwdefaults__ or {}
    before = defaults["block_bytes"]
    defaults["block_bytes"] = size
    try:
        yield
    finally:
        defaults["block_bytes"] = before


@contextmanager
def _empty_cache() -> Iterator[None]:
    """Blocks are kept while a sample is read, as they are in training, and none of an earlier one is there."""
    before = os.environ.get("KINEFLOW_CACHE_DIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KINEFLOW_CACHE_DIR"] = folder
        try:
            yield
        finally:
            os.environ.pop("KINEFLOW_CACHE_DIR") if before is None else os.environ.update(KINEFLOW_CACHE_DIR=before)
