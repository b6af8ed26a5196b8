"""Bytes stored: a count of frames times what a frame takes in each form."""

from __future__ import annotations

from dataclasses import dataclass

from scale_model.figures import Figures
from scale_model.video_sets import VideoSet

FEATURE_BYTES_A_FRAME = 1024 * 7 * 7 * 2  # GoogLeNet's last map in 16 bits


@dataclass(frozen=True)
class Stored:
    """Bytes of each form.

    Attributes:
        raw: The videos as they come.
        clips: The clip set.
        flow: The flow set.
        warped: The flow set without the camera's motion, which TSN's fourth stream reads: as large again.
        features: Frozen maps, for ALSTM.
        models: What a run of D3D writes: initial weights of two streams and four networks.
        manifest, flow_index: The two parquet files.
        artifacts_moved: What KFP downloads in a run: every reader takes the manifest and the flow index whole.
    """

    raw: float
    clips: float
    flow: float
    warped: float
    features: float
    models: float
    manifest: float
    flow_index: float
    artifacts_moved: float


def stored(data: VideoSet, figures: Figures, shards: int) -> Stored:
    """Bytes of each form; ``shards`` of flow each read the manifest."""
    media, index = figures.media(data.kind), figures.index
    manifest = data.clips * index.manifest_bytes
    flow_index = data.clips * index.flow_index_bytes
    models = 6 * figures.networks.s3d_bytes
    readers = figures.package.manifest_readers - 1 + shards
    # The gatherer reads the indices of all shards: together one more flow index.
    moved = readers * manifest + (figures.package.flow_readers + 1) * flow_index + 2 * models
    return Stored(
        raw=data.frames * media.raw_bytes_a_frame,
        clips=data.frames * media.stored_bytes_a_frame,
        flow=data.pairs * media.flow_bytes_a_field,
        warped=data.pairs * media.flow_bytes_a_field,
        features=data.pairs * FEATURE_BYTES_A_FRAME,
        models=models,
        manifest=manifest,
        flow_index=flow_index,
        artifacts_moved=moved,
    )
