"""What can be known before a recipe runs: every fault at once, in the first second and not after hours.

`kineflow check` says it, and `kineflow run` begins with it. Nothing is decoded, and nothing asked of a server.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.frontend.inputs import local_inputs
from kineflow.storage.config import Params
from kineflow.storage.errors import KineflowError, raise_together
from pipelines.dag.graph import Graph, Task
from pipelines.dag.params import graph_for, load_cluster, load_params, schema_of

if TYPE_CHECKING:
    from kineflow.data.layouts.rows import ListedClip

_DEMO_DATA = "data"
_SHOWN = 3
_UNSPEAKABLE = re.compile(r"[\x00-\x1f\x7f]|\$\{")  # DVC cuts commands into lines, and fills in ${…}


@dataclass(frozen=True)
class Checked:
    """A parameter file that a recipe can run with.

    Attributes:
        values: Its contents, every default filled in.
        notices: What may be meant so, in words.
    """

    values: dict[str, Any]
    notices: tuple[str, ...]


@dataclass
class _Plan:
    """What is looked at."""

    graph: Graph
    values: Mapping[str, Any]
    schema: Mapping[str, type]
    params_file: Path
    project: Path
    notices: list[str] = field(default_factory=list)

    def sections(self, of_kind: type = Params) -> Iterator[tuple[Task, str, type[Params]]]:
        """The sections of a kind that tasks read, with the key and class of each."""
        for task in self.graph.tasks:
            for key in task.sections.values():
                kind = self.schema[key]
                if issubclass(kind, Params) and issubclass(kind, of_kind):
                    yield task, key, kind


def check_run(recipe: str, params_file: Path, project: Path, *, runs_here: bool = True) -> Checked:
    """Check all that can be known of a run before it starts.

    Args:
        recipe: Its name.
        params_file: Its parameters.
        project: Folder that relative paths are below.
        runs_here: Whether it is about to run on this machine; else data that DVC knows of need not be here.

    Raises:
        KineflowError: Parameters are invalid; or anything else stands in the way, all of it in one message.
    """
    graph = graph_for(recipe, params_file)
    plan = _Plan(graph, load_params(graph, params_file), schema_of(graph), params_file, project)
    faults: list[KineflowError] = []
    for look in (
        _look_at_names,
        _look_at_inputs,
        _look_at_weights,
        _look_at_library,
        _look_at_clips,
        _look_at_gate,
        _look_at_records,
    ):
        try:
            faults += look(plan, runs_here)
        except KineflowError as error:
            faults.append(error)
    raise_together(faults, where=params_file, remedy="mend them; nothing has run")
    return Checked(dict(plan.values), tuple(plan.notices))


def _look_at_names(plan: _Plan, _runs_here: bool) -> Iterator[KineflowError]:
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


def _look_at_inputs(plan: _Plan, runs_here: bool) -> Iterator[KineflowError]:
    """Files and folders that are not there."""
    cluster = load_cluster(plan.params_file)
    for key, kind in plan.schema.items():
        for name in local_inputs(kind, plan.values[key]):
            path, known = plan.project / name, plan.project / f"{name.rstrip('/')}.dvc"
            if path.exists():
                continue
            if not runs_here and known.is_file():
                plan.notices.append(f"{key} names {name!r}, which is not here to be looked into: dvc pull {known.name}")
            elif not runs_here and cluster and path.is_relative_to(cluster.volume.path):
                plan.notices.append(
                    f"{key} names {name!r}, which is on the cluster's volume, not here to be looked into"
                )
            else:
                yield KineflowError(
                    f"{key} names {name!r}, which is not there", where=path, remedy=_how_to_get(name, known)
                )


def _how_to_get(name: str, known: Path) -> str:
    if known.is_file():
        return f"get it with: dvc pull {known.name}"
    demo = ", or make the demo's videos with: kineflow synth" if name == _DEMO_DATA else ""
    return f"correct the path{demo}"


def _look_at_weights(plan: _Plan, runs_here: bool) -> Iterator[KineflowError]:
    """Local checkpoints whose bytes are others than the parameters say, and named ones that cannot be had."""
    from kineflow.models.descriptor_settings import DescriptorSettings
    from kineflow.models.weights import fetch_weights
    from kineflow.models.weights_table import is_named

    for _, key, _ in plan.sections(DescriptorSettings):
        if backbone := plan.values[key]["backbone"]:
            yield from _look_at_named(backbone, plan, runs_here)
    for _, key, kind in plan.sections():
        values = plan.values[key]
        checkpoint = values.get("checkpoint") if "sha256" in kind.model_fields else None
        if checkpoint and is_named(checkpoint):
            yield from _look_at_named(checkpoint, plan, runs_here)
        elif checkpoint and "://" not in checkpoint and (plan.project / checkpoint).is_file():
            try:
                fetch_weights(str(plan.project / checkpoint), sha256=values["sha256"])
            except KineflowError as error:
                yield error


def _look_at_library(plan: _Plan, runs_here: bool) -> Iterator[KineflowError]:
    """A checkpoint of transformers: what it is, and whether the trainings give it the clips that it takes."""
    from kineflow.models.pretrain_settings import PretrainSettings
    from kineflow.models.transformers_checkpoint import find_checkpoint
    from kineflow.models.transformers_hub import is_fetched
    from kineflow.models.transformers_library import require_transformers
    from kineflow.models.transformers_names import ARCHITECTURE, is_hub_id
    from kineflow.training.settings import TrainSettings

    for _, key, _ in plan.sections(PretrainSettings):
        network = PretrainSettings.model_validate(plan.values[key])
        if network.architecture != ARCHITECTURE:
            continue
        if runs_here:
            require_transformers()
        checkpoint = network.checkpoint
        if not is_hub_id(checkpoint):
            checkpoint = str(plan.project / Path(checkpoint).expanduser())
            if not Path(checkpoint).is_dir():
                continue
        elif not is_fetched(checkpoint):
            if runs_here:
                plan.notices.append(f"the weights {checkpoint} are not here yet, and will be fetched from the hub")
            continue
        found = find_checkpoint(checkpoint, **network.hyperparameters)
        found.preprocessing(mean=network.rgb_mean, std=network.rgb_std)
        trainings = {name: kind for _, name, kind in plan.sections(TrainSettings)}
        for name, kind in trainings.items():
            section = kind.model_validate(plan.values[name])
            assert isinstance(section, TrainSettings)
            try:
                found.shape.require_clip(frames=section.frames, size=section.crop)
                found.shape.require_clip(frames=section.tested_frames, size=section.crop)
            except KineflowError as error:
                yield KineflowError(error.problem, where=f"section {name}", remedy=error.remedy)


def _look_at_named(name: str, plan: _Plan, runs_here: bool) -> Iterator[KineflowError]:
    """Published weights that a run here will have to download, or whose file is another."""
    from kineflow.models.named_weights import local_weights, weights_file
    from kineflow.models.weights_table import weights_named

    row = weights_named(name)
    if not runs_here:
        return
    try:
        is_here = local_weights(row) is not None
        if row.package:
            weights_file(row)
    except KineflowError as error:
        yield error
        return
    notice = f"the weights {name} ({row.size_mb:g} MB) are not here yet, and will be downloaded from {row.url}"
    if not (is_here or notice in plan.notices):
        plan.notices.append(notice)


def _look_at_clips(plan: _Plan, _runs_here: bool) -> Iterator[KineflowError]:
    """What the lists name, and what steps will ask for of it."""
    from kineflow.data.ingest_settings import IngestSettings
    from kineflow.selection.settings import BlendSettings, SelectSettings

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
                        remedy="give the split some clips (for val: ingestion.val_share), or switch off what needs it",
                    )
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


def _ingestions(values: Mapping[str, Any], plan: _Plan) -> Iterator[Any]:
    """The settings of an ingest with local videos that are there; what lies on S3 is not asked for."""
    from kineflow.data.ingest_settings import IngestSettings

    settings = IngestSettings.model_validate(dict(values))
    if "://" in settings.source or "://" in settings.annotations:
        return
    source, annotations = plan.project / settings.source, plan.project / settings.annotations
    if source.is_dir() and annotations.exists():
        lists = str(annotations) if settings.annotations else ""
        linked = (each.model_copy(update={"path": str(plan.project / each.path)}) for each in settings.linked_folders)
        paths = {"source": str(source), "annotations": lists, "linked_folders": tuple(linked)}
        yield settings.model_copy(update=paths)


def _listed(settings: Any, seed: int, plan: _Plan) -> list[ListedClip]:
    """The clips that are listed and there, by the lists alone.

    Raises:
        KineflowError: The source is empty, or a list missing or malformed.
    """
    from kineflow.data.layouts import hold_out
    from kineflow.data.listing import list_source
    from kineflow.data.names import printable

    listed = list_source(settings)
    clips = hold_out(listed.listing.clips, val_share=settings.val_share, seed=seed)
    source, present = listed.source, frozenset(listed.source.names())  # each file is opened by ingest, not here
    absent = {
        clip.source for clip in clips if clip.missing or (clip.source not in present and source.trouble(clip.source))
    }
    if absent:
        listed_names = ", ".join(map(printable, sorted(absent)[:_SHOWN])) + (", …" if len(absent) > _SHOWN else "")
        plan.notices.append(f"{len(absent)} listed videos are not in {source.root}: {listed_names}")
    return [clip for clip in clips if clip.source not in absent]


def _splits_asked_for(plan: _Plan) -> dict[str, list[str]]:
    """Splits that steps cannot do without, and what asks for each."""
    from kineflow.training.settings import RunSettings

    asked: dict[str, list[str]] = {}
    for task, key, kind in plan.sections():
        values = plan.values[key]
        if issubclass(kind, RunSettings):
            for split in ("train", "val"):
                asked.setdefault(split, []).append(task.name)
        elif isinstance(split := values.get("split"), str):
            asked.setdefault(split, []).append(key)
        if task.constants.get("use_unlabelled") and values.get("unlabelled_batch_size"):
            asked.setdefault("unlabelled", []).append(task.name)
    return {split: list(dict.fromkeys(asking)) for split, asking in asked.items()}


def _look_at_gate(plan: _Plan, _runs_here: bool) -> Iterator[KineflowError]:
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


def _look_at_records(plan: _Plan, _runs_here: bool) -> Iterator[KineflowError]:
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
