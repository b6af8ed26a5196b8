"""S3: requests, and bytes out of the bucket, by what is done; each is a count times what was counted at a server."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scale_model.assumptions import Assumptions
from scale_model.figures import Figures
from scale_model.stored import Stored
from scale_model.video_sets import VideoSet

Stream = Literal["s3d_rgb", "s3d_flow", "tsn_rgb", "tsn_flow"]


@dataclass(frozen=True)
class Traffic:
    """Requests, and bytes that leave the bucket."""

    requests: float
    egress_bytes: float


def ingest(data: VideoSet, figures: Figures, sizes: Stored, given: Assumptions) -> Traffic:
    """Every video listed once and downloaded whole; videos past 8 MB take more requests than these."""
    listed = math.ceil(data.clips / given.list_page)
    return Traffic(listed + data.clips * figures.s3.ingest_a_clip, sizes.raw)


def flow_extraction(data: VideoSet, figures: Figures, sizes: Stored) -> Traffic:
    """Every clip asked for its hash and read whole, and its flow put and verified."""
    ranges = figures.ranges(data.kind)
    return Traffic(data.clips * ranges.extract_requests_a_clip, ranges.extract_share_read * sizes.clips)


def epoch(data: VideoSet, figures: Figures, sizes: Stored, stream: Stream) -> Traffic:
    """One sample of every training clip, read by range, nothing cached."""
    requests, out = read_a_sample(data, figures, sizes, stream)
    return Traffic(data.train_clips * requests, data.train_clips * out)


def read_a_sample(data: VideoSet, figures: Figures, sizes: Stored, stream: Stream) -> tuple[float, float]:
    """Requests and bytes of one training sample."""
    ranges = figures.ranges(data.kind)
    file_bytes = (sizes.flow if stream.endswith("flow") else sizes.clips) / data.clips
    return getattr(ranges, f"{stream}_requests_a_sample"), file_bytes * getattr(ranges, f"{stream}_share_read")


def dvc_push(files: float, figures: Figures) -> Traffic:
    """Requests of a first push; bytes go in, none out."""
    return Traffic(files * figures.s3.dvc_push_a_file, 0)


def dvc_pull(files: float, total_bytes: float, figures: Figures) -> Traffic:
    """Requests and bytes of a pull into an empty cache."""
    return Traffic(files * figures.s3.dvc_pull_a_file, total_bytes)


def hours_at(requests: float, requests_a_s: float) -> float:
    """At least this long, from one prefix."""
    return requests / requests_a_s / 3600
