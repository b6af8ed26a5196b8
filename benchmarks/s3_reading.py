"""What reading a clip from S3 costs: requests, bytes, and CPU time beside the same clip on the local disk.

Run it as ``python benchmarks/s3_reading.py [--quick]``. The server is OpenStack Swift with its S3 API, on this machine
and for this run alone (``tests/tools/install.sh`` installs it): its latency is not Amazon's, so no wall time is given;
requests and bytes are what any server would see. CPU time is that of the reading process, median, one thread.

Clips are real ones from ../shared/data as ingest stores them (short side 256, a key frame every 12 frames, header at
the end), and one of two minutes: a real clip there and back again. "Cold" reads with an empty cache, "warm" again with
the cache of the read before.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the server that the tests use

from flow_tables.layout import markdown  # noqa: E402
from flow_tables.pairs import shared_data  # noqa: E402

from kineflow.storage import media  # noqa: E402
from kineflow.storage.media import Media, RemoteFile  # noqa: E402
from kineflow.storage.ranges import BLOCK_BYTES, RangeReader, Traffic, traffic  # noqa: E402
from kineflow.storage.upload import upload_file  # noqa: E402
from kineflow.video.decode import iter_frames, read_frames  # noqa: E402
from kineflow.video.encode import write_video  # noqa: E402
from kineflow.video.index import index_video  # noqa: E402
from kineflow.video.store import Part, StoredForm, store_video  # noqa: E402
from tests.swift import running_swift  # noqa: E402

REAL = {"UCF101": "v_SoccerJuggling_g23_c01.avi", "Kinetics-400": "R6llTwEh07w.mp4"}
TIMES_OVER = 12  # of the Kinetics clip, for the long one
BLOCKS = (64 * 1024, 256 * 1024, BLOCK_BYTES, 4 * BLOCK_BYTES)
TSN_SNIPPETS, S3D_FRAMES = 3, 64
Reading = Callable[[Media], object]


@dataclass(frozen=True)
class Stored:
    """A clip in both places."""

    name: str
    local: Path
    remote: RemoteFile
    frames: int


def make_clips(folder: Path, bucket: str, *, quick: bool) -> Iterator[Stored]:
    form, paths, shared = StoredForm(), {}, shared_data()
    if shared is None:
        sys.exit("no real clips in ../shared/data")
    data = shared / "clips"
    for name, file in REAL.items():
        index = index_video(data / file)
        paths[name] = folder / f"{name}.mp4"
        store_video(data / file, paths[name], index=index, part=Part(0, index.frames), form=form)
    frames = list(iter_frames(paths["Kinetics-400"]))
    there_and_back = itertools.chain.from_iterable(
        frames if turn % 2 else frames[::-1] for turn in range(4 if quick else TIMES_OVER)
    )
    paths["two minutes"] = folder / "long.mp4"
    write_video(paths["two minutes"], there_and_back, fps=30, crf=form.crf, gop=form.gop)
    for name, path in paths.items():
        uri = f"s3://{bucket}/{path.name}"
        upload_file(path, uri)
        yield Stored(name, path, RemoteFile(uri), index_video(path).frames)


def readings(frames: int, repeats: int) -> dict[str, list[Reading]]:
    """Each way to read a clip, at random places, the same ones for every store."""
    rng = np.random.default_rng(0)
    segment = frames / TSN_SNIPPETS
    tsn = [[int((k + rng.random()) * segment) for k in range(TSN_SNIPPETS)] for _ in range(repeats)]
    starts = rng.integers(0, frames - S3D_FRAMES, repeats).tolist()
    s3d = [list(range(start, start + S3D_FRAMES)) for start in starts]

    def of(places: Sequence[list[int]]) -> list[Reading]:
        return [lambda video, indices=indices: read_frames(video, indices) for indices in places]

    def whole(video: Media) -> None:
        for _ in iter_frames(video):
            pass

    return {f"TSN, {TSN_SNIPPETS} frames": of(tsn), f"S3D, {S3D_FRAMES} frames": of(s3d), "whole clip": [whole]}


def measured(read: Reading, video: Media) -> tuple[float, Traffic]:
    before, begun = traffic(), time.process_time()
    read(video)
    return 1000 * (time.process_time() - begun), traffic() - before


@contextmanager
def empty_cache(folder: Path) -> Iterator[None]:
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        os.environ["KINEFLOW_CACHE_DIR"] = cache
        yield


def table(clips: Sequence[Stored], folder: Path, repeats: int) -> str:
    rows: list[list[object]] = []
    for clip in clips:
        size = clip.local.stat().st_size
        for way, works in readings(clip.frames, repeats).items():
            local, cold, warm = [], [], []
            for work in works:
                local.append(measured(work, clip.local))
                with empty_cache(folder):
                    cold.append(measured(work, clip.remote))
                    warm.append(measured(work, clip.remote))
            got = statistics.mean(asked.received_bytes for _, asked in cold)
            cpu = [f"{statistics.median(ms for ms, _ in each):.0f}" for each in (local, cold, warm)]
            requests = [f"{statistics.mean(asked.requests for _, asked in each):.1f}" for each in (cold, warm)]
            share = f"{got / 1e6:.2f} MB ({got / size:.0%})"
            rows.append([f"{clip.name}, {clip.frames} frames, {size / 1e6:.2f} MB", way, *requests, share, *cpu])
    header = ["clip", "read", "requests cold", "warm", "received cold", "CPU ms local", "S3 cold", "S3 warm"]
    return markdown("Reading clips from S3", header, rows)


def blocks_table(clips: Sequence[Stored], folder: Path, repeats: int) -> str:
    rows: list[list[object]] = []
    for clip in clips:
        for way, works in list(readings(clip.frames, repeats).items())[:2]:
            cells = []
            for block_bytes in BLOCKS:
                media.RangeReader = lambda uri, size=block_bytes: RangeReader(uri, block_bytes=size)
                asked = []
                for work in works:
                    with empty_cache(folder):
                        asked.append(measured(work, clip.remote)[1])
                requests = statistics.mean(each.requests for each in asked)
                cells.append(f"{requests:.1f} / {statistics.mean(each.received_bytes for each in asked) / 1e6:.2f}")
            rows.append([clip.name, way, *cells])
    media.RangeReader = RangeReader
    title = "Requests / MB received, cold, by size of the blocks"
    return markdown(title, ["clip", "read", *(f"{size // 1024} KiB" for size in BLOCKS)], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure reading from S3.")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, and a shorter long clip")
    quick = parser.parse_args().quick
    repeats = 3 if quick else 9
    with tempfile.TemporaryDirectory(prefix="kineflow-s3-") as name:
        folder = Path(name)
        (folder / "server").mkdir()
        with running_swift(folder / "server") as server:
            os.environ |= server.environment | {"KINEFLOW_CACHE_DIR": str(folder / "cache")}
            clips = list(make_clips(folder, server.make_bucket(), quick=quick))
            read_frames(clips[0].remote, [0])  # boto3 is loaded
            print(f"Swift on this machine; blocks of {BLOCK_BYTES // 1024} KiB; {repeats} reads at random places.\n")
            print(table(clips, folder, repeats), flush=True)
            print(blocks_table(clips, folder, repeats), flush=True)


if __name__ == "__main__":
    main()
