"""Runs of recipes as the tracking store has them: parameters, data, figures, cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kineflow.storage.credentials import mask_uri
from kineflow.storage.errors import KineflowError
from kineflow.tracking.evaluation_tags import EVALUATED, EVALUATION_DIGEST, EVALUATION_PROTOCOL, EVALUATION_SPLIT
from kineflow.tracking.runs import KIND_TAG, PIPELINE_TAG
from kineflow.tracking.store import connect, database_file, experiment_ids, named_failures, tracking_uri

_COST = "/cost/"
_OF_CODE = ("git.commit", "git.dirty")
_FEWEST_CHARACTERS = 4


@dataclass(frozen=True)
class Judged:
    """An evaluation.

    Attributes:
        clips: Digest of its clips and labels.
        protocol: How they were scored, in words; empty where a run of an earlier release did not say.
        split: Which clips these were.
        figures: By name, ``<model>/<figure>``.
        run_id: MLflow's, of the step that judged.
        files: URI of that step's files.
        made_by: Pipeline run that the step was part of.
    """

    clips: str
    protocol: str
    split: str
    figures: Mapping[str, float]
    run_id: str
    files: str
    made_by: str

    @property
    def basis(self) -> tuple[str, str]:
        """What two evaluations must share for their figures to stand in one column."""
        return self.clips, self.protocol


@dataclass(frozen=True)
class RunRecord:
    """A run of a recipe.

    Attributes:
        id: Of the pipeline run.
        name: In MLflow.
        recipe: Its name; empty where it is not known.
        started: UTC, to the minute.
        status: MLflow's word.
        data: Version of the data.
        commit: Its first 8 characters, with ``+`` where files differed from it.
        params: Flattened; empty in runs of earlier releases.
        cost: ``cpu_s`` and ``wall_s`` of all of its steps together, ``peak_memory_mb`` of the greatest; of what ran.
        judged: Its evaluation, or that which it took from an earlier run; None where there is none.
    """

    id: str
    name: str
    recipe: str
    started: str
    status: str
    data: str
    commit: str
    params: Mapping[str, str] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    judged: Judged | None = None


def find_runs(
    run_ids: Sequence[str] = (), *, where: str = "", limit: int = 10, root: Path | None = None
) -> list[RunRecord]:
    """Runs of recipes, latest first; named ones in the order in which they are named.

    Args:
        run_ids: Pipeline run ids or MLflow ids of their parent runs, each as a whole or as a beginning of at least
            four characters; the latest runs when empty.
        where: In MLflow's language for searches, e.g. ``tags.recipe = 'd3d' and params.`student.steps` = '500'``.
        limit: Most runs when ``run_ids`` is empty.
        root: The project's folder; the working folder when None.

    Raises:
        KineflowError: No run has one of the ids, ``where`` cannot be read, or the store cannot be used.
    """
    uri = tracking_uri(root)
    database = database_file(uri)
    if database is not None and not database.exists() and not run_ids:
        return []
    client = connect(uri, must_exist=True)
    with named_failures(uri):
        experiments = experiment_ids(client)
        parents = _parents(client, experiments, where)
        chosen = [_named(parents, wanted, uri) for wanted in run_ids] if run_ids else parents[:limit]
        return [_record(client, experiments, run) for run in chosen]


def _parents(client: Any, experiments: list[str], where: str) -> list[Any]:
    from mlflow.exceptions import MlflowException

    parents = f"tags.`{KIND_TAG}` = 'pipeline'"
    try:
        return _search(client, experiments, f"{parents} and {where}" if where else parents)
    except MlflowException as error:
        if not where or error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        raise KineflowError(
            f"cannot be read: {error.message}",
            where=f"--where {where!r}",
            remedy="write it as MLflow does, e.g. \"tags.recipe = 'd3d' and metrics.`evaluate/student/top1` > 0.6\"",
        ) from None


def _record(client: Any, experiments: list[str], run: Any) -> RunRecord:
    tags, started = run.data.tags, datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    return RunRecord(
        id=tags[PIPELINE_TAG],
        name=run.info.run_name,
        recipe=tags.get("recipe", ""),
        started=f"{started:%Y-%m-%d %H:%M}",
        status=run.info.status,
        data=tags.get("dvc.data.md5", ""),
        commit=tags.get("git.commit", "")[:8] + ("+" if tags.get("git.dirty") == "true" else ""),
        params=dict(sorted(run.data.params.items())),
        cost=_cost(run.data.metrics),
        judged=_judged(client, experiments, run),
    )


def _cost(metrics: Mapping[str, float]) -> dict[str, float]:
    def of_steps(name: str) -> Iterable[float]:
        return (value for key, value in metrics.items() if key.endswith(f"{_COST}{name}"))

    if not any(_COST in key for key in metrics):
        return {}
    return {
        "cpu_s": sum(of_steps("cpu_s")),
        "wall_s": sum(of_steps("wall_s")),
        "peak_memory_mb": max(of_steps("peak_memory_mb"), default=0.0),
    }


def _judged(client: Any, experiments: list[str], run: Any) -> Judged | None:
    """By its own step, or where that was up to date by the latest one that gave the same figures."""
    found = _search(client, [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    steps = [step for step in found if step.data.tags.get(EVALUATED)]
    if not steps and (digest := run.data.tags.get(EVALUATION_DIGEST, "")):
        steps = _search(client, experiments, f"tags.`{EVALUATION_DIGEST}` = '{digest}' and tags.`{EVALUATED}` != ''")
    if not steps:
        return None
    step, tags = steps[0], steps[0].data.tags
    return Judged(
        clips=tags[EVALUATED],
        protocol=tags.get(EVALUATION_PROTOCOL, ""),
        split=tags.get(EVALUATION_SPLIT, ""),
        figures={name: value for name, value in sorted(step.data.metrics.items()) if not name.startswith(_COST[1:])},
        run_id=step.info.run_id,
        files=step.info.artifact_uri,
        made_by=tags.get(PIPELINE_TAG, ""),
    )


def _named(parents: list[Any], wanted: str, uri: str) -> Any:
    names = [(run, (run.data.tags[PIPELINE_TAG], run.info.run_id)) for run in parents]
    exact = [run for run, ids in names if wanted in ids]
    long_enough = len(wanted) >= _FEWEST_CHARACTERS
    matches = exact or [run for run, ids in names if long_enough and any(name.startswith(wanted) for name in ids)]
    if len(matches) != 1:
        raise KineflowError(
            f"{len(matches) or 'no'} pipeline runs have the id {wanted!r}",
            where=mask_uri(uri),
            remedy="list the latest ones with: kineflow compare",
        )
    return matches[0]


def _search(client: Any, experiments: list[str], query: str) -> list[Any]:
    """All runs that match, latest first."""
    runs: list[Any] = []
    token = None
    while True:
        page = client.search_runs(experiments, query, order_by=["attributes.start_time DESC"], page_token=token)
        runs.extend(page)
        token = page.token
        if not token:
            return runs
