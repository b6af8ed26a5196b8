"""How flow is extracted, and the key that names its result."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kineflow.spec.flow_source import ALGORITHM, CameraMotion
from kineflow.spec.formats import FLOW_FORMAT, KEY_DIGITS
from kineflow.spec.quantise import DEFAULT_BOUND_PX
from kineflow.spec.tvl1 import SolverChoice, TVL1Params

if TYPE_CHECKING:
    from kineflow.flow.settings import FlowSettings


@dataclass(frozen=True, kw_only=True)
class ExtractSettings:
    """How to extract flow.

    Attributes:
        tvl1: Parameters of the algorithm.
        camera_motion: ``removed`` stores warped flow, what is left of the motion without the camera's
            (:mod:`kineflow.flow.warped`).
        bound_px: Flow is clipped to ±this.
        crf, gop: Of the flow videos, see :func:`kineflow.sets.flow_file.write_flow`.
        batch_pairs: Most pairs of frames solved together, of one clip or of several of the same size.
        solver: Of TV-L1, see :func:`kineflow.flow.tvl1.tvl1_flow`.
        devices: Where to solve, see :func:`kineflow.flow.extraction.devices.find_devices`.
        workers: Threads that solve on a CPU, or that decode and encode beside GPUs.
    """

    tvl1: TVL1Params = dataclasses.field(default_factory=TVL1Params)
    camera_motion: CameraMotion = "kept"
    bound_px: float = DEFAULT_BOUND_PX
    crf: int = 14
    gop: int = 1
    batch_pairs: int = 128
    solver: SolverChoice = "auto"
    devices: tuple[str, ...] = ("cpu",)
    workers: int = 1

    @classmethod
    def of(cls, section: FlowSettings) -> ExtractSettings:
        """What a section asks of this machine.

        Raises:
            KineflowError: A device is not there, or the solver cannot run on it.
        """
        from kineflow.flow.extraction.devices import find_devices
        from kineflow.flow.tvl1 import check_solver

        devices = find_devices(section.device)
        for device in devices:
            check_solver(section.solver, section.tvl1, device, where="flow.solver")
        return cls(
            tvl1=section.tvl1,
            camera_motion=section.camera_motion,
            bound_px=section.bound_px,
            crf=section.crf,
            gop=section.gop,
            batch_pairs=section.batch_pairs,
            solver=section.solver,
            devices=devices,
            workers=section.workers or os.cpu_count() or 1,
        )

    @property
    def on_cpu(self) -> bool:
        """Whether the CPU solves."""
        return "cpu" in self.devices

    def described(self) -> dict[str, Any]:
        """All that the flow of a clip depends on beside the clip; batches, solver, devices and threads are not."""
        stored = {"bound_px": self.bound_px, "crf": self.crf, "gop": self.gop, "format": FLOW_FORMAT}
        return {"algorithm": ALGORITHM, **self.tvl1.model_dump(), "camera_motion": self.camera_motion, **stored}

    def key(self, clip_sha256: str) -> str:
        """Digest of the clip's bytes and of all that its flow depends on."""
        encoded = json.dumps([self.described(), clip_sha256], sort_keys=True)
        return hashlib.sha256(encoded.encode()).hexdigest()[:KEY_DIGITS]
