"""How flow is extracted, and the key that names its result."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from kineflow.flow.params import TVL1Params

CameraMotion = Literal["kept", "removed"]

_FORMAT_VERSION = 2  # raise it when the same parameters come to give other flow
_KEY_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class ExtractSettings:
    """How to extract flow.

    Attributes:
        tvl1: Parameters of the algorithm.
        camera_motion: ``removed`` stores warped flow, what is left of the motion without the camera's
            (:mod:`kineflow.flow.warped`).
        bound_px: Flow is clipped to ±this.
        crf, gop: Of the flow videos, see :func:`kineflow.flow.store.write_flow`.
        batch_pairs: Most pairs of frames solved together, of one clip or of several of the same size.
        devices: Where to solve, see :func:`kineflow.flow.extraction.devices.find_devices`.
        workers: Threads that solve on a CPU, or that decode and encode beside GPUs.
    """

    tvl1: TVL1Params = dataclasses.field(default_factory=TVL1Params)
    camera_motion: CameraMotion = "kept"
    bound_px: float = 20.0
    crf: int = 14
    gop: int = 1
    batch_pairs: int = 128
    devices: tuple[str, ...] = ("cpu",)
    workers: int = 1

    @property
    def on_cpu(self) -> bool:
        """Whether the CPU solves."""
        return "cpu" in self.devices

    def described(self) -> dict[str, Any]:
        """All that the flow of a clip depends on beside the clip; batches, devices and threads are not among it."""
        stored = {"bound_px": self.bound_px, "crf": self.crf, "gop": self.gop, "format": _FORMAT_VERSION}
        return {"algorithm": "tvl1", **dataclasses.asdict(self.tvl1), "camera_motion": self.camera_motion, **stored}

    def key(self, clip_sha256: str) -> str:
        """Short digest of the clip's bytes and of all that its flow depends on."""
        told = json.dumps([self.described(), clip_sha256], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:_KEY_DIGITS]
