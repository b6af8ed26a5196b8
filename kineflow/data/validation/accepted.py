"""What is kept of a clip set that was accepted, so that the next one can be held against it.

A small file beside the report, of the set and of the one before it: a set that is validated again is still held against
the one before.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kineflow.data.validation.drift import QUANTITIES
from kineflow.data.validation.settings import ACCEPTED
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from kineflow.storage.safe_json import read_json

_LOG = logging.getLogger(__name__)
_MOST_VALUES = 200  # of a quantity: quantiles where there are more groups
_MOST_BYTES = 2**20


@dataclass(frozen=True)
class Accepted:
    """A clip set in brief.

    Attributes:
        clips: Digest of its clips, see :func:`kineflow.sets.clip_set.clips_digest`.
        quantities: See :func:`kineflow.data.validation.drift.by_group`; at most 200 values each.
    """

    clips: str
    quantities: dict[str, list[float]]

    @classmethod
    def of(cls, clips: str, quantities: Mapping[str, list[float]]) -> Accepted:
        """Of all groups' values."""
        return cls(clips, {name: _thinned(values) for name, values in quantities.items()})


def accepted_file(report: Path) -> Path:
    """Where it lies: an engine removes the outputs of a step before it runs again, but not this.

    On a cluster every run has outputs of its own, so the file lies in a folder that they share.
    """
    if shared := os.environ.get(ACCEPTED):
        return Path(shared) / "accepted.json"
    return report.with_name(f"{report.stem}.accepted.json")


def read_accepted(path: Path) -> list[Accepted]:
    """The set that was accepted last and the one before it, as far as there are any; none of a damaged file."""
    if not path.is_file():
        return []
    try:
        return [_checked(each) for each in read_json(path, max_bytes=_MOST_BYTES)["sets"]][:2]
    except (KineflowError, ValueError, TypeError, KeyError, OSError) as error:
        _LOG.warning("  ! what was kept of the last clip set cannot be read and is left out: %s", error)
        return []


def write_accepted(path: Path, sets: list[Accepted]) -> None:
    """Keep a set and the one before it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial:
        partial.write_text(json.dumps({"sets": [asdict(each) for each in sets]}), encoding="utf-8")


def _thinned(values: list[float]) -> list[float]:
    if len(values) <= _MOST_VALUES:
        return values
    kept: list[float] = np.quantile(values, (np.arange(_MOST_VALUES) + 0.5) / _MOST_VALUES).tolist()
    return kept


def _checked(values: Any) -> Accepted:
    quantities = {name: [float(value) for value in values["quantities"][name]] for name in QUANTITIES}
    if any(len(each) > _MOST_VALUES or not np.isfinite(each).all() for each in quantities.values()):
        raise ValueError("values that are no numbers, or too many")
    return Accepted(str(values["clips"]), quantities)
