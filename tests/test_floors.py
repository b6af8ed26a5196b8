"""Imports point down: from pipelines to components to kineflow, and from one room of a floor to those below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Rooms from the ground up; a room may use those before it, and no other.
FLOORS = (
    "kineflow.storage", "kineflow.spec", "kineflow.video", "kineflow.models", "kineflow.sets", "kineflow.flow",
    "kineflow.data", "kineflow.synth", "kineflow.tracking", "kineflow.training", "kineflow.evaluation",
    "kineflow.selection", "kineflow.survey", "kineflow.labelling", "kineflow.serving", "kineflow.exporting",
    "kineflow.registry",
    "kineflow.comparison",
    "components.dvc", "components.kubernetes", "components.launch", "components.frontend", "components",
    "pipelines.recipes", "pipelines.dag", "pipelines.cluster", "pipelines.engines", "pipelines.submission", "pipelines",
)  # fmt: skip
# The front end starts processes, and those are started as its commands; a recipe fans its flow out.
ALLOWED = {("pipelines.recipes", "pipelines.dag")}


def room_of(module: str) -> str:
    """The room of a module, e.g. ``kineflow.flow`` of ``kineflow.flow.solvers.fused``; empty where it is in none."""
    parts = module.split(".")
    return next((room for room in (".".join(parts[:2]), parts[0]) if room in FLOORS), "")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("package", ["kineflow", "components", "pipelines"])
def test_no_import_points_up(package: str) -> None:
    up = []
    for path in sorted((ROOT / package).rglob("*.py")):
        module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        here = room_of(module)
        for name in imported(path):
            there = room_of(name)
            if here and there and FLOORS.index(there) > FLOORS.index(here) and (here, there) not in ALLOWED:
                up.append(f"{module} -> {name}")
    assert up == []


def test_every_room_stands_on_a_floor() -> None:
    """But for the ground's own files: a new folder has to say where it stands."""
    for package in ("kineflow", "components", "pipelines"):
        rooms = {f"{package}.{folder.parent.name}" for folder in (ROOT / package).glob("*/__init__.py")}
        assert rooms <= set(FLOORS), package
