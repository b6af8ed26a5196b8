"""``kineflow suggest``: what a run left behind becomes a folder for whoever labels."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kineflow.storage.errors import KineflowError
from pipelines.dag.graph import Graph, Produced, Task
from pipelines.engines.dvc_stages import output_path
from pipelines.engines.workspace import Workspace
from pipelines.label import NEEDS_CSV

if TYPE_CHECKING:
    from kineflow.labelling.asking import Asked
    from kineflow.labelling.looking import AskSettings, RunFiles
    from kineflow.sets.clip_set import Clip, ClipSet

_WORK = "suggest"


@dataclass(frozen=True)
class Suggested:
    """What was written.

    Attributes:
        folder: For whoever labels; None where there is nothing to ask.
        asked: The questions, and how many clips they were chosen from.
        unlisted: Videos of the source that the list does not have.
    """

    folder: Path | None
    asked: Asked
    unlisted: int


def suggest(recipe: str, params: Path, project: Path, *, clips: int, pool: int, folder: Path) -> Suggested:
    """Write the questions that a run of a recipe leads to.

    Args:
        recipe: Its name.
        params: Parameter file of the run.
        project: Folder that relative paths are below; the working folder.
        clips: How many unlabelled clips are suggested, and how many labels are doubted, at most.
        pool: Unlabelled clips that are looked at, at most.
        folder: To write.

    Raises:
        KineflowError: The recipe has not been run with these parameters, or trains no classifier; or the folder holds
            what would be lost.
    """
    from kineflow.data.layouts.videos import VIDEO_SUFFIXES
    from kineflow.data.listing import list_source
    from kineflow.labelling.asking import ask
    from kineflow.labelling.page import check_replaceable, write_labelling
    from kineflow.sets.clip_set import ClipSet
    from pipelines.dag.params import graph_for, load_params

    check_replaceable(folder)  # before minutes of work
    graph = graph_for(recipe, params)
    workspace = Workspace.of(recipe, params, project)
    values = load_params(graph, params)
    run = run_files(graph, workspace)
    ingestion = _ingestion(graph, values)
    if ingestion.layout != "csv":
        raise KineflowError(
            f"the layout {ingestion.layout!r} has no list that labels could be written into",
            where=params,
            remedy=NEEDS_CSV,
        )
    listed = list_source(ingestion)
    names = {clip.source for clip in listed.listing.clips}
    unlisted = sum(name.lower().endswith(VIDEO_SUFFIXES) and name not in names for name in listed.source.names())
    with tempfile.TemporaryDirectory() as temporary:
        clip_set = ClipSet.load(run.clips)
        asked = ask(
            run,
            listed.listing.clips,
            _settings(graph, values, clips=clips, pool=pool),
            work=workspace.outputs / _WORK,
            local_clip=lambda clip: _local_clip(clip_set, clip, Path(temporary)),
        )
        questions = asked.questions
        if not (questions.suggested or questions.suspected):
            return Suggested(None, asked, unlisted)
        write_labelling(folder, questions, list_name=_list_name(ingestion.annotations, ingestion.source))
    return Suggested(folder, asked, unlisted)


def run_files(graph: Graph, workspace: Workspace) -> RunFiles:
    """Where a run has put what clips are ranked by: the model that it registers, and what that came from.

    Raises:
        KineflowError: It registers no model, or has not been run.
    """
    from kineflow.evaluation.results import SCORES_FOLDER
    from kineflow.labelling.looking import RunFiles

    tasks = {task.name: task for task in graph.tasks}
    register = next((task for task in graph.tasks if task.step == "register"), None)
    if register is None:
        raise KineflowError(f"the recipe {graph.recipe} registers no model", remedy="name one that does, as few_clips")
    made, evaluation = register.paths("model")[0], register.paths("evaluation")[0]
    judged = tasks[evaluation.task]

    def path(produced: Produced) -> Path:
        return output_path(workspace, tasks[produced.task], produced.output)

    def read_by(task: Task, name: str) -> Path | None:
        return path(task.paths(name)[0]) if name in task.inputs else None

    clips, model, scores = path(judged.paths("clips")[0]), path(made), path(evaluation)
    if not (clips.is_dir() and model.is_dir() and scores.is_dir()):
        raise KineflowError(
            f"{graph.recipe} has not been run with these parameters",
            where=workspace.params_file,
            remedy=f"run it first: kineflow run {graph.recipe}",
        )
    trained = _trained(tasks[made.task], tasks)
    described = _described(trained, model)
    taught = () if described else (read_by(task, "teachers") for task in trained)
    return RunFiles(
        clips=clips,
        flow=read_by(judged, "flow"),
        model=model,
        scores={file.stem: file for file in sorted((scores / SCORES_FOLDER).glob("*.parquet"))},
        teacher=next(filter(None, taught), None),
        descriptor=read_by(described, "descriptor") if described else None,
    )


def _trained(task: Task, tasks: Mapping[str, Task]) -> list[Task]:
    """The tasks that a model can be of: where one is chosen among several, theirs."""
    return [tasks[each.task] for each in task.paths("models")] if "models" in task.inputs else [task]


def _described(trained: Sequence[Task], model: Path) -> Task | None:
    """The task that the model is of, where that learns from descriptions."""
    from kineflow.models.card import load_card

    task = next((task for task in trained if "descriptor" in task.inputs), None)
    is_its = task and (len(trained) == 1 or load_card(model).name == task.constants["name"])
    return task if is_its else None


def told(done: Suggested, recipe: str, option: str = "") -> list[str]:
    """What a user should know: what is asked, of how many clips, and what comes next.

    Args:
        done: What was written.
        recipe: Its name.
        option: By which the next commands are told of the parameter file.
    """
    asked, questions = done.asked, done.asked.questions
    looked = f", of {asked.seen:,} that were looked at" if asked.seen < asked.unlabelled else ""
    lines = [
        f"{len(questions.suggested)} of {asked.unlabelled:,} clips without a label are suggested{looked}",
        f"{len(questions.suspected)} labels look wrong, of {asked.judged:,} that {questions.model} was judged on",
    ]
    if left := asked.labelled - asked.judged:
        lines.append(f"  the other {left:,} labelled clips were not judged: learnt from, or relabelled since")
    if done.unlisted:
        lines.append(
            f"note: {done.unlisted:,} videos of the source are not in the list; listed without a label, they count"
        )
    if done.folder is None:
        return [*lines, "there is nothing to ask: give the list clips without a label (split unlabelled)"]
    place = os.path.relpath(done.folder)
    return [
        *lines,
        f"open {place}/index.html in a browser and answer, or fill in the column label of {place}/clips.csv",
        f"then: kineflow label answers.csv{option}, and kineflow run {recipe}{option}",
    ]


def _section(graph: Graph, values: Mapping[str, Any], step: str) -> Mapping[str, Any]:
    """Parameters of the first task of a step; empty where there is none."""
    task = next((task for task in graph.tasks if task.step == step and "params" in task.sections), None)
    return values[task.sections["params"]] if task else {}


def _settings(graph: Graph, values: Mapping[str, Any], *, clips: int, pool: int) -> AskSettings:
    from kineflow.flow.settings import FlowSettings
    from kineflow.labelling.looking import AskSettings
    from kineflow.selection.settings import DescribeSettings

    return AskSettings(
        clips=clips,
        pool=pool,
        flow=FlowSettings.model_validate(_section(graph, values, "extract_flow")),
        description=DescribeSettings.model_validate(_section(graph, values, "describe")),
    )


def _ingestion(graph: Graph, values: Mapping[str, Any]) -> Any:
    from kineflow.data.ingest_settings import IngestSettings

    return IngestSettings.model_validate(_section(graph, values, "ingest"))


def _list_name(annotations: str, source: str) -> str:
    return (annotations or source).rstrip("/").rpartition("/")[2]


def _local_clip(clip_set: ClipSet, clip: Clip, folder: Path) -> Path:
    """The file of a stored clip; a copy of it in a folder where the set lies on S3."""
    media = clip_set.locate(clip)
    if isinstance(media, Path):
        return media
    target = folder / Path(clip.path).name
    with media.open("rb") as stream, target.open("wb") as file:
        shutil.copyfileobj(stream, file)
    return target
