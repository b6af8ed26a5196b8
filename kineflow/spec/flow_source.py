"""How the flow that a model has learnt from was made, so that it can be made for any video."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from kineflow.spec.formats import FLOW_FORMAT
from kineflow.spec.quantise import DEFAULT_BOUND_PX
from kineflow.spec.tvl1 import TVL1Params
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError

CameraMotion = Literal["kept", "removed"]

ALGORITHM = "tvl1"

_FORBID_EXTRA: dict[str, Any] = {"extra": "forbid"}
_LEAST_SIDE = 2  # of a stored clip
_LARGEST_SIDE, _LARGEST_BOUND_PX = 4096, 10_000
_MOST_ITERATIONS = 100_000  # OpenCV's defaults give 7,500


@dataclass(frozen=True)
class FlowSource:
    """TV-L1 between successive frames of a clip, in 8 bit.

    Attributes:
        tvl1: Keywords of :class:`kineflow.spec.tvl1.TVL1Params`.
        bound_px: Flow is clipped to ± this.
        camera_motion: ``removed`` for warped flow.
        short_side: Of the frames that flow is computed from, pixels; frames of smaller videos keep their size.

    Raises:
        KineflowError: A value is impossible.
    """

    __pydantic_config__: ClassVar = _FORBID_EXTRA

    tvl1: dict[str, str | int | float] = field(default_factory=dict)
    bound_px: float = DEFAULT_BOUND_PX
    camera_motion: CameraMotion = "kept"
    short_side: int = 256

    def __post_init__(self) -> None:
        if not 0 < self.bound_px <= _LARGEST_BOUND_PX or not _LEAST_SIDE <= self.short_side <= _LARGEST_SIDE:
            raise KineflowError(
                f"no flow is bounded by {self.bound_px} px, of frames with a short side of {self.short_side} px",
                remedy=f"give a bound above 0, up to {_LARGEST_BOUND_PX}, and a short side from {_LEAST_SIDE} to "
                f"{_LARGEST_SIDE}",
            )
        if (iterations := _iterations(self.params)) > _MOST_ITERATIONS:
            raise KineflowError(
                f"TV-L1 of {iterations} iterations a pair of frames",
                remedy=f"lower scales, warps or iterations: at most {_MOST_ITERATIONS} are computed for a single video",
            )

    @property
    def params(self) -> TVL1Params:
        """Of the algorithm.

        Raises:
            KineflowError: ``tvl1`` has other keywords, or impossible values.
        """
        return parse_params(TVL1Params, self.tvl1, where="TV-L1")

    @classmethod
    def of(cls, described: Mapping[str, Any], *, bound_px: float, short_side: int) -> FlowSource | None:
        """How a flow set was made, from clips whose shorter side was brought down to ``short_side`` px.

        None where nobody can make the like again: another tool has made it, or an earlier version of this one, whose
        flow differed; or it takes more iterations than are computed for a single video.

        Args:
            described: The ``params`` of the flow set.
            bound_px: Of the flow set.
            short_side: Of its clips, pixels.
        """
        if (described.get("algorithm"), described.get("format")) != (ALGORITHM, FLOW_FORMAT):
            return None
        tvl1 = {name: described[name] for name in TVL1Params.model_fields}
        if _iterations(parse_params(TVL1Params, tvl1, where="TV-L1")) > _MOST_ITERATIONS:
            return None
        return cls(
            tvl1=tvl1,
            bound_px=bound_px,
            camera_motion=described["camera_motion"],
            short_side=short_side,
        )


def _iterations(params: TVL1Params) -> int:
    """Most iterations for a pair of frames."""
    return params.scales * params.warps * params.outer_iterations * params.inner_iterations
