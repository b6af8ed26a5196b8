"""A run that is looked at before it starts: its graph, its parameters, and where it will be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kineflow.storage.config import Params
from pipelines.dag.graph import Graph, Task

if TYPE_CHECKING:
    from kineflow.data.ingest_settings import IngestSettings
    from kineflow.data.layouts.rows import ListedClip
    from kineflow.data.source import Source

Where = Literal["here", "later", "cluster"]


@dataclass(frozen=True)
class Listed:
    """The clips of a local source that are there, by its lists alone, and whether a clip may have several classes."""

    settings: IngestSettings
    source: Source
    clips: Sequence[ListedClip]
    multi_label: bool = False


@dataclass
class Plan:
    """What is looked at.

    Attributes:
        graph: The recipe's DAG for these parameters.
        values: Of the parameter file, checked, with every default.
        schema: Class of each section.
        params_file: The file.
        project: Folder that relative paths are below.
        where: The run will be: ``here`` and now; ``later``, so that what DVC can fetch need not be here yet; or on a
            ``cluster``, whose volume is not to be seen from here.
        notices: What may be meant so, in words; looks add to them.
        listed: The local source and its clips that are there, once they were looked at.
    """

    graph: Graph
    values: Mapping[str, Any]
    schema: Mapping[str, type]
    params_file: Path
    project: Path
    where: Where
    notices: list[str] = field(default_factory=list)
    listed: Listed | None = None

    def sections(self, of_kind: type = Params) -> Iterator[tuple[Task, str, type[Params]]]:
        """The sections of a kind that tasks read, with the key and class of each."""
        for task in self.graph.tasks:
            for key in task.sections.values():
                kind = self.schema[key]
                if issubclass(kind, Params) and issubclass(kind, of_kind):
                    yield task, key, kind

    def teachers_of(self, task: Task) -> dict[str, Task]:
        """The tasks that make a student's teachers, by the names that these have; none of another task."""
        tasks = {each.name: each for each in self.graph.tasks}
        made_by = [tasks[made.task] for made in task.paths("teachers")] if "teachers" in task.inputs else []
        return {each.constants.get("name") or self.values[each.sections["params"]]["name"]: each for each in made_by}

    def asks(self, task: Task, teacher: str) -> bool:
        """Whether a term of a student's distillation is about its teacher of this name."""
        terms = self.values[task.sections["distillation"]]["terms"]
        return not terms or any(term["teacher"] in ("", teacher) for term in terms)

    def unlabelled_of(self, task: Task) -> tuple[str, int]:
        """How many unlabelled clips a step of a training takes, and the section that says so; none: empty, and 0."""
        if task.step == "distill" and not task.constants.get("use_unlabelled"):
            return "", 0
        for key in task.sections.values():
            values = self.values[key]
            if isinstance(values, Mapping) and "unlabelled_batch_size" in values:
                return key, values["unlabelled_batch_size"]
        return "", 0

    def note(self, words: str) -> None:
        """Add to the notices, once."""
        if words not in self.notices:
            self.notices.append(words)
