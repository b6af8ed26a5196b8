"""Parameters of the register step."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kineflow.storage.config import Params

Share = Annotated[float, Field(ge=0, le=1)]


class RegisterParams(Params):
    """Under which name a model is registered, and what promoting it will ask for."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """Of the registered model: letters, digits, ``.``, ``_`` and ``-``."""

    primary_metric: str = "top1"
    """Figure of the evaluation in which a candidate must beat the champion; higher is better."""

    min_gain: float = Field(default=0.0, ge=0, le=1)
    """By how much at least; with 0, a tie is enough."""

    floors: dict[str, Share] = Field(default_factory=dict)
    """Lowest value allowed by figure, for the first champion too, e.g. ``{top1: 0.5}``."""

    per_class_floor: float | None = Field(default=None, ge=0, le=1)
    """Lowest share of clips right in any class; null asks for none."""

    tags: dict[str, str] = Field(default_factory=dict)
    """Further facts to keep with the version."""
