"""Steps as MLflow runs: one parent per pipeline run, one child per step, and what a step says of itself while it runs.

A store that is not there when a step opens its run is an error, before any work is done. One that goes away later is
not: it is said once, the step goes on, and figures wait until the store is back.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from kineflow.storage.credentials import mask_uri, redact
from kineflow.storage.errors import KineflowError
from kineflow.storage.project import current_project
from kineflow.storage.stopping import signals_held
from kineflow.tracking.buffer import Figure, FigureBuffer
from kineflow.tracking.kubeflow_run import KubeflowRun, kubeflow_run
from kineflow.tracking.lineage import lineage_tags
from kineflow.tracking.marks import Mark, marked
from kineflow.tracking.run_variables import GROUP
from kineflow.tracking.store import (
    artifact_location,
    connect,
    experiment_ids,
    named_failures,
    store_lock,
    tracking_uri,
    unreachable,
)

RUN_STATUSES = ("FINISHED", "FAILED", "KILLED")
RunStatus = Literal["FINISHED", "FAILED", "KILLED"]

PIPELINE_TAG = "pipeline.run_id"
ERROR_TAG = "error"  # why a run did not finish
HOST_TAG = "host"  # of a step on a cluster: its pod's host name
KIND_TAG = "kineflow.kind"  # "pipeline" for the parent, "step" for a child

MAX_PARAM_CHARS = 6000
MAX_RUN_TAG_CHARS = 8000
MAX_KEY_CHARS = 250
MAX_DIGEST_CHARS = 36

_TRAINING_VIEW = {"mlflow.experimentKind": "custom_model_development"}
"""Else MLflow asks whoever opens the experiment, and may show the view for language models."""
_PER_REQUEST = 100
_FORBIDDEN_IN_KEYS = re.compile(r"[^\w\-./ :]")
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_LOG = logging.getLogger(__name__)


class StepRun:
    """The run of one step: a :class:`kineflow.tracking.tracker.Tracker` that also keeps files.

    No method raises because of the store, and :meth:`log_metrics` does not wait for it.

    Attributes:
        uri: Of the store; may hold credentials.
        name: Of the step.
        run_id: MLflow's id of this run.
        experiment_id: MLflow's id of its experiment.
        parent_id: MLflow's id of the pipeline run's parent; None for a step on its own.
    """

    def __init__(
        self, client: Any, uri: str, name: str, run_id: str, experiment_id: str, parent_id: str | None = None
    ) -> None:
        self.uri, self.name, self.run_id, self.experiment_id = uri, name, run_id, experiment_id
        self.parent_id = parent_id
        self._client = client
        self._warned = False
        self._figures = FigureBuffer(self._send, on_failure=self._warn)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record what the step was given; nested mappings become dotted names.

        Raises:
            KineflowError: The store cannot be used.
        """
        from mlflow.entities import Param

        with named_failures(self.uri):
            for part in _parts([Param(name, value) for name, value in flatten_params(params).items()]):
                self._client.log_batch(self.run_id, params=part)

    def note_params(self, params: Mapping[str, Any]) -> None:
        """Record what the step has decided itself, under names that it was not given."""
        with self._forgiving():
            self.log_params(params)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record figures of one training step or epoch."""
        self._figures.add(metrics, step)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record facts that are not figures."""
        from mlflow.entities import RunTag

        with self._forgiving():
            for part in _parts([RunTag(_key(name), _tag(value)) for name, value in tags.items()]):
                self._client.log_batch(self.run_id, tags=part)

    def log_artifact(self, path: Path, name: str | None = None) -> None:
        """Keep a file or a folder with the run, under ``name`` (its own when None; may hold ``/``)."""
        name = name or path.name
        with self._forgiving():
            if path.is_dir():
                self._client.log_artifacts(self.run_id, str(path), artifact_path=name)
                return
            with tempfile.TemporaryDirectory() as folder:
                named = Path(folder) / Path(name).name
                named.symlink_to(path.resolve())
                parent = Path(name).parent.as_posix()
                self._client.log_artifact(self.run_id, str(named), artifact_path=None if parent == "." else parent)

    def log_dataset(
        self,
        name: str,
        *,
        version: str,
        source: str,
        context: str = "training",
        profile: Mapping[str, int] | None = None,
    ) -> None:
        """Record that this run, and the pipeline run it is part of, read a data set.

        Args:
            name: Of the data set.
            version: Its hash, e.g. from :func:`kineflow.tracking.lineage.data_md5`; the first 36 characters count
                in searches (``datasets.digest``), the whole is kept as a tag.
            source: Path or URI of the bytes.
            context: What it was used for.
            profile: Counts of it.
        """
        from mlflow.entities import Dataset as DatasetEntity
        from mlflow.entities import DatasetInput, InputTag

        with self._forgiving():
            entity = DatasetEntity(
                name=name[:500],
                digest=version[:MAX_DIGEST_CHARS],
                source_type="uri",
                source=json.dumps({"uri": redact(source)}),
                profile=json.dumps(dict(profile)) if profile else None,
            )
            tags = [InputTag("mlflow.data.context", context), InputTag("data.version", version[:500])]
            for run_id in filter(None, (self.run_id, self.parent_id)):
                self._client.log_inputs(run_id, [DatasetInput(entity, tags)])

    def record(self, metrics: Mapping[str, float], artifacts: Mapping[str, Path], tags: Mapping[str, str]) -> None:
        """Keep a step's result (:class:`components.frontend.contract.StepResult`).

        The parent run has the figures too, as ``<step>/<figure>``, so that pipeline runs compare in one table, and the
        pages, as ``<step>/<name>``.
        """
        self.log_metrics(metrics)
        if self.parent_id is not None:
            self._summarise(self.parent_id, metrics)
        self.set_tags(tags)
        for name, path in artifacts.items():
            self.log_artifact(path, name)
            if self.parent_id is not None and path.suffix == ".html":
                parent = StepRun(self._client, self.uri, self.name, self.parent_id, self.experiment_id)
                parent.log_artifact(path, f"{self.name}/{name}")

    def _summarise(self, parent_id: str, metrics: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        summary = [Metric(_key(f"{self.name}/{name}"), float(value), now_ms, 0) for name, value in metrics.items()]
        with self._forgiving():
            self._client.log_batch(parent_id, metrics=summary)

    def _send(self, figures: list[Figure]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(_key(name), value, time_ms, step) for name, value, time_ms, step in figures]
        self._client.log_batch(self.run_id, metrics=metrics)

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a store can fail in any way, and none may end a step
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            _LOG.warning(
                "%s\n  The work goes on without it; figures are sent when it is back.", unreachable(self.uri, error)
            )

    def close(self, status: RunStatus, error: BaseException | None) -> None:
        """End the run, with what is still under way; an error's text becomes the tag ``error``."""
        if lost := self._figures.close():
            _LOG.warning("%d figures of this step did not reach the tracking store", lost)
        if error is not None:
            self.set_tags({ERROR_TAG: f"{type(error).__name__}: {error}"})
        with self._forgiving():
            self._client.set_terminated(self.run_id, status)


@contextmanager
def open_step_run(
    step: str,
    *,
    params: Mapping[str, Any],
    experiment: str,
    tags: Mapping[str, str] | None = None,
    pipeline_run_id: str | None = None,
    root: Path | None = None,
) -> Iterator[StepRun]:
    """Track one step from its start to its end, however it ends.

    The run ends ``FINISHED``; ``FAILED``, with the error's text in the tag ``error``, when the block raises;
    ``KILLED`` on Ctrl-C. What the block raises is passed on.

    Args:
        step: The run's name, e.g. ``train_flow``.
        params: What the step was given; nested mappings become dotted names.
        experiment: Made when it is not there; the recipe's name by custom.
        tags: Facts beside those of :func:`kineflow.tracking.lineage.lineage_tags`.
        pipeline_run_id: The step becomes a child of this pipeline run's parent, which is made when it is not there.
        root: The project's folder; the working folder when None.

    Raises:
        KineflowError: The store cannot be used (before the block is entered), or ``pipeline_run_id`` is malformed.
    """
    root = current_project() if root is None else root
    uri = tracking_uri(root)
    begin = _prepare_step_run(uri, root, step, experiment, tags, pipeline_run_id)
    run = None
    with ExitStack() as marks:
        try:
            with signals_held():  # a run that is begun is marked, or nobody would close it
                run = begin()
                marks.enter_context(marked(Mark("step", run.run_id), uri, root))
            run.log_params(params)
            yield run
        except BaseException as error:
            if run is not None:
                with signals_held():
                    run.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED", error)
            raise
        with signals_held():
            run.close("FINISHED", None)


def _prepare_step_run(
    uri: str,
    root: Path,
    step: str,
    experiment: str,
    tags: Mapping[str, str] | None,
    pipeline_run_id: str | None,
) -> Callable[[], StepRun]:
    """Do all that takes its time before a run can begin; the arguments are those of :func:`open_step_run`."""
    client = connect(uri)
    facts = {**lineage_tags(root), **(tags or {}), "step": step, KIND_TAG: "step"}
    joined = kubeflow_run() if pipeline_run_id is not None else None
    if joined is not None and pipeline_run_id is not None:
        facts |= {PIPELINE_TAG: pipeline_run_id, "mlflow.parentRunId": joined.parent_id}
        with named_failures(uri):
            _join_parent(client, joined.parent_id, experiment, pipeline_run_id, facts)
        return lambda: _begin_joined(client, uri, step, joined, facts)
    with named_failures(uri):
        with store_lock(uri):
            experiment_id = find_or_create_experiment(client, uri, experiment)
            parent = None
            if pipeline_run_id is not None:
                parent = _find_or_create_parent(client, experiment_id, experiment, pipeline_run_id, facts)
                facts |= {PIPELINE_TAG: pipeline_run_id, "mlflow.parentRunId": parent}
        stored = {_key(name): _tag(value) for name, value in facts.items()}

    def begin() -> StepRun:
        with named_failures(uri):
            run_id = client.create_run(experiment_id, run_name=step, tags=stored).info.run_id
        return StepRun(client, uri, step, run_id, experiment_id, parent)

    return begin


def _join_parent(client: Any, parent_id: str, experiment: str, pipeline_run_id: str, facts: Mapping[str, str]) -> None:
    """Tell of Kubeflow's run what a parent run says, so that it is found and compared like any other."""
    from mlflow.entities import RunTag

    tags = _inherited(facts) | {PIPELINE_TAG: pipeline_run_id, KIND_TAG: "pipeline"}
    tags |= {"recipe": tags.get("recipe", experiment)}
    client.log_batch(parent_id, tags=[RunTag(_key(name), value) for name, value in tags.items()])


def _begin_joined(client: Any, uri: str, step: str, joined: KubeflowRun, facts: Mapping[str, str]) -> StepRun:
    """Kubeflow's run of this task, running again if an attempt before had ended it; or one below the same parent."""
    from mlflow.entities import RunTag

    stored = {_key(name): _tag(value) for name, value in facts.items()}
    run_id = joined.task_id
    with named_failures(uri):
        if run_id:
            client.update_run(run_id, status="RUNNING", name=step)
            client.log_batch(run_id, tags=[RunTag(name, value) for name, value in stored.items()])
            if ERROR_TAG in client.get_run(run_id).data.tags:
                client.delete_tag(run_id, ERROR_TAG)
        else:
            run_id = client.create_run(joined.experiment_id, run_name=step, tags=stored).info.run_id
    return StepRun(client, uri, step, run_id, joined.experiment_id, joined.parent_id)


def end_pipeline_run(pipeline_run_id: str, status: RunStatus, *, root: Path | None = None) -> None:
    """Close the parent run of a pipeline run; nothing happens when no step has opened one (all were cached).

    Raises:
        KineflowError: The store cannot be used, or an argument is malformed.
    """
    if status not in RUN_STATUSES:
        raise KineflowError(f"unknown run status {status!r}", remedy=f"use one of {', '.join(RUN_STATUSES)}")
    uri = tracking_uri(root)
    client = connect(uri)
    with named_failures(uri):
        for run in parents_of(client, experiment_ids(client), pipeline_run_id):
            client.set_terminated(run.info.run_id, status)


def flatten_params(params: Mapping[str, Any]) -> dict[str, str]:
    """Nested mappings as dotted names, every value a string that MLflow stores whole.

    ``{"optimiser": {"lr": 0.1}, "sizes": [1, 2]}`` becomes ``{"optimiser.lr": "0.1", "sizes": "[1, 2]"}``. A value past
    6000 characters, which MLflow would cut in silence, is cut here and ends with a note of its length and SHA-256.
    """
    flat: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            flat |= {_key(f"{name}.{below}"): text for below, text in flatten_params(value).items()}
        else:
            flat[_key(str(name))] = _shorten(redact(_text(value)), MAX_PARAM_CHARS)
    return flat


def find_or_create_experiment(client: Any, uri: str, name: str) -> str:
    """Id of the experiment, its files beside a SQLite store; call it under :func:`store_lock`."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        with suppress(MlflowException):  # made by another machine meanwhile
            place = artifact_location(uri, name)
            return str(client.create_experiment(name, artifact_location=place, tags=_TRAINING_VIEW))
        experiment = client.get_experiment_by_name(name)
    if experiment is None or experiment.lifecycle_stage != "active":
        raise KineflowError(
            f"experiment {name!r} cannot be used: it was deleted",
            where=mask_uri(uri),
            remedy="restore it in MLflow's UI, or use another experiment name",
        )
    return str(experiment.experiment_id)


def _find_or_create_parent(
    client: Any, experiment_id: str, experiment: str, pipeline_run_id: str, facts: Mapping[str, str]
) -> str:
    """Run id of the pipeline run's parent, which is running again if it had ended."""
    if not (parents := parents_of(client, [experiment_id], pipeline_run_id)):
        tags = _inherited(facts) | {PIPELINE_TAG: pipeline_run_id, KIND_TAG: "pipeline"}
        tags |= {"mlflow.parentRunId": os.environ[GROUP]} if os.environ.get(GROUP) else {}
        name = f"{facts.get('recipe', experiment)}-{pipeline_run_id[:8]}"
        client.create_run(experiment_id, run_name=name, tags=tags)
        parents = parents_of(client, [experiment_id], pipeline_run_id)
    # Steps on two machines share no lock and may both have made a parent: all take the older one.
    parent, *superfluous = parents
    for run in superfluous:
        client.delete_run(run.info.run_id)
    if parent.info.status != "RUNNING":
        client.update_run(parent.info.run_id, status="RUNNING")
    return str(parent.info.run_id)


def _inherited(facts: Mapping[str, str]) -> dict[str, str]:
    names = ("git.commit", "git.dirty", "mlflow.source.git.commit", "dvc.data.md5", "source.digest", "recipe")
    return {name: _tag(facts[name]) for name in names if name in facts}


def parents_of(client: Any, experiment_ids: list[str], pipeline_run_id: str) -> list[Any]:
    """The parent runs of a pipeline run, the oldest first: one, unless two machines have just made one each.

    Raises:
        KineflowError: ``pipeline_run_id`` is malformed.
    """
    if not _RUN_ID.fullmatch(pipeline_run_id):
        raise KineflowError(
            f"malformed pipeline run id {pipeline_run_id!r}", remedy="use letters, digits, '.', '_' and '-' only"
        )
    query = f"tags.`{PIPELINE_TAG}` = '{pipeline_run_id}' AND tags.`{KIND_TAG}` = 'pipeline'"
    return list(
        client.search_runs(experiment_ids, query, order_by=["attributes.start_time ASC", "attributes.run_id ASC"])
    )


def _parts(items: list[Any]) -> list[list[Any]]:
    return [items[start : start + _PER_REQUEST] for start in range(0, len(items), _PER_REQUEST)]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(value)


def _shorten(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    note = f" … [cut: {len(text)} characters, sha256 {hashlib.sha256(text.encode()).hexdigest()}]"
    return text[: most - len(note)] + note


def _key(name: str) -> str:
    """A name that MLflow takes: letters, digits and ``_-./ :`` only, at most 250 characters, and a plain path."""
    parts = _FORBIDDEN_IN_KEYS.sub("_", name)[:MAX_KEY_CHARS].split("/")
    return "/".join("_" if part in (".", "..") else part for part in parts if part) or "_"


def _tag(value: str) -> str:
    return _shorten(redact(str(value)), MAX_RUN_TAG_CHARS)
