"""Plots that DVC and the editors that speak with it draw of a run: curves of training, and confusion.

A curves file has many figures, told apart by a column, which DVC's own templates do not know: hence two of ours, as
Vega-Lite in the project's ``.dvc/plots``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from kineflow.evaluation.results import CONFUSION_FILE
from kineflow.spec.output_files import CURVES_FILE
from kineflow.storage.files import atomic_file
from pipelines.dag.graph import CLASSIFICATION, METRICS, MODEL, Graph, Task
from pipelines.engines.workspace import Workspace

TEMPLATES = "plots"
_CURVES, _CONFUSION = "kineflow_curves", "kineflow_confusion"


def plots_of(graph: Graph, workspace: Workspace) -> list[dict[str, Any]]:
    """The section ``plots`` of a recipe's ``dvc.yaml``; paths are relative to that file."""

    def files(tasks: list[Task], output: str, name: str, column: str) -> dict[str, str]:
        folders = (workspace.outputs / task.name / output for task in tasks)
        return {os.path.relpath(folder / name, workspace.folder): column for folder in folders}

    judged = [t for t in graph.tasks if "evaluation" in t.outputs and CLASSIFICATION in t.outputs.values()]
    measured = [t for t in graph.tasks if METRICS in t.outputs.values() and t not in judged]
    trained = [t for t in measured if t.outputs.get("model") == MODEL]
    plots = []
    if trained:
        curves = files(trained, "model", CURVES_FILE, "value")
        plots.append({"curves": {"template": _CURVES, "x": "step", "y": curves}})
    if judged:
        confusion = files(judged, "evaluation", CONFUSION_FILE, "true")
        plots.append({"confusion": {"template": _CONFUSION, "x": "predicted", "y": confusion}})
    return plots


def write_templates(project: Path) -> None:
    """Write both templates where they are not there as they should be."""
    folder = project / ".dvc" / TEMPLATES
    for name, layout in ((_CURVES, _curves()), (_CONFUSION, _confusion())):
        path, text = folder / f"{name}.json", json.dumps(layout, indent=1) + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as partial:
                partial.write_text(text, encoding="utf-8")


def _curves() -> dict[str, Any]:
    """A small plot for each figure; a line for each file, and a dash for each revision."""
    return _template(
        facet={"field": "name", "type": "nominal", "title": None},
        columns=3,
        spec={
            "width": 220,
            "height": 140,
            "mark": "line",
            "encoding": {
                "x": {"field": "<DVC_METRIC_X>", "type": "quantitative"},
                "y": {"field": "<DVC_METRIC_Y>", "type": "quantitative", "scale": {"zero": False}, "title": None},
                "color": {"field": "filename", "type": "nominal"},
                "strokeDash": {"field": "rev", "type": "nominal"},
            },
        },
        resolve={"scale": {"y": "independent"}},
    )


def _confusion() -> dict[str, Any]:
    """A matrix for each model and revision, with counts of clips."""
    text = {"field": "clips", "type": "quantitative"}
    return _template(
        facet={"row": {"field": "model", "type": "nominal"}, "column": {"field": "rev", "type": "nominal"}},
        spec={
            "layer": [
                {"mark": "rect", "encoding": {"color": {"field": "clips", "type": "quantitative"}}},
                {"mark": "text", "encoding": {"text": text}},
            ],
            "encoding": {
                "x": {"field": "<DVC_METRIC_X>", "type": "nominal"},
                "y": {"field": "<DVC_METRIC_Y>", "type": "nominal"},
            },
        },
    )


def _template(**layout: Any) -> dict[str, Any]:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": "<DVC_METRIC_DATA>"},
        "title": "<DVC_METRIC_TITLE>",
        **layout,
    }
