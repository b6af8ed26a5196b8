"""``kineflow init VIDEOS``: a project made from videos as they lie there, its parameters chosen for them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kineflow.selection.settings import MOST_FOLDS
from kineflow.storage.errors import KineflowError
from kineflow.survey.clips_csv import write_clips
from kineflow.survey.estimate import CHOOSING, TRAINING
from kineflow.survey.survey import Surveyed, Wanted, survey_videos
from pipelines.chosen_params import (
    CLIPS_FILE,
    FOLDS_RECIPE,
    TRAINING_RECIPE,
    Setting,
    merged_into,
    plain_yaml,
    settings_of,
    text_of,
)
from pipelines.dag.recipes import load_pipeline
from pipelines.project import check_no_project, make_project, recipe_params

PAGE = "data.html"
_MOST_LETTERS = 60


@dataclass(frozen=True)
class SurveyedProject:
    """A project that was made, and what is known of its videos.

    Attributes:
        folder: Of the project.
        recipe: That its parameters are for.
        surveyed: What was seen.
        settings: What was chosen.
    """

    folder: Path
    recipe: str
    surveyed: Surveyed
    settings: tuple[Setting, ...]


def survey_project(folder: Path, wanted: Wanted, recipe: str = "") -> SurveyedProject:
    """Look at videos, and make a project for them; nothing is made where they cannot be used.

    Args:
        folder: Of the project; the source is only read.
        wanted: What was asked.
        recipe: Whose parameters; empty: by the number of clips.

    Raises:
        KineflowError: The folder is a project already or holds the videos, or the videos cannot be used.
    """
    from kineflow.survey.page import write_page

    folder = folder.resolve()
    check_no_project(folder)
    if Path(wanted.place).is_dir() and Path(wanted.place).resolve() == folder:
        raise KineflowError(
            "the project would lie among its videos",
            where=folder,
            remedy="go to an empty folder and name the videos there, or name the project's by --project DIR",
        )
    if recipe:
        load_pipeline(recipe)
    _check_folds(wanted.folds, recipe)
    surveyed = survey_videos(wanted)
    recipe = recipe or (FOLDS_RECIPE if surveyed.folds else TRAINING_RECIPE)
    if recipe not in (FOLDS_RECIPE, TRAINING_RECIPE):
        surveyed = _without_training(surveyed, recipe)
    name = _model_name(surveyed.found.source.root, folder)
    settings = settings_of(surveyed, recipe, name, folder)
    heading = (
        f"Parameters of {recipe}, chosen by `kineflow init` for {len(surveyed.clips)} clips of "
        f"{surveyed.found.source.root}\non {surveyed.machine}; {PAGE} shows the clips.\n"
        f"`kineflow check {recipe}` says if they are valid."
    )
    if recipe in (FOLDS_RECIPE, TRAINING_RECIPE):
        text = text_of(settings, heading)
    else:
        text = merged_into(recipe_params(recipe), settings, heading, name)
    folder.mkdir(parents=True, exist_ok=True)
    write_clips(folder / CLIPS_FILE, surveyed.clips)
    write_page(folder / PAGE, surveyed, rows_of(settings), recipe=recipe)
    make_project(folder, recipe, params=text)
    return SurveyedProject(folder, recipe, surveyed, tuple(settings))


def _without_training(surveyed: Surveyed, recipe: str) -> Surveyed:
    """What is known where a recipe's networks and steps are its demo's, of which no time is known."""
    choices, estimate = surveyed.choices, surveyed.choices.estimate
    parts = tuple(part for part in estimate.parts if part.what not in (*CHOOSING, *TRAINING))
    warning = f"networks and steps are those of {recipe}'s demo, and what they take is not estimated"
    return dataclasses.replace(
        surveyed,
        choices=dataclasses.replace(choices, estimate=dataclasses.replace(estimate, parts=parts)),
        warnings=(*surveyed.warnings, warning),
    )


def rows_of(settings: Sequence[Setting]) -> list[tuple[str, str, str, str]]:
    """For the page: those with a reason, one that two sections share once."""
    rows: dict[tuple[str, str, str], Setting] = {}
    for setting in settings:
        if setting.why:
            rows.setdefault((setting.key, plain_yaml(setting.value), setting.why), setting)
    return [(setting.section, key, value, why) for (key, value, why), setting in rows.items()]


def _check_folds(folds: int | None, recipe: str) -> None:
    """See that a number of folds is one, and that the recipe makes folds."""
    if folds == 1:
        raise KineflowError(
            "1 fold leaves nothing to learn from", where="--folds", remedy="ask for 2 or more, or for 0"
        )
    if folds is not None and folds > MOST_FOLDS:
        raise KineflowError(f"{folds} folds", where="--folds", remedy=f"ask for {MOST_FOLDS} or fewer")
    if folds is not None and recipe and (folds > 0) != (recipe == FOLDS_RECIPE):
        raise KineflowError(
            f"{recipe} {'judges by folds' if recipe == FOLDS_RECIPE else 'trains on one split'}",
            where="--folds",
            remedy=f"leave --folds out; {FOLDS_RECIPE} is the recipe for folds",
        )


def _model_name(root: str, folder: Path) -> str:
    """Of the model: as the folder of the project is called, or that of the videos.

    Letters, digits, ``-`` and ``_``, and one of the first two to begin with, as the registry wants it.
    """
    for called in (folder.name, root.rstrip("/").rpartition("/")[2]):
        if plain := re.sub(r"[^A-Za-z0-9_-]+", "-", called).strip("-_")[:_MOST_LETTERS]:
            return plain
    return "model"
