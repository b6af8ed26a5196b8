"""A check of the suite, before it is evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kineflow.data.validation.checks import Severity


@dataclass(frozen=True)
class Rule:
    """One check and the expectations that together decide it."""

    name: str
    title: str
    severity: Severity
    detail: str
    expectations: tuple[Any, ...]
