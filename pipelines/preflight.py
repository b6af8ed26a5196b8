"""What can be known before a recipe runs: every fault at once, in the first second and not after hours.

`kineflow check` says it, `kineflow run` and `kineflow submit` begin with it. Nothing is decoded; S3 is asked whether
anything is there.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from components.frontend.inputs import local_inputs
from kineflow.storage.errors import KineflowError, raise_together
from pipelines.check_boxes import look_at_boxes
from pipelines.check_classes import look_at_classes
from pipelines.check_cluster import look_at_cluster
from pipelines.check_library import look_at_library
from pipelines.check_starts import look_at_networks, look_at_starts
from pipelines.check_trainings import look_at_layers, look_at_peers, look_at_sizes, look_at_trainings
from pipelines.check_weights import look_at_weights
from pipelines.cluster.data import DATA_FOLDER
from pipelines.dag.params import graph_for, load_cluster, load_params, schema_of
from pipelines.dag.recipes import tasks_left_out
from pipelines.plan import Listed, Plan, Where

if TYPE_CHECKING:
    from kineflow.data.layouts.rows import ListedClip

_DEMO_DATA = "data"
_SHOWN = 3
_WITHOUT_VAL = (
    "set ingestion.val_share above 0; or train on all clips with keep: last (or average), name evaluation.student, "
    "leave evaluation.choose_among empty, and give fusions numbers as weights"
)
_UNSPEAKABLE = re.compile(r"[\x00-\x1f\x7f]|\$\{")  # DVC cuts commands into lines, and fills in ${…}


@dataclass(frozen=True)
class Checked:
    """A parameter file that a recipe can run with.

    Attributes:
        values: Its contents, every default filled in.
        notices: What may be meant so, in words.
        needs: What the run will take of this machine, in words; only where that was asked for.
    """

    values: dict[str, Any]
    notices: tuple[str, ...]
    needs: tuple[str, ...] = ()


def check_run(
    recipe: str, params_file: Path, project: Path, *, where: Where = "here", estimate: bool = False
) -> Checked:
    """Check all that can be known of a run before it starts.

    Args:
        recipe: Its name.
        params_file: Its parameters.
        project: Folder that relative paths are below.
        where: See :class:`pipelines.plan.Plan`.
        estimate: Estimate disk, memory and time too, in seconds; what is not there of them is a fault.

    Raises:
        KineflowError: Parameters are invalid; or anything else stands in the way, all of it in one message.
    """
    graph = graph_for(recipe, params_file)
    plan = Plan(graph, load_params(graph, params_file), schema_of(graph), params_file, project, where)
    for name, reason in tasks_left_out(recipe, plan.values).items():
        plan.note(f"{name} is left out: {reason}")
    looks: list[Callable[[Plan], Iterable[KineflowError]]] = [
        _look_at_names,
        _look_at_inputs,
        _look_at_stores,
        look_at_weights,
        look_at_library,
        _look_at_teachers,
        look_at_trainings,
        look_at_peers,
        look_at_starts,
        look_at_networks,
        look_at_layers,
        _look_at_sets,
        look_at_sizes,
        _look_at_clips,
        look_at_boxes,
        _look_at_gate,
    ]
    looks.append(look_at_cluster if where == "cluster" else _look_at_records)
    faults: list[KineflowError] = []
    for look in looks:
        try:
            faults += look(plan)
        except KineflowError as error:
            faults.append(error)
    needs: tuple[str, ...] = ()
    if estimate and not faults:
        from pipelines.needs import estimate_needs

        needs, faults = estimate_needs(plan)
    raise_together(faults, where=params_file, remedy="mend them; nothing has run")
    return Checked(dict(plan.values), tuple(plan.notices), needs)


def _look_at_names(plan: Plan) -> Iterator[KineflowError]:
    """Names that DVC cannot be told."""
    named = [str(plan.params_file)]
    named += [path for _, key, kind in plan.sections() for path in local_inputs(kind, plan.values[key])]
    for name in dict.fromkeys(named):
        if _UNSPEAKABLE.search(name):
            yield KineflowError(
                "DVC cannot be told this name, with a control character or ${ in it",
                where=repr(name),
                remedy="rename it",
            )


def _look_at_inputs(plan: Plan) -> Iterator[KineflowError]:
    """Files and folders that are not there."""
    cluster = load_cluster(plan.params_file)
    for key, kind in plan.schema.items():
        for name in local_inputs(kind, plan.values[key]):
            path, known = plan.project / name, plan.project / f"{name.rstrip('/')}.dvc"
            on_volume = cluster is not None and path.is_relative_to(cluster.volume.path)
            if path.exists() or (plan.where == "cluster" and PurePosixPath(name).is_relative_to(DATA_FOLDER)):
                continue  # of the data, a cluster fetches DVC's version
            if plan.where != "here" and known.is_file():
                plan.note(f"{key} names {name!r}, which is not here to be looked into: dvc pull {known.name}")
            elif plan.where == "cluster" and on_volume:
                plan.note(f"{key} names {name!r}, which is on the cluster's volume, not here to be looked into")
            else:
                yield KineflowError(
                    f"{key} names {name!r}, which is not there",
                    where=path,
                    remedy=_how_to_get(name, known, path, on_volume=on_volume),
                )


def _look_at_stores(plan: Plan) -> Iterator[KineflowError]:
    """Places on S3 where nothing is; a cluster may reach what cannot be reached from here."""
    from kineflow.data.ingest_settings import IngestSettings
    from kineflow.storage.media import is_remote

    for _, key, _ in plan.sections(IngestSettings):
        values = plan.values[key]
        for place in (values["source"], values["annotations"]):
            if not is_remote(place):
                continue
            try:
                if not _holds_something(place, values["endpoint_url"]):
                    yield KineflowError(f"{key} names a place with nothing in it", where=place, remedy="correct it")
            except KineflowError as error:
                if plan.where != "cluster":
                    yield error
                else:
                    plan.note(f"{key} names {place}, which could not be looked into from here: {error.problem}")


def _holds_something(uri: str, endpoint_url: str) -> bool:
    from kineflow.storage.client import s3_client, split_uri, translate_s3_failures

    bucket, prefix = split_uri(uri)
    with translate_s3_failures(uri):
        page = s3_client(endpoint_url).list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    return bool(page.get("Contents"))


def _how_to_get(name: str, known: Path, path: Path, *, on_volume: bool) -> str:
    from kineflow.models.weights import tensorflow_index

    if index := tensorflow_index(path):
        return f"give {index}"
    if known.is_file():
        return f"get it with: dvc pull {known.name}"
    if on_volume:
        return "correct the path; if it is on the volume of a cluster that will run this: kineflow check --cluster"
    demo = ", or make the demo's videos with: kineflow synth" if name == _DEMO_DATA else ""
    return f"correct the path{demo}"


def _look_at_sets(plan: Plan) -> Iterator[KineflowError]:
    """Places for clip sets of other runs that hold none; those on S3 are asked by the step."""
    from kineflow.data.ingest_settings import CLIP_SETS, IngestSettings
    from kineflow.sets.clip_set import CLIP_FILES
    from kineflow.sets.stored import holds_sets

    for _, key, _ in plan.sections(IngestSettings):
        source = plan.values[key]["source"]
        if plan.values[key]["layout"] != CLIP_SETS or "://" in source:
            continue
        place = plan.project / source
        if place.is_dir() and not holds_sets(str(place), CLIP_FILES):
            yield KineflowError(
                f"no folder in it is a clip set, with {CLIP_FILES.described}",
                where=f"{key}.source {source!r}",
                remedy=f"name the folder that holds clip sets of other runs, or another {key}.layout for videos",
            )


def _look_at_teachers(plan: Plan) -> Iterator[KineflowError]:
    """Models that are to teach and cannot be had, and terms about a teacher that there is not."""
    from kineflow.models.card import load_card
    from kineflow.registry.named_model import RUN_PREFIX, exact_version
    from kineflow.serving.stored_files import MODEL_PREFIX, find_version
    from kineflow.storage.media import is_remote
    from kineflow.training.settings import DistillSettings
    from kineflow.training.teacher_settings import OwnTeacherSettings

    for _, key, _ in plan.sections(OwnTeacherSettings):
        bundle = plan.values[key]["bundle"]
        try:
            if bundle.startswith(MODEL_PREFIX):
                find_version(exact_version(bundle, root=plan.project), root=plan.project)
            elif bundle.startswith(RUN_PREFIX) or is_remote(bundle):
                plan.note(f"{key} names {bundle!r}, which is looked for when its step runs, not now")
            elif (plan.project / bundle).is_dir():
                load_card(plan.project / bundle)
        except KineflowError as error:
            if plan.where == "here" or not bundle.startswith(MODEL_PREFIX):
                yield KineflowError(f"{key} names {bundle!r}: {error.problem}", remedy=error.remedy)
            else:
                plan.note(f"{key} names {bundle!r}, which the registry here does not have")
    for task, key in {key: (task, key) for task, key, _ in plan.sections(DistillSettings)}.values():
        names = plan.teachers_of(task)
        unknown = {term["teacher"] for term in plan.values[key]["terms"]} - {"", *names}
        if unknown:
            yield KineflowError(
                f"no teacher is called {', '.join(map(repr, sorted(unknown)))}",
                where=f"{key}.terms",
                remedy=f"name one of {', '.join(map(repr, names))}, or leave teacher out for all of them",
            )


def _look_at_clips(plan: Plan) -> Iterator[KineflowError]:
    """What the lists name, and what steps will ask for of it."""
    from kineflow.data.ingest_settings import IngestSettings
    from kineflow.selection.settings import BlendSettings, SelectSettings
    from kineflow.spec.split import Split

    for task, key, _ in plan.sections(IngestSettings):
        values = plan.values[key]
        seed = next((plan.values[name] for name in task.sections.values() if name == "seed"), 0)
        for settings in _ingestions(values, plan):
            listed, where = _listed(settings, seed, plan), f"{key}.source {values['source']!r}"
            splits = {clip.split.value for clip in listed}
            for split, asking in _splits_asked_for(plan).items():
                if listed and split not in splits:
                    yield KineflowError(
                        f"no clip of split {split!r} is there, and {', '.join(asking)} will ask for some",
                        where=where,
                        remedy=_WITHOUT_VAL
                        if split == Split.VAL
                        else "give the split some clips, or switch off what needs it",
                    )
            yield from look_at_classes(plan, listed)
            for _, _, kind in plan.sections(BlendSettings) if listed else ():
                yield from _groups_for_folds(listed, where, train_alone=not issubclass(kind, SelectSettings))
            return


def _groups_for_folds(listed: Sequence[ListedClip], where: str, *, train_alone: bool) -> Iterator[KineflowError]:
    """A class that folds of whole groups cannot judge."""
    from kineflow.selection.groups import require_groups
    from kineflow.spec.split import Split

    labelled = [clip for clip in listed if clip.label is not None]
    splits = {Split.TRAIN} if train_alone else {Split.TRAIN, Split.VAL}
    learnt_from = [(clip.label, clip.group) for clip in labelled if clip.split in splits]
    try:
        require_groups(learnt_from, sorted({clip.label for clip in labelled if clip.label}), where=where)
    except KineflowError as error:
        yield error


def _ingestions(values: Mapping[str, Any], plan: Plan) -> Iterator[Any]:
    """The settings of an ingest with local videos that are there; what lies on S3 is not asked for."""
    from kineflow.data.ingest_settings import CLIP_SETS, IngestSettings

    settings = IngestSettings.model_validate(dict(values))
    if "://" in settings.source or "://" in settings.annotations or settings.layout == CLIP_SETS:
        return
    source, annotations = plan.project / settings.source, plan.project / settings.annotations
    if source.is_dir() and annotations.exists():
        lists = str(annotations) if settings.annotations else ""
        linked = (each.model_copy(update={"path": str(plan.project / each.path)}) for each in settings.linked_folders)
        paths = {"source": str(source), "annotations": lists, "linked_folders": tuple(linked)}
        yield settings.model_copy(update=paths)


def _listed(settings: Any, seed: int, plan: Plan) -> list[ListedClip]:
    """The clips that are listed and there, by the lists alone.

    Raises:
        KineflowError: The source is empty, or a list missing or malformed.
    """
    from kineflow.data.layouts import hold_out
    from kineflow.data.listing import list_source
    from kineflow.storage.names import printable

    listed = list_source(settings)
    clips = hold_out(listed.listing.clips, val_share=settings.val_share, seed=seed)
    source, present = listed.source, frozenset(listed.source.names())  # each file is opened by ingest, not here
    absent = {
        clip.source for clip in clips if clip.missing or (clip.source not in present and source.trouble(clip.source))
    }
    if absent:
        listed_names = ", ".join(map(printable, sorted(absent)[:_SHOWN])) + (", …" if len(absent) > _SHOWN else "")
        plan.note(f"{len(absent)} listed videos are not in {source.root}: {listed_names}")
    there = [clip for clip in clips if clip.source not in absent]
    plan.listed = Listed(settings, source, there, listed.listing.multi_label)
    return there


def _splits_asked_for(plan: Plan) -> dict[str, list[str]]:
    """Splits that steps cannot do without, and what asks for each."""
    from kineflow.evaluation.settings import EvaluateSettings, keys_that_need_val
    from kineflow.training.settings import RunSettings

    asked: dict[str, list[str]] = {}
    for task, key, kind in plan.sections():
        values = plan.values[key]
        if issubclass(kind, RunSettings):
            for split in ("train", "val") if kind.model_validate(values).needs_val else ("train",):
                asked.setdefault(split, []).append(task.name)
        elif issubclass(kind, EvaluateSettings) and (decided := keys_that_need_val(values)):
            asked.setdefault("val", []).extend(f"{key}.{name}" for name in decided)
            asked.setdefault(values["split"], []).append(key)
        elif isinstance(split := values.get("split"), str):
            asked.setdefault(split, []).append(key)
        if plan.unlabelled_of(task)[1]:
            asked.setdefault("unlabelled", []).append(task.name)
    return {split: list(dict.fromkeys(asking)) for split, asking in asked.items()}


def _look_at_gate(plan: Plan) -> Iterator[KineflowError]:
    """Figures that a gate asks for and no evaluation gives."""
    from kineflow.evaluation.metrics import Summary
    from kineflow.registry.measured import PER_CLASS
    from kineflow.registry.policy import Gate

    known = {each.name for each in dataclasses.fields(Summary)} - {"clips"}
    for _, key, _kind in plan.sections(Gate):
        values = plan.values[key]
        for where, name in (
            ("primary_metric", values["primary_metric"]),
            *(("floors", name) for name in values["floors"]),
        ):
            if name not in known and not name.startswith(PER_CLASS):
                yield KineflowError(
                    f"no evaluation gives the figure {name!r}",
                    where=f"{key}.{where}",
                    remedy=f"choose of {', '.join(sorted(known))}, {PER_CLASS}CLASS",
                )


def _look_at_records(plan: Plan) -> Iterator[KineflowError]:
    """The tracking store, and what DVC knows of the data."""
    from kineflow.tracking.lineage import data_md5
    from kineflow.tracking.store import check_store, tracking_uri

    try:
        check_store(tracking_uri(plan.project))
    except KineflowError as error:
        yield error
    try:
        data_md5(plan.project)
    except KineflowError as error:
        yield error
