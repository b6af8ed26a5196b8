"""The stages of a recipe that make its clips and flow, without those that learn from them."""

from __future__ import annotations

import dataclasses

from kineflow.storage.errors import KineflowError
from pipelines.dag.graph import Graph, Task

INGEST, EXTRACT_FLOW = "ingest", "extract_flow"


def data_stages(graph: Graph) -> Graph:
    """The part of a recipe that ingests and extracts flow.

    Raises:
        KineflowError: The recipe does not ingest.
    """
    tasks = tuple(dataclasses.replace(task, after=()) for task in graph.tasks if task.step in (INGEST, EXTRACT_FLOW))
    if [task.step for task in tasks].count(INGEST) != 1:
        raise KineflowError("this recipe has no data of its own to make in parts", where=graph.recipe)
    read = {section for task in tasks for section in task.sections.values()}
    return Graph(graph.recipe, tasks, tuple(name for name in graph.parameters if name in read))


def ingesting(graph: Graph) -> Task:
    """Its task that ingests."""
    return next(task for task in graph.tasks if task.step == INGEST)


def flow_sections(graph: Graph) -> tuple[str, ...]:
    """Keys of the parameter file that say which flow is extracted, of each task that does it."""
    return tuple(task.sections["params"] for task in graph.tasks if task.step == EXTRACT_FLOW)
