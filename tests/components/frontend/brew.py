"""A step that lives in somebody else's module."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import Field

from components.frontend.command import command
from components.frontend.contract import (
    Between,
    ClassifiedResult,
    DatasetInput,
    FileOutput,
    ModelInput,
    StepResult,
)
from kineflow.storage.config import Params
from kineflow.storage.errors import KineflowError
from kineflow.tracking.tracker import NULL_TRACKER, Tracker


class KettleSettings(Params):
    """The kettle.

    Attributes:
        litres: How much it holds.
    """

    litres: float = Field(default=1.5, gt=0)


class BrewSettings(Params):
    strength: int = Field(default=3, ge=1, le=5)
    """Spoons a cup."""

    label: str = "100%"
    sort: Literal["black", "green"] | None = None
    kettle: KettleSettings = KettleSettings()


def brew(
    *,
    water: DatasetInput,
    milk: DatasetInput | None = None,
    leaves: Annotated[list[ModelInput], Between(1, 3)],
    params: BrewSettings,
    name: str,
    cups: int = 1,
    share: float = 0.5,
    hot: bool = True,
    seed: int = 0,
    tracker: Tracker = NULL_TRACKER,
    tea: FileOutput,
) -> ClassifiedResult:
    """Make tea.

    Args:
        water: Boiling, at 100 % heat;
            of a ``spring``.
        leaves: At most three sorts.
        cups: How many to pour.
        tracker: Told the temperature.

    Raises:
        KineflowError: No water.
    """
    if not water.exists():
        raise KineflowError("no water", where=water, remedy="fetch some")
    sorts = [path.name for path in leaves]
    tea.write_text(json.dumps([params.strength, name, cups, share, hot, milk and milk.name, sorts]))
    return StepResult(metrics={"cups": cups}, summary=f"{cups} cups", confusion=(["a", "b"], [[1, 0], [0, 2]]))


if __name__ == "__main__":
    command(brew)
