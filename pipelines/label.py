"""``kineflow label``: which list a project has, and what has to be done after answers went into it."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kineflow.data.ingest_settings import IngestSettings
from kineflow.data.layouts import open_lists
from kineflow.data.layouts.plain import DEFAULT_NAME
from kineflow.data.source import open_source
from kineflow.labelling.relabel import Relabelled
from kineflow.storage.config import parse_params, read_yaml
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import is_remote
from pipelines.engines.workspace import PARAMS_FILE
from pipelines.project import recipe_of

NEEDS_CSV = (
    "make a project with a list from the videos, kineflow init VIDEOS, which writes clips.csv for every layout; "
    "or write one by hand, with layout: csv and annotations: clips.csv"
)


@dataclass(frozen=True)
class ProjectList:
    """The list of a project's clips.

    Attributes:
        path: Of the file.
        root: Of the source, with which its paths may begin.
        params: The parameter file that names it; None where it was named by itself.
    """

    path: Path
    root: str
    params: Path | None


def find_list(project: Path, *, params: Path | None, named: Path | None) -> ProjectList:
    """The CSV list that a project's parameters name.

    Args:
        project: Its folder.
        params: Parameter file; None: the project's ``params.yaml``.
        named: The list itself, whatever parameters say.

    Raises:
        KineflowError: There is no such file, the layout has no CSV list, or the list lies on S3.
    """
    chosen = params or project / PARAMS_FILE
    if named is not None and not chosen.is_file():
        return ProjectList(named, "", None)
    settings = _ingestion(chosen)
    source = settings.source.rstrip("/") if is_remote(settings.source) else str(project / settings.source)
    if named is not None:
        return ProjectList(named, source, chosen)
    if settings.layout != "csv":
        raise KineflowError(
            f"the layout {settings.layout!r} has no list that labels could be written into",
            where=chosen,
            remedy=NEEDS_CSV,
        )
    if is_remote(settings.annotations or settings.source):
        raise KineflowError(
            f"the list lies at {settings.annotations or settings.source}",
            where=chosen,
            remedy="get it, name it with --list, and put it back; or keep it in the project (ingestion.annotations)",
        )
    return ProjectList(_local_list(project, settings, source), source, chosen)


def _ingestion(params: Path) -> IngestSettings:
    if not params.is_file():
        raise KineflowError("no such file of parameters", where=params, remedy="name one with --params, or --list")
    values: Any = read_yaml(params).get("ingestion") or {}
    return parse_params(IngestSettings, values, where="ingestion")


def _local_list(project: Path, settings: IngestSettings, source: str) -> Path:
    place = str(project / settings.annotations) if settings.annotations else source
    if settings.annotations and Path(place).is_file():
        return Path(place)
    lists = open_lists(open_source(place), "")
    return Path(place) / lists.one(DEFAULT_NAME, remedy="name the list with --list")


def told(listed: ProjectList, done: Relabelled, project: Path, *, dry_run: bool = False) -> list[str]:
    """What a user should know: counts, and the commands that come next."""
    labelled, corrected = done.labelled.total(), done.corrected.total()
    kept = f", {done.kept} as they were" if done.kept else ""
    lines = [
        f"{os.path.relpath(listed.path)}: {labelled} labelled, {corrected} corrected, {done.skipped} skipped{kept}"
        + (" (nothing is written)" if dry_run else "")
    ]
    for name in sorted(done.labelled | done.corrected):
        lines.append(f"  {name}: {done.labelled[name]} labelled, {done.corrected[name]} corrected")
    if dry_run or not (labelled or corrected):
        return lines
    recipe = recipe_of(listed.params) if listed.params else ""
    run = f"kineflow run {recipe or 'RECIPE'}{params_option(listed.params, project)}"
    if tracked := _tracked_by(listed.path.resolve(), project.resolve()):
        return [*lines, f"DVC tracks it; record the change with: dvc add {tracked}", f"then: {run}"]
    return [*lines, f"then: {run}"]


def params_option(params: Path | None, project: Path) -> str:
    """How a command is told of a parameter file, where it is not the project's own."""
    if params is None or params.resolve() == (project / PARAMS_FILE).resolve():
        return ""
    return f" --params {shlex.quote(os.path.relpath(params))}"


def _tracked_by(path: Path, project: Path) -> str:
    """What DVC tracks of the project and has the file in it, as ``dvc add`` wants it; empty where nothing does."""
    if not path.is_relative_to(project):
        return ""
    places = [place for place in (path, *path.parents) if place.is_relative_to(project) and place != project]
    tracked = next((place for place in places if place.with_name(f"{place.name}.dvc").is_file()), None)
    return os.path.relpath(tracked) if tracked else ""
