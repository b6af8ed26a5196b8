"""The section that says which flow is extracted, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from kineflow.spec.flow_source import CameraMotion
from kineflow.spec.quantise import DEFAULT_BOUND_PX
from kineflow.spec.split import Split
from kineflow.spec.tvl1 import PRESETS, Preset, SolverChoice, TVL1Params
from kineflow.storage.config import RootFolder


class FlowSettings(TVL1Params):
    """How optical flow is computed and stored.

    The parameters of TV-L1 are those of its preset, each of which can be overridden by giving it here.
    """

    algorithm: Literal["tvl1"] = "tvl1"
    """Which flow."""

    preset: Preset = "opencv"
    """``opencv``: its DualTVL1; ``cuda``: its GPU version; ``capped``: at most 30 iterations a warp; ``deep``: fewer
    warps on a deeper pyramid, a third of the time, for whole data sets; ``fast``: few fixed iterations, for small
    frames that move by up to 4 px."""

    solver: SolverChoice = "auto"
    """What computes it, with one result: on a GPU ``triton`` or ``cluster`` (compute capability 9.0), on a CPU
    ``fused``, on both ``portable``; ``auto``: ``triton`` or ``fused``, or ``portable`` where they cannot."""

    camera_motion: CameraMotion = "kept"
    """``removed``: warped flow, what is left of the motion without the camera's."""

    splits: tuple[Split, ...] = tuple(Split)
    """Of the clips that get flow; none, for recipes that use flow in some runs only, make an empty flow set."""

    existing: RootFolder = Field(default="", json_schema_extra={"is_input": True})
    """Flow that there is already, and nothing is computed: a folder that another tool has written, as
    ``flow_x_00001.jpg`` in a folder a clip, with ``bound_px`` telling its bound; or a folder, or ``s3://bucket/prefix``,
    that holds flow sets of other runs, a folder each. Empty: the flow is computed."""

    bound_px: float = Field(default=DEFAULT_BOUND_PX, gt=0, le=1000)
    """Flow is clipped to ± this and stored in 8 bit, in steps of ``2 · bound_px / 255``."""

    crf: int = Field(default=14, ge=0, le=51)
    """x264's constant rate factor of the flow videos; 0 is lossless."""

    gop: int = Field(default=1, ge=1, le=250)
    """Flow frames from one key frame to the next."""

    batch_pairs: int = Field(default=128, ge=1, le=65536)
    """Pairs of frames solved together; too many do not fit into the memory of a GPU."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda|cuda:\d+(,cuda:\d+)*)$")
    """``cpu``, ``cuda:1``, or several GPUs as ``cuda:0,cuda:1``; ``auto``: all GPUs, or the CPU if there is none."""

    workers: int = Field(default=0, ge=0, le=256)
    """Threads that solve on a CPU, or that decode and encode beside GPUs; 0: one a core."""

    media_root: RootFolder = ""
    """Where the flow videos are kept: a folder, such as a shared volume, or ``s3://bucket/prefix``; empty: inside the
    flow set."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        preset = PRESETS.get(str(values.get("preset", "opencv")))
        if preset is None:
            return values
        given = {key: value for key, value in values.items() if value is not None or key not in TVL1Params.model_fields}
        return {**preset.model_dump(), **given}

    @property
    def tvl1(self) -> TVL1Params:
        """The parameters of the algorithm alone."""
        return TVL1Params(**self.model_dump(include=set(TVL1Params.model_fields)))
