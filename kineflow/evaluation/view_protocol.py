"""Which views of a video are asked about, and how their scores become one: what figures are of, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError

from kineflow.data.crops import Crops
from kineflow.spec.sampling import WindowLayout

ViewAggregation = Literal["average", "logits", "majority"]

MOST_WINDOWS = 100


@dataclass(frozen=True)
class ViewProtocol:
    """A test protocol.

    Attributes:
        clips_per_video: Windows of a video, 1 to 100; those of ``dense`` are as many as there are.
        windows: Where they lie, see :func:`kineflow.spec.sampling.clips_laid_out`.
        crops: Of each window, see :func:`kineflow.data.crops.fixed_views`.
        view_aggregation: See :func:`kineflow.evaluation.view_aggregation.aggregate_views`.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    clips_per_video: Annotated[int, Field(ge=1, le=MOST_WINDOWS)]
    windows: WindowLayout = "even"
    crops: Crops = 1
    view_aggregation: ViewAggregation = "average"

    @property
    def words(self) -> str:
        """For a report."""
        count = {"dense": "every window", "covering": f"windows that cover it, {self.clips_per_video} at most"}
        windows = count.get(self.windows, f"{self.clips_per_video} windows ({self.windows})")
        scores = {"logits": "average of their scores before the softmax"}
        crops = "whole frames and mirror images" if self.crops == "whole" else f"{self.crops} crop(s) each"
        how = scores.get(self.view_aggregation, f"{self.view_aggregation} of their scores")
        return f"{windows}, {crops}, {how}"

    @property
    def views(self) -> int | None:
        """How many views of a video there are; None where that depends on its length."""
        if self.windows in ("dense", "covering"):
            return None
        return self.clips_per_video * (2 if self.crops == "whole" else self.crops)

    def plain(self) -> dict[str, Any]:
        """The values by name, as JSON takes them."""
        return asdict(self)


def centre_views(windows: int) -> ViewProtocol:
    """Windows from the first frame to the last, the centre of each: what costs least."""
    return ViewProtocol(windows)


ONE_VIEW = centre_views(1)


def read_views(content: Mapping[str, Any]) -> ViewProtocol:
    """What :meth:`ViewProtocol.plain` gave.

    Raises:
        ValueError: It is something else.
    """
    try:
        return TypeAdapter(ViewProtocol).validate_python(dict(content))
    except ValidationError as error:
        fault = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None
