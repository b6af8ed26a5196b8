"""Kineflow's steps as KFP components: ``from components.frontend.kfp_components import evaluate, ingest, train``.

Each is made when it is asked for (:func:`components.frontend.kfp.component_of`); importing this module makes none.
"""

from __future__ import annotations

from typing import Any

from components.frontend.contract import load_step, step_names
from components.frontend.kfp import component_of


def __getattr__(name: str) -> Any:
    if name not in step_names():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: there is no step of that name")
    return component_of(load_step(f"components.{name}"))


def __dir__() -> list[str]:
    return step_names()
