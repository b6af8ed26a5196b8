"""``kineflow init --update``: videos that a project does not list yet are put after the rows of its ``clips.csv``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from kineflow.data.ingest_settings import IngestSettings
from kineflow.data.layouts import Listing, list_clips, open_lists
from kineflow.data.source import Source, open_source
from kineflow.selection.settings import SelectSettings
from kineflow.storage.config import parse_params, read_yaml
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from kineflow.storage.media import is_remote
from kineflow.survey.additions import Additions, find_additions, part_additions
from kineflow.survey.clips_csv import with_rows, without_rows
from kineflow.survey.survey import Surveyed, Wanted, survey_clips
from kineflow.survey.survey_set import SeenClip
from pipelines.chosen_params import FOLDS_RECIPE, Setting, plain_yaml, settings_of
from pipelines.engines.workspace import PARAMS_FILE
from pipelines.project import recipe_of
from pipelines.survey_project import PAGE, rows_of

_OF_THE_PROJECT = frozenset({("", "seed"), ("ingestion", "annotations"), ("selection", "folds")})


@dataclass(frozen=True)
class Update:
    """What an update does to a project.

    Attributes:
        folder: Of the project.
        list_file: Its list of clips.
        new: Clips that are added.
        missing: Paths of rows whose video is not there any more.
        pruned: Whether these rows are removed.
        left_out: New files that cannot be used, and why.
        notes: For people.
        otherwise: Parameters that would be chosen otherwise now, a line each.
    """

    folder: Path
    list_file: Path
    new: tuple[SeenClip, ...] = ()
    missing: tuple[str, ...] = ()
    pruned: bool = False
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    otherwise: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether the list is another one then."""
        return bool(self.new or (self.pruned and self.missing))


@dataclass(frozen=True)
class _Project:
    """A project that `kineflow init VIDEOS` has made, as it is now."""

    folder: Path
    values: Mapping[str, Any]
    settings: IngestSettings
    source: Source
    list_file: Path
    text: bytes
    listing: Listing

    @classmethod
    def at(cls, folder: Path) -> _Project:
        folder = folder.resolve()
        if not (folder / PARAMS_FILE).is_file():
            raise KineflowError(
                "no project", where=folder, remedy="go to that of the videos, or name it by --project DIR"
            )
        values = read_yaml(folder / PARAMS_FILE)
        settings = parse_params(IngestSettings, values.get("ingestion") or {}, where="ingestion")
        list_file = folder / settings.annotations
        if settings.layout != "csv" or is_remote(settings.annotations) or not list_file.is_file():
            raise KineflowError(
                "its clips are not listed in a CSV file of its own",
                where=folder / PARAMS_FILE,
                remedy="`kineflow init VIDEOS`, in another folder, makes such a project",
            )
        root = settings.source if is_remote(settings.source) else str((folder / settings.source).resolve())
        linked = [str((folder / each.path).resolve()) for each in settings.linked_folders]
        source = open_source(root, endpoint_url=settings.endpoint_url, linked=linked)
        if list_file.is_symlink():
            raise KineflowError(
                "the list is a link, and would be replaced by a file",
                where=list_file,
                remedy="where DVC has made the link: dvc unprotect",
            )
        text = list_file.read_bytes()
        listing = list_clips("csv", open_lists(source, str(list_file)), source.names(), root=root)
        return cls(folder, values, settings, source, list_file, text, listing)

    @cached_property
    def recipe(self) -> str:
        """Whose parameters it has; empty where that cannot be told."""
        return recipe_of(self.folder / PARAMS_FILE)

    @property
    def folds(self) -> int:
        if self.recipe != FOLDS_RECIPE:
            return 0
        return parse_params(SelectSettings, self.values["selection"] or {}, where="selection").folds


def update_project(
    folder: Path, place: str, *, budget_sec: float, prune: bool = False, dry_run: bool = False
) -> Update:
    """Add the new videos of a place to a project; its rows and parameters stay as they are.

    Args:
        folder: Of the project.
        place: Of the videos, or a list of them; empty: the source of the project.
        budget_sec: That a run may take, for what is said of parameters.
        prune: Remove the rows whose videos are not there any more.
        dry_run: Only say what would be done.

    Raises:
        KineflowError: The folder is no project of videos, its list is malformed or was changed meanwhile, no video of
            it is there any more, or the new ones lie elsewhere.
    """
    from kineflow.survey.page import render

    project = _Project.at(folder)
    additions = find_additions(project.listing.clips, project.source, place or project.source.root)
    missing = tuple(dict.fromkeys(clip.source for clip in additions.missing))
    pruned = prune and bool(missing)
    nothing = Update(project.folder, project.list_file, (), missing, pruned, notes=additions.found.notes)
    if not additions.new and not pruned:
        return nothing

    surveyed = _surveyed(project, additions, budget_sec)
    new = tuple(clip for clip in surveyed.clips if clip.number >= additions.old)
    known = {clip.source for clip in project.listing.clips}
    settings = settings_of(surveyed, project.recipe, "", project.folder)
    update = Update(
        project.folder,
        project.list_file,
        new,
        missing,
        pruned,
        tuple(f"{odd.name}: {odd.reason}" for odd in surveyed.odd if odd.is_left_out and odd.name not in known),
        surveyed.warnings,
        tuple(_otherwise(settings, project.values)),
    )
    if update.changes and not dry_run:
        as_they_are = [_as_it_is(setting, project.values) for setting in settings]
        page = render(surveyed, rows_of(as_they_are), recipe=project.recipe or PARAMS_FILE)
        _write(project, _new_text(project, new, additions if pruned else None), page)
    return update


def _surveyed(project: _Project, additions: Additions, budget_sec: float) -> Surveyed:
    folds = project.folds
    seed = project.values.get("seed")
    wanted = Wanted(project.source.root, folds, budget_sec, seed=seed if isinstance(seed, int) else 1)
    part = partial(part_additions, additions=additions, folds=folds)
    return survey_clips(additions.found, wanted, trains=not folds, part=part)


def _new_text(project: _Project, new: tuple[SeenClip, ...], pruned: Additions | None) -> str:
    where = str(project.list_file)
    try:
        text = project.text.decode("utf-8")
    except UnicodeDecodeError:  # the byte order mark alone may be of another encoding
        raise KineflowError("not UTF-8 text", where=where, remedy="save the file as UTF-8") from None
    if pruned:
        starts = {clip: int(clip.listed_at.rpartition(":")[2]) for clip in project.listing.clips}
        text = without_rows(text, sorted(starts.values()), {starts[clip] for clip in pruned.missing})
    return with_rows(text, new, where=where)


def _write(project: _Project, text: str, page: str) -> None:
    """List and page, both or none, and nothing over what somebody has written meanwhile."""
    with atomic_file(project.list_file) as clips, atomic_file(project.folder / PAGE) as shown:
        clips.write_bytes(text.encode("utf-8"))
        shown.write_text(page, encoding="utf-8")
        if project.list_file.read_bytes() != project.text:
            raise KineflowError("changed while the videos were looked at", where=project.list_file, remedy="try again")


def _otherwise(settings: list[Setting], values: Mapping[str, Any]) -> Iterator[str]:
    """Parameters of the project that would be chosen otherwise now, and why; one that sections share once."""
    told = set()
    for setting in settings:
        there = _value_of(setting, values)
        if setting.why and there is not None and (setting.section, setting.key) not in _OF_THE_PROJECT:
            line = f"{plain_yaml(setting.value)} in place of {plain_yaml(there)} ({setting.why})"
            if plain_yaml(there) != plain_yaml(setting.value) and (setting.key, line) not in told:
                told.add((setting.key, line))
                yield f"{setting.section}.{setting.key}: {line}"


def _as_it_is(setting: Setting, values: Mapping[str, Any]) -> Setting:
    """A setting as the project has it."""
    there = _value_of(setting, values)
    if there is None or not setting.why or plain_yaml(there) == plain_yaml(setting.value):
        return setting
    why = f"would be {plain_yaml(setting.value)} by these clips: {setting.why}"
    return Setting(setting.section, setting.key, there, why)


def _value_of(setting: Setting, values: Mapping[str, Any]) -> Any:
    section = values.get(setting.section) if setting.section else values
    return section.get(setting.key) if isinstance(section, Mapping) else None
