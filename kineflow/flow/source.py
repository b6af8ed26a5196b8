"""How the flow that a model has learnt from was made, so that it can be made for any video."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from kineflow.flow.params import TVL1Params
from kineflow.storage.errors import KineflowError

if TYPE_CHECKING:
    from kineflow.flow.store import FlowSet

_FORBID_EXTRA: dict[str, Any] = {"extra": "forbid"}
_LEAST_SIDE = 2  # of a stored clip


@dataclass(frozen=True)
class FlowSource:
    """TV-L1 between successive frames of a clip, in 8 bit.

    Attributes:
        tvl1: Keywords of :class:`kineflow.flow.params.TVL1Params`.
        bound_px: Flow is clipped to ± this.
        camera_motion: ``removed`` for warped flow.
        short_side: Of the frames that flow is computed from, pixels; frames of smaller videos keep their size.

    Raises:
        KineflowError: A value is impossible.
    """

    __pydantic_config__: ClassVar = _FORBID_EXTRA

    tvl1: dict[str, str | int | float] = field(default_factory=dict)
    bound_px: float = 20.0
    camera_motion: Literal["kept", "removed"] = "kept"
    short_side: int = 256

    def __post_init__(self) -> None:
        if not self.bound_px > 0 or self.short_side < _LEAST_SIDE:
            raise KineflowError(
                f"no flow is bounded by {self.bound_px} px, of frames with a short side of {self.short_side} px",
                remedy=f"give a bound above 0 and a short side of at least {_LEAST_SIDE}",
            )
        _ = self.params

    @property
    def params(self) -> TVL1Params:
        """Of the algorithm.

        Raises:
            KineflowError: ``tvl1`` has other keywords, or impossible values.
        """
        keywords: dict[str, Any] = self.tvl1
        try:
            return TVL1Params(**keywords)
        except TypeError as error:
            raise KineflowError(
                f"these are no parameters of TV-L1: {error}", remedy="name fields of TVL1Params only"
            ) from None

    @classmethod
    def of(cls, flow_set: FlowSet, *, short_side: int) -> FlowSource | None:
        """How a flow set was made, from clips whose shorter side was brought down to ``short_side`` px.

        None where nobody can make the like again: another tool has made it, or an earlier version of this one, whose
        flow differed.
        """
        from kineflow.flow.extraction.settings import ExtractSettings

        told = flow_set.params
        if any(told.get(fact) != ExtractSettings().described()[fact] for fact in ("algorithm", "format")):
            return None
        return cls(
            tvl1={parameter.name: told[parameter.name] for parameter in dataclasses.fields(TVL1Params)},
            bound_px=flow_set.bound_px,
            camera_motion=told["camera_motion"],
            short_side=short_side,
        )
