"""From a checked recipe to a run, or a schedule, on a server."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml

from pipelines.submission.checks import Package
from pipelines.submission.registry import (
    find_or_make_experiment,
    find_or_make_pipeline,
    find_or_make_version,
    pipeline_name,
    version_name,
)
from pipelines.submission.runs import MARKER, RunRequest, start_run
from pipelines.submission.schedules import put_schedule
from pipelines.submission.server import Server, id_in
from pipelines.submission.states import RunState, state_of
from pipelines.submission.steps import steps_of_package

_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where it is there, reads eight times as fast


@dataclass(frozen=True)
class RunOptions:
    """What the user asks for beyond the recipe.

    Attributes:
        experiment: Name of the experiment; made where it is missing.
        name: Of the run or schedule; empty for one made from the recipe and the time.
        service_account: Of the run's pods; empty for the server's default.
        cron: Six fields; empty for one run now.
        parameters: In place of those that are compiled into the package.
    """

    experiment: str
    name: str = ""
    service_account: str = ""
    cron: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Submission:
    """What came of it; ids are the server's.

    Attributes:
        steps: KFP's key and the recipe's name of each step.
    """

    recipe: str
    experiment: str
    experiment_id: str
    pipeline: str
    pipeline_id: str
    version: str
    version_id: str
    version_reused: bool
    name: str
    url: str
    state: str
    run_id: str = ""
    schedule_id: str = ""
    schedule: str = ""
    replaced_schedules: tuple[str, ...] = ()
    steps: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``: what does not apply is left out."""
        return {key: value for key, value in asdict(self).items() if key != "steps" and value not in ("", ())}


def submit(server: Server, package: Package, options: RunOptions) -> Submission:
    """Upload the package, or find it there already, and start a run of it or put it on the clock.

    Raises:
        KineflowError: The server refuses, or stays out of reach; running the command again goes on where it stopped.
    """
    spec = next(iter(yaml.load_all(package.text, Loader=_YAML)))
    described = f"kineflow recipe {package.recipe}"
    pipeline = find_or_make_pipeline(server, pipeline_name(package.recipe), described)
    pipeline_id = id_in(pipeline, "pipeline_id", server.access.host)
    version_label = version_name(package.text, package.commit, dirty=package.dirty)
    version, reused = find_or_make_version(
        server, pipeline_id, version_label, package.text, f"{described}, image {package.image}"
    )
    experiment = find_or_make_experiment(server, options.experiment)
    request = RunRequest(
        pipeline_id=pipeline_id,
        version_id=id_in(version, "pipeline_version_id", server.access.host),
        experiment_id=id_in(experiment, "experiment_id", server.access.host),
        name=options.name or _name_of(package.recipe, options),
        marker=f"{MARKER} {secrets.token_hex(8)}",
        parameters={**_parameters_of(spec), **options.parameters},
        service_account=options.service_account,
        mlflow_experiment=package.mlflow_experiment,
    )
    made: dict[str, Any] = {
        "recipe": package.recipe,
        "experiment": options.experiment,
        "experiment_id": request.experiment_id,
        "pipeline": pipeline_name(package.recipe),
        "pipeline_id": pipeline_id,
        "version": version_label,
        "version_id": request.version_id,
        "version_reused": reused,
        "name": request.name,
        "steps": steps_of_package(spec),
    }
    if options.cron:
        schedule, replaced = put_schedule(server, request, options.cron)
        schedule_id = id_in(schedule, "recurring_run_id", server.access.host)
        return Submission(
            **made, schedule_id=schedule_id, schedule=options.cron, replaced_schedules=tuple(replaced),
            url=server.access.schedule_page(schedule_id), state=str(schedule.get("status", "ENABLED")),
        )  # fmt: skip
    run = start_run(server, request)
    run_id = id_in(run, "run_id", server.access.host)
    state = state_of(run)
    state = RunState.PENDING if state is RunState.UNKNOWN else state
    return Submission(**made, run_id=run_id, url=server.access.run_page(run_id), state=state.value)


def _name_of(recipe: str, options: RunOptions) -> str:
    """A schedule is known by its name, a run by its time."""
    return recipe if options.cron else f"{recipe} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"


def _parameters_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The values compiled into the package: said again with the run, so that its page shows them."""
    given = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    return {name: each["defaultValue"] for name, each in given.items() if "defaultValue" in each}
