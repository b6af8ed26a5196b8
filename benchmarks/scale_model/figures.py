"""What is measured, with its unit in its name; the table is made of nothing else but these and named assumptions."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scale_model.video_sets import Kind

RECORDED = Path(__file__).with_name("figures.json")


@dataclass(frozen=True)
class Media:
    """Means over real clips of one kind. CPU times are of one thread."""

    clips: int
    raw_bytes_a_frame: float
    stored_bytes_a_frame: float
    flow_bytes_a_field: float
    ingest_cpu_ms_a_frame: float
    luma_cpu_ms_a_frame: float
    opencv_cpu_ms_a_pair: float
    capped_cpu_ms_a_pair: float
    fast_cpu_ms_a_pair: float
    flow_write_cpu_ms_a_field: float
    s3d_rgb_cpu_ms_a_sample: float
    s3d_flow_cpu_ms_a_sample: float
    tsn_rgb_cpu_ms_a_sample: float
    tsn_flow_cpu_ms_a_sample: float


@dataclass(frozen=True)
class Index:
    """A manifest and a flow index: bytes on disk, CPU and memory of its own a clip (slopes over several sizes).

    Loading, memory and the order are those of a million clips and more.
    """

    manifest_bytes: float
    manifest_write_cpu_us: float
    manifest_load_cpu_us: float
    manifest_memory_bytes: float
    flow_index_bytes: float
    flow_index_load_cpu_us: float
    flow_index_memory_bytes: float
    shard_cpu_us: float
    draws_cpu_us: float
    draws_memory_bytes: float


@dataclass(frozen=True)
class Starts:
    """A step's start in a fresh interpreter, with compiled kernels in their cache."""

    help_cpu_s: float
    help_wall_s: float
    flow_step_cpu_s: float
    flow_step_wall_s: float
    train_imports_cpu_s: float
    train_imports_wall_s: float


@dataclass(frozen=True)
class Dvc:
    """``dvc`` on a folder of small files: start-up of a command, then CPU a file (slopes); hashing a byte."""

    start_cpu_s: float
    add_cpu_ms: float
    status_cpu_ms: float
    push_cpu_ms: float
    checkout_cpu_ms: float
    dir_file_bytes: float
    md5_bytes_a_cpu_s: float
    sha256_bytes_a_cpu_s: float


@dataclass(frozen=True)
class S3:
    """Requests that reached an S3 server, by what was done."""

    ingest_a_clip: float
    dvc_push_a_file: float
    dvc_push_puts_a_file: float
    dvc_pull_a_file: float


@dataclass(frozen=True)
class Ranges:
    """Requests to S3, and the share of a file's bytes that comes, where real clips are read by range, nothing cached.

    ``small``: in blocks of 64 KiB, beside the 1 MiB that Kineflow reads.
    """

    extract_requests_a_clip: float
    extract_share_read: float
    s3d_rgb_requests_a_sample: float
    s3d_rgb_share_read: float
    s3d_flow_requests_a_sample: float
    s3d_flow_share_read: float
    tsn_rgb_requests_a_sample: float
    tsn_rgb_share_read: float
    tsn_flow_requests_a_sample: float
    tsn_flow_share_read: float
    tsn_rgb_small_requests_a_sample: float
    tsn_rgb_small_share_read: float


@dataclass(frozen=True)
class Tracking:
    """What one run of D3D at paper scale leaves in MLflow's database, and what a shard of flow adds."""

    runs: float
    params: float
    metrics: float
    latest_metrics: float
    tags: float
    inputs: float
    database_bytes: float
    empty_database_bytes: float
    shard_rows: float
    shard_database_bytes: float


@dataclass(frozen=True)
class Networks:
    """Counted operations (a multiply-add is two) a clip of S3D-G and a snippet of TSN, and bytes of weights."""

    s3d_rgb_forward: float
    s3d_rgb_step: float
    s3d_flow_forward: float
    s3d_flow_step: float
    s3d_bytes: float
    tsn_rgb_forward: float
    tsn_rgb_step: float
    tsn_flow_forward: float
    tsn_flow_step: float
    tsn_difference_step: float
    tsn_bytes: float


@dataclass(frozen=True)
class Package:
    """The compiled D3D pipeline: with flow as one task, and what the gatherer and each shard beyond the first add."""

    tasks: float
    manifest_readers: float
    flow_readers: float
    bytes_with_one_shard: float
    bytes_of_gathering: float
    bytes_a_shard: float

    def bytes_with(self, shards: int) -> float:
        """Of the package."""
        gathering = self.bytes_of_gathering if shards > 1 else 0
        return self.bytes_with_one_shard + gathering + (shards - 1) * self.bytes_a_shard


@dataclass(frozen=True)
class Figures:
    """All of it, and the machine it was measured on."""

    machine: str
    ucf101: Media
    kinetics: Media
    index: Index
    starts: Starts
    dvc: Dvc
    s3: S3
    ranges_ucf101: Ranges
    ranges_kinetics: Ranges
    tracking: Tracking
    networks: Networks
    package: Package

    def media(self, kind: Kind) -> Media:
        """Means of the clips of one kind."""
        found: Media = getattr(self, kind)
        return found

    def ranges(self, kind: Kind) -> Ranges:
        """Reading clips of one kind from S3."""
        found: Ranges = getattr(self, f"ranges_{kind}")
        return found

    def save(self, path: Path) -> None:
        """Write as JSON, to four digits."""
        path.write_text(json.dumps(_rounded(dataclasses.asdict(self)), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path = RECORDED) -> Figures:
        """Read what :meth:`save` wrote; a key too many or too few is an error."""
        read = json.loads(path.read_text())
        kinds = {
            "ucf101": Media, "kinetics": Media, "index": Index, "starts": Starts, "dvc": Dvc, "s3": S3,
            "ranges_ucf101": Ranges, "ranges_kinetics": Ranges, "tracking": Tracking, "networks": Networks,
            "package": Package,
        }  # fmt: skip
        return cls(machine=read.pop("machine"), **{name: kinds[name](**values) for name, values in read.items()})


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(below) for key, below in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value
