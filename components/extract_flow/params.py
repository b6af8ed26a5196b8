"""Parameters of the step ``extract_flow``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from kineflow.data.manifest import Split
from kineflow.storage.config import Params, RootFolder


class FlowParams(Params):
    """How optical flow is computed and stored.

    The parameters of the algorithm are those of its preset, each of which can be overridden by giving it here.
    """

    algorithm: Literal["tvl1"] = "tvl1"
    """Which flow."""

    preset: Literal["opencv", "cuda", "capped", "fast"] = "opencv"
    """``opencv``: its DualTVL1; ``cuda``: its GPU version; ``capped``: at most 30 iterations a warp, for whole data
    sets; ``fast``: few fixed iterations, for small frames that move by up to 4 px."""

    tau: float | None = Field(None, gt=0, le=0.25)
    """Step on the dual variable; above 0.25 it does not converge."""

    lambda_: float | None = Field(None, gt=0)
    """Weight of the data term, for grey values in 0..255; smaller is smoother."""

    theta: float | None = Field(None, gt=0)
    """Tightness of the coupling between data term and smoothness."""

    scales: int | None = Field(None, ge=1, le=100)
    """Levels of the pyramid at most."""

    scale_step: float | None = Field(None, gt=0, lt=1)
    """Size of a level relative to the next finer one."""

    warps: int | None = Field(None, ge=1, le=100)
    """Times that the second frame is warped on each level."""

    epsilon: float | None = Field(None, ge=0)
    """A pair stops when its root mean square update, in pixels, falls to this; 0: never."""

    outer_iterations: int | None = Field(None, ge=1, le=1000)
    """Blocks of iterations a warp; each begins with the median filter."""

    inner_iterations: int | None = Field(None, ge=1, le=1000)
    """Iterations a block."""

    check_every: int | None = Field(None, ge=1)
    """Iterations between two looks at the stop rule."""

    median: int | None = Field(None, ge=1, le=15)
    """Side of the median window in pixels, odd; 1: no median."""

    gamma: float | None = Field(None, ge=0)
    """Weight of a change of brightness estimated beside the flow; 0: none."""

    presmoothing: float | None = Field(None, ge=0, le=10)
    """Sigma in pixels of a Gaussian applied to the frames; 0: none."""

    cubic_sharpness: float | None = Field(None, ge=-1, le=0)
    """Of the bicubic warp: -0.75 as OpenCV on the CPU, -0.5 for Catmull-Rom."""

    border: Literal["zeros", "clamp"] | None = None
    """What a warp sees outside of the frame."""

    camera_motion: Literal["kept", "removed"] = "kept"
    """``removed``: warped flow, what is left of the motion without the camera's."""

    splits: tuple[Split, ...] = tuple(Split)
    """Of the clips that get flow; none, for recipes that use flow in some runs only, make an empty flow set."""

    existing: str = Field("", json_schema_extra={"is_input": True})
    """Folder of flow that another tool has written as ``flow_x_00001.jpg``, a folder a clip: it is taken as it is, with
    ``bound_px`` telling its bound, and nothing is computed; empty: the flow is computed."""

    bound_px: float = Field(20.0, gt=0, le=1000)
    """Flow is clipped to ± this and stored in 8 bit, in steps of ``2 · bound_px / 255``."""

    crf: int = Field(14, ge=0, le=51)
    """x264's constant rate factor of the flow videos; 0 is lossless."""

    gop: int = Field(1, ge=1, le=250)
    """Fields from one key frame to the next."""

    batch_pairs: int = Field(128, ge=1, le=65536)
    """Pairs of frames solved together; too many do not fit into the memory of a GPU."""

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda|cuda:\d+(,cuda:\d+)*)$")
    """``cpu``, ``cuda:1``, or several GPUs as ``cuda:0,cuda:1``; ``auto``: all GPUs, or the CPU if there is none."""

    workers: int = Field(0, ge=0, le=256)
    """Threads that solve on a CPU, or that decode and encode beside GPUs; 0: one a core."""

    media_root: RootFolder = ""
    """Where the flow videos are kept: a folder, such as a shared volume, or ``s3://bucket/prefix``; empty: inside the
    flow set."""

    @field_validator("median")
    @classmethod
    def _is_odd(cls, value: int | None) -> int | None:
        if value is not None and value % 2 == 0:
            raise ValueError("must be odd")
        return value

    def overrides(self) -> dict[str, Any]:
        """The parameters of TV-L1 that were given, by name."""
        return {name: value for name, value in self.model_dump(include=set(_TVL1)).items() if value is not None}


_TVL1 = (
    "tau", "lambda_", "theta", "scales", "scale_step", "warps", "epsilon", "outer_iterations", "inner_iterations",
    "check_every", "median", "gamma", "presmoothing", "cubic_sharpness", "border",
)  # fmt: skip
