"""``kineflow init`` and ``kineflow clean``: a project is made, and what its runs left behind is removed."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.frontend.exits import exit_code
from kineflow.storage.errors import KineflowError
from kineflow.storage.names import printable, shown
from kineflow.storage.project import PROJECT, project_around

if TYPE_CHECKING:
    from pipelines.survey_project import SurveyedProject
    from pipelines.update_project import Update

_BUDGET = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)?", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def init(
    context: typer.Context,
    place: Annotated[
        str,
        typer.Argument(
            help="Videos: a folder with some in it, s3://BUCKET/PREFIX, or a CSV, JSON or XML list of them. They are "
            "looked at, and the project is made in the working folder, or in --project. Any other folder: of the "
            "project, which starts from the demo's parameters; made if it is not there.",
            metavar="VIDEOS|FOLDER",
        ),
    ] = "",
    recipe: Annotated[
        str,
        typer.Option(
            help="Whose parameters the project starts from; by default d3d, or for videos whatever suits their number."
        ),
    ] = "",
    paper: Annotated[bool, typer.Option("--paper", help="At the paper's scale, not the demo's.")] = False,
    dataset: Annotated[
        str,
        typer.Option(
            help="With --paper: on which data set; ucf101 by default, or as hmdb51. A project that is there gets "
            "params/RECIPE_NAME.yaml.",
            metavar="NAME",
        ),
    ] = "",
    folds: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="For videos: judge by K folds of groups; 0: by a split into train, val and test. By default 5 where "
            "fewer than 1,000 clips have labels.",
            metavar="K",
        ),
    ] = None,
    budget: Annotated[
        str, typer.Option(help="For videos: time that a run may take, as 90s, 30m, 2h.", metavar="TIME")
    ] = "30m",
    update: Annotated[
        bool,
        typer.Option(
            "--update",
            help="Add the videos that clips.csv of the project does not have to its end; its rows and the parameters "
            "stay. VIDEOS may be left out.",
        ),
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="With --update: remove the rows whose videos are not there any more.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --update: say what would be done.")] = False,
) -> None:
    """Make a project: a parameter file, DVC's folder, .gitignore, a README. Or add a recipe's parameters to one.

    From videos, it also writes clips.csv (class, split and group of each) and data.html (what the videos are, and why
    the parameters are what they are); the videos themselves are only read. With --update, add new videos to a project.
    """

    def work() -> None:
        from kineflow.survey.found import holds_videos

        if dataset and not paper:
            raise KineflowError("--dataset goes with --paper", remedy="give both, or name your videos in its place")

        named = context.parent.params.get("project") if context.parent else None
        project = Path(named or os.environ.get(PROJECT) or ".")
        if update:
            _check_alone({"--recipe": recipe, "--paper": paper, "--folds": folds is not None}, "--update")
            here = project if named or os.environ.get(PROJECT) else project_around(Path.cwd()) or project
            _update(here, place, _seconds_of(budget), prune, dry_run)
            return
        _check_alone({"--prune": prune, "--dry-run": dry_run}, "a new project")
        if place and not _is_project(place) and holds_videos(place):
            if paper:
                raise KineflowError(
                    "--paper is for published data sets", remedy="leave it out: sizes are chosen for videos"
                )
            _from_videos(place, project, recipe, folds, _seconds_of(budget))
        elif place and named:
            raise KineflowError(
                "no videos there", where=place, remedy="name a folder with videos, s3://BUCKET/PREFIX or a list of them"
            )
        else:
            _from_demo(Path(place) if place else project, recipe, paper=paper, dataset=dataset)

    raise typer.Exit(exit_code(work))


def clean(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove the outputs of all runs of the project, after asking; recorded runs, models and media stay."""

    def work() -> None:
        from kineflow.sets.garbage import check_idle
        from kineflow.storage.project import required_project
        from pipelines.project import output_folders, remove_outputs

        project = required_project()
        check_idle(project)
        folders = output_folders(project)
        for path, size in folders.items():
            typer.echo(f"{size / 1e6:10.1f} MB  {path.relative_to(project)}")
        if not folders:
            typer.echo("nothing to remove")
        elif yes or typer.confirm("Remove these folders? DVC's cache, media and registered models stay."):
            remove_outputs(folders)

    raise typer.Exit(exit_code(work))


def _from_demo(folder: Path, recipe: str, *, paper: bool, dataset: str) -> None:
    from pipelines.engines.workspace import PARAMS_FILE
    from pipelines.project import add_recipe, make_project

    of_paper = (dataset or "ucf101") if paper else ""
    if recipe and (folder / PARAMS_FILE).exists():
        typer.echo(f"wrote {add_recipe(folder, recipe, paper=of_paper, by_data_set=bool(dataset))}")
    else:
        made, scale = make_project(folder, recipe or "d3d", paper=of_paper), "paper" if paper else "demo"
        typer.echo(
            f"{made}: a project for {recipe or 'd3d'}, with the parameters of its {scale}: no videos were named; "
            "its README.md says how to go on"
        )


def _from_videos(place: str, project: Path, recipe: str, folds: int | None, budget_sec: float) -> None:
    from kineflow.survey.survey import Wanted
    from pipelines.chosen_params import FOLDS_RECIPE
    from pipelines.survey_project import survey_project

    trains = recipe != FOLDS_RECIPE if recipe else None
    made = survey_project(project, Wanted(place, folds, budget_sec, trains=trains), recipe)
    for line in _told(made):
        typer.echo(line)


def _check_alone(options: dict[str, object], what: str) -> None:
    """See that none of some options is given."""
    if given := [option for option, value in options.items() if value]:
        raise KineflowError(
            f"{given[0]} is not for {what}", remedy=f"leave {given[0]} out, or see kineflow init --help"
        )


def _update(project: Path, place: str, budget_sec: float, prune: bool, dry_run: bool) -> None:
    from pipelines.update_project import update_project

    done = update_project(project, place, budget_sec=budget_sec, prune=prune, dry_run=dry_run)
    for line in _told_of_update(done, dry_run):
        typer.echo(line)


def _told_of_update(done: Update, dry_run: bool) -> list[str]:
    from pipelines.survey_project import PAGE

    would = "would be " if dry_run else ""
    labels = Counter(clip.listed.label or "unlabelled" for clip in done.new)
    of_each = ", ".join(f"{count} {printable(label)}" for label, count in sorted(labels.items()))
    lines = [f"{len(done.new)} clips {would}added to {done.list_file} ({of_each})"] if done.new else []
    if done.missing:
        what = f"{would}removed" if done.pruned else "kept; --prune removes them"
        lines.append(f"{len(done.missing)} videos are not there any more, e.g. {shown(done.missing[0])}: rows {what}")
    lines += [f"  left out: {printable(each)}" for each in done.left_out]
    lines += [f"  note: {printable(note)}" for note in done.notes]
    if done.otherwise:
        lines.append("  params.yaml is as it was; by all clips would be chosen now:")
        lines += [f"    {printable(each)}" for each in done.otherwise]
    if done.changes and not dry_run:
        lines.append(f"look at {done.folder / PAGE}, correct the new rows where you know better, then run again")
    return lines if done.changes else ["nothing new", *lines]


def _told(made: SurveyedProject) -> list[str]:
    """What a user should know at once; the rest is on the page."""
    from kineflow.survey.estimate import in_words
    from pipelines.chosen_params import FOLDS_RECIPE, TRAINING_RECIPE
    from pipelines.survey_project import PAGE

    seen = made.surveyed
    left_out = sum(odd.is_left_out for odd in seen.odd)
    groups = len({clip.listed.group for clip in seen.clips})
    how = f"{seen.folds} folds by group" if seen.folds else "train, val and test by group"
    lines = [
        f"{made.folder}: a project for {made.recipe}, from {seen.found.source.root} (layout {seen.found.layout})",
        f"  {len(seen.clips):,} clips of {len(seen.found.listing.classes)} classes in {groups:,} groups "
        f"({'given' if seen.found.has_groups else 'found: see the page'}); {how}",
    ]
    if seen.odd:
        lines.append(f"  {len(seen.odd)} odd files, {left_out} of them left out")
    lines += [f"  note: {printable(warning)}" for warning in seen.warnings]
    estimate = seen.choices.estimate
    parts = ", ".join(f"{part.what} {in_words(part.seconds)}" for part in estimate.parts)
    what = "a run" if made.recipe in (FOLDS_RECIPE, TRAINING_RECIPE) else "what comes before training"
    by_clock = " by the clock where no other program runs" if seen.machine.is_busy else ""
    lines += [
        f"  on {seen.machine}:",
        f"  {what} takes about {in_words(estimate.seconds)}{by_clock} ({parts}),",
        *([f"  which is {in_words(estimate.cpu_seconds)} of CPU time"] if seen.machine.is_busy else []),
        f"  and {estimate.memory_mb / 1024:.1f} GB of memory",
        f"look at {made.folder / PAGE}, correct clips.csv and params.yaml where you know better, then: "
        f"kineflow run {made.recipe}",
    ]
    return lines


def _is_project(place: str) -> bool:
    from pipelines.engines.workspace import PARAMS_FILE

    return (Path(place) / PARAMS_FILE).exists() or (Path(place) / ".dvc").is_dir()


def _seconds_of(budget: str) -> float:
    match = _BUDGET.fullmatch(budget.strip())
    if not match or not float(match[1]):
        raise KineflowError(f"{budget!r} is no time", where="--budget", remedy="write it as 90s, 30m or 2h")
    return float(match[1]) * _SECONDS[match[2] or "m"]
