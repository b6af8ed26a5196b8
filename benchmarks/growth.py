"""What a training process takes to begin with 10,000 to 10 million clips: CPU time, and memory of its own and in all.

Run it as ``python benchmarks/growth.py [--clips N …]``.

For each size a clip set and a flow set of made-up rows are written, part after part. Then a process of its own does
what a training step does before its first clip is decoded: it loads both, chooses the clips of ``train`` and ``val``,
checks that each has flow, and takes the digests that go into the model's card; and it looks the clips and the flow of
1,000 batches up, in the order of the second half of a pass. ``own`` is the
most memory that the process had of its own, ``resident`` with mapped files and libraries, both with torch. Disk needed:
7 GB for 10 million. The table goes to stdout as Markdown, progress to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
BATCHES, BATCH_SIZE = 1_000, 16
_BENCHMARKS = Path(__file__).resolve().parent
_CLASSES = 400
_ROWS_A_PART = 2**18


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, action="append", metavar="N", help=f"by default {SIZES}")
    parser.add_argument("--begin", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.begin:
        print(json.dumps(begin(given.begin)))
        return
    rows = []
    for clips in given.clips or SIZES:
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
            print(f"{clips:,} clips", file=sys.stderr, flush=True)
            write_sets(clips, Path(folder))
            rows.append(_row(clips, Path(folder)))
    titles = ("clips", "on disk", "load, CPU", "all before the first batch, CPU", "a batch, CPU", "own", "resident")
    print(f"| {' | '.join(titles)} |")
    print(f"|{' ---: |' * len(titles)}")
    print("\n".join(rows))


def _row(clips: int, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, __file__, "--begin", str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "KINEFLOW_CACHE_DIR": str(folder / "cache")},
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    on_disk = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
    print(f"  {found}", file=sys.stderr, flush=True)
    return (
        f"| {clips:,} | {on_disk / 1e6:,.1f} MB | {found['load_s']:.2f} s | {found['begin_s']:.2f} s "
        f"| {found['batch_ms']:.2f} ms | {found['own'] / 1e6:,.0f} MB | {found['resident'] / 1e6:,.0f} MB |"
    )


def write_sets(clips: int, folder: Path) -> None:
    """A clip set and a flow set as those of Kinetics; a tenth is ``val``."""
    import pyarrow.parquet as pq

    from kineflow.sets.clip_set import CLIP_FILES, ClipSet
    from kineflow.sets.flow_set import FLOW_FILES, FlowSet

    classes = tuple(f"class {number:03}" for number in range(_CLASSES))
    ClipSet(classes, (), str(folder / "media")).save(folder / "clips")
    FlowSet(20.0, {}, str(folder / "media")).save(folder / "flow")
    indices = [folder / "clips" / CLIP_FILES.index, folder / "flow" / FLOW_FILES.index]
    schemas = [pq.read_schema(index) for index in indices]
    for index, schema, part_of in zip(indices, schemas, (_clip_columns, _flow_columns), strict=True):
        with pq.ParquetWriter(index, schema) as writer:
            for first in range(0, clips, _ROWS_A_PART):
                part = part_of(range(first, min(first + _ROWS_A_PART, clips)), clips)
                writer.write_table(_table(part, schema))


def _table(columns: dict[str, Any], schema: Any) -> Any:
    import pyarrow as pa

    rows = len(columns["clip_id"])
    whole = {name: each if isinstance(each, list) else [each] * rows for name, each in columns.items()}
    return pa.table([pa.array(whole[name], schema.field(name).type) for name in schema.names], schema=schema)


def _ids(numbers: range, clips: int) -> Iterator[tuple[str, str, str]]:
    """Class, name of the video, and hash, of clips in the order of their ids."""
    import hashlib

    for number in numbers:
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        yield f"class {number * _CLASSES // clips:03}", f"{number:08}{digest[:3]}", digest


def _clip_columns(numbers: range, clips: int) -> dict[str, Any]:
    rows = list(_ids(numbers, clips))
    return {
        "clip_id": [f"{label}/{name}_000010_000020" for label, name, _ in rows],
        "path": [f"clips/{digest[:2]}/{digest}.mp4" for _, _, digest in rows],
        "label": [label for label, _, _ in rows],
        "group": [name for _, name, _ in rows],
        "split": ["val" if number % 10 == 0 else "train" for number in numbers],
        "frames": [300 - number % 7 for number in numbers],
        "fps": 29.97, "width": 340, "height": 256, "rotation": 0,
        "sha256": [digest[::-1] for _, _, digest in rows],
        "status": "ok", "reason": "",
        "source": [f"{label}/{name}.mp4" for label, name, _ in rows],
        "video_sha256": "", "first_frame": 0,
    }  # fmt: skip


def _flow_columns(numbers: range, clips: int) -> dict[str, Any]:
    rows = list(_ids(numbers, clips))
    return {
        "clip_id": [f"{label}/{name}_000010_000020" for label, name, _ in rows],
        "path": [f"flow/{digest[:2]}/{digest}.mp4" for _, _, digest in rows],
        "fields": [299 - number % 7 for number in numbers],
        "width": 340, "height": 256, "status": "ok", "reason": "",
    }  # fmt: skip


def begin(folder: Path) -> dict[str, float]:
    """CPU seconds and memory of a training process that begins on these sets."""
    import torch  # noqa: F401  # a training process has it

    from kineflow.data.batch_sampler import BatchSampler, Pool
    from kineflow.data.dataset import ClipDataset, Geometry
    from kineflow.sets.clip_set import ClipSet, clips_digest
    from kineflow.sets.flow_set import FlowSet, flow_digest
    from kineflow.spec.sampling import ClipSpec
    from kineflow.spec.split import Split
    from kineflow.training.clips import clips_of

    imported, most = _memory()["peak"], MostOwn.watched()
    start = time.process_time()
    clip_set, flow_set = ClipSet.load(folder / "clips"), FlowSet.load(folder / "flow")
    loaded = time.process_time()
    train, val = (clips_of(clip_set, split) for split in (Split.TRAIN, Split.VAL))
    geometry = Geometry(ClipSpec(16), 112, 112)
    data = ClipDataset(clip_set, train, modalities=("rgb", "flow"), geometry=geometry, flow_set=flow_set)
    ClipDataset(clip_set, val, modalities=("rgb", "flow"), geometry=geometry, flow_set=flow_set)
    clips_digest(clip_set.usable(Split.TRAIN, Split.VAL, Split.UNLABELLED))
    flow_digest(flow_set)
    sampler = BatchSampler([Pool(range(len(train)), BATCH_SIZE)], steps=BATCHES, seed=0)
    sampler.set_epoch(len(train) // (2 * BATCHES * BATCH_SIZE))
    begun = time.process_time()
    for batch in sampler:
        for sample in batch:
            clip = data.clips[sample.clip]
            assert flow_set.entries[clip.clip_id].fields == clip.frames - 1
    walked = time.process_time()
    return {
        "load_s": loaded - start,
        "begin_s": begun - start,
        "batch_ms": 1e3 * (walked - begun) / BATCHES,
        "imports": imported,
        "own": most.bytes,
        "resident": _memory()["peak"],
    }


def _memory() -> dict[str, int]:
    """Bytes of this process: its own now, and the most that were resident so far, mapped files and libraries too."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: 1024 * int(status[field].split()[0]) for name, field in (("own", "RssAnon"), ("peak", "VmHWM"))}


class MostOwn(threading.Thread):
    """The most memory that this process has of its own, looked at every fiftieth of a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = _memory()["own"]

    @classmethod
    def watched(cls) -> MostOwn:
        """One that looks from now on."""
        most = cls()
        most.start()
        return most

    def run(self) -> None:
        while True:
            self.bytes = max(self.bytes, _memory()["own"])
            time.sleep(0.02)


if __name__ == "__main__":
    main()
