"""A manifest and a flow index of many made-up rows: bytes, CPU and memory a clip.

Each size is made, saved and read in an interpreter of its own. Its memory is that of the process itself: rows of a set
of more than 64 MB lie in a file that is mapped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from growth import MostOwn, write_sets
from scale_model.figures import Index
from scale_model.measuring.clocks import cpu_seconds, line

SIZES = (10_000, 30_000, 100_000)
QUICK = (1_000, 10_000, 30_000)
READ, QUICKLY_READ = (1_000_000, 3_000_000), (400_000, 800_000)
_BENCHMARKS = Path(__file__).resolve().parents[2]


def measure(quick: bool) -> Index:
    """Slopes over the sizes."""
    sizes = QUICK if quick else SIZES
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            print(f"index: {size} clips", file=sys.stderr)
            rows.append({})
            for what in ("write", "shard"):
                rows[-1] |= _alone(what, size, Path(folder) / str(size))
    slopes = _slopes(sizes, rows) | _slopes_of_reading(QUICKLY_READ if quick else READ)
    return Index(
        manifest_bytes=slopes["manifest_bytes"],
        manifest_write_cpu_us=1e6 * slopes["manifest_write_s"],
        manifest_load_cpu_us=1e6 * slopes["manifest_load_s"],
        manifest_memory_bytes=slopes["manifest_memory"],
        flow_index_bytes=slopes["flow_bytes"],
        flow_index_load_cpu_us=1e6 * slopes["flow_load_s"],
        flow_index_memory_bytes=slopes["flow_memory"],
        shard_cpu_us=1e6 * slopes["shard_s"],
        draws_cpu_us=1e6 * slopes["draws_s"],
        draws_memory_bytes=slopes["draws_memory"],
    )


def _slopes_of_reading(sizes: Sequence[int]) -> dict[str, float]:
    """Of sets that are larger than what is kept in memory."""
    rows: list[dict[str, float]] = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            print(f"index: reading {size} clips", file=sys.stderr)
            write_sets(size, Path(folder))
            rows.append({})
            for what in ("read-manifest", "read-flow", "draws"):
                rows[-1] |= _alone(what, size, Path(folder))
    return _slopes(sizes, rows)


def _slopes(sizes: Sequence[int], rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: max(0.0, line(sizes, [row[name] for row in rows])[0]) for name in rows[0]}


def _alone(what: str, size: int, folder: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "scale_model.measuring.index", what, str(size), str(folder)],
        cwd=_BENCHMARKS, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"index {what} {size} failed:\n{done.stderr[-4000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _write(size: int, folder: Path) -> dict[str, float]:
    from kineflow.sets.clip_set import MANIFEST_FILE, ClipSet
    from kineflow.sets.flow_set import FLOW_INDEX_FILE, FlowEntry, FlowSet
    from kineflow.spec.status import Status

    clips = tuple(_clips(size))
    classes = tuple(f"class {number:03}" for number in range(400))
    saved_s = cpu_seconds(lambda: ClipSet(classes, clips, "/cache/media").save(folder))
    entries = {
        clip.clip_id: FlowEntry(clip.clip_id, f"{clip.clip_id}-{clip.sha256[:16]}.mp4", 299, 340, 256, Status.OK, "")
        for clip in clips
    }
    FlowSet(20.0, entries, "/cache/flow").save(folder)
    return {
        "manifest_write_s": saved_s,
        "manifest_bytes": (folder / MANIFEST_FILE).stat().st_size,
        "flow_bytes": (folder / FLOW_INDEX_FILE).stat().st_size,
    }


def _clips(size: int) -> Iterator[Any]:
    """Rows as those of Kinetics: names of eleven letters and two times, a hash that does not compress."""
    import random

    from kineflow.sets.clip_set import Clip
    from kineflow.spec.split import Split
    from kineflow.spec.status import Status

    rng = random.Random(0)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for number in range(size):
        label = f"class {number % 400:03}"
        name = "".join(rng.choices(letters, k=11))
        clip_id = f"class_{number % 400:03}/{name}_{number % 300:06}_{number % 300 + 10:06}"
        yield Clip(
            clip_id, f"{clip_id}.mp4", label, name, Split.TRAIN, 300 - number % 7, 29.97, 340, 256, 0,
            rng.randbytes(32).hex(), Status.OK, "", f"{label}/{clip_id.partition('/')[2]}.mp4",
        )  # fmt: skip


def _shard(_: int, folder: Path) -> dict[str, float]:
    from kineflow.flow.extraction.shards import clips_of, described
    from kineflow.sets.clip_set import ClipSet
    from kineflow.spec.shard import Shard

    shard, usable = Shard(0, 16), ClipSet.load(folder).usable()
    return {"shard_s": cpu_seconds(lambda: (clips_of(shard, usable), described(shard, usable)))}


def _read_manifest(_: int, folder: Path) -> dict[str, float]:
    from kineflow.sets.clip_set import ClipSet, clips_digest

    most, read = MostOwn.watched(), []
    load_s = cpu_seconds(lambda: read.append(ClipSet.load(folder / "clips")))
    clips_digest(read[0].usable())
    return {"manifest_load_s": load_s, "manifest_memory": most.bytes}


def _read_flow(_: int, folder: Path) -> dict[str, float]:
    from kineflow.sets.flow_set import FlowSet, flow_digest

    most, read = MostOwn.watched(), []
    load_s = cpu_seconds(lambda: read.append(FlowSet.load(folder / "flow")))
    flow_digest(read[0])
    return {"flow_load_s": load_s, "flow_memory": most.bytes}


def _draws(size: int, _: Path) -> dict[str, float]:
    from kineflow.data.batch_sampler import BatchSampler, Pool

    most, pool = MostOwn.watched(), Pool(range(size), per_batch=16)
    first_s = cpu_seconds(lambda: next(iter(BatchSampler([pool], steps=1, seed=0))))
    return {"draws_s": first_s, "draws_memory": most.bytes}


if __name__ == "__main__":
    _WORK = {
        "write": _write, "shard": _shard, "read-manifest": _read_manifest, "read-flow": _read_flow, "draws": _draws,
    }  # fmt: skip
    print(json.dumps(_WORK[sys.argv[1]](int(sys.argv[2]), Path(sys.argv[3]))))
