"""A recipe run by the clock: one recurring run of a name, replaced by the next submit."""

from __future__ import annotations

from typing import Any

from pipelines.submission.registry import named
from pipelines.submission.runs import MARKER, RunRequest
from pipelines.submission.server import Server

_PAGE = 100


def put_schedule(server: Server, request: RunRequest, cron: str) -> tuple[dict[str, Any], list[str]]:
    """Make ``request`` run by the clock, in place of older ones that we made under its name in its experiment.

    Runs never overlap, and times that were missed are not made up for. The new schedule is there before the old ones
    are removed: a failure between the two leaves one too many, which the next submit removes, and never none.

    Args:
        server: Where.
        request: What; its name is the schedule's.
        cron: Six fields.

    Returns:
        The schedule, and the ids of those it replaced.
    """

    def alike() -> list[dict[str, Any]]:
        answer = server.read(
            server.schedules.recurring_run_service_list_recurring_runs,
            experiment_id=request.experiment_id, filter=named(request.name), page_size=_PAGE,
        )  # fmt: skip
        return [
            schedule for schedule in answer.get("recurringRuns", []) if schedule.get("display_name") == request.name
        ]

    def find() -> dict[str, Any] | None:
        return next((schedule for schedule in alike() if request.marker in schedule.get("description", "")), None)

    body = request.body() | {
        "trigger": {"cron_schedule": {"cron": cron}},
        "max_concurrency": "1",
        "no_catchup": True,
        "mode": "ENABLE",
    }
    made, _ = server.create(server.schedules.recurring_run_service_create_recurring_run, find, recurring_run=body)
    ours = [
        str(schedule["recurring_run_id"]) for schedule in alike() if schedule.get("description", "").startswith(MARKER)
    ]
    replaced = [old for old in ours if old != made["recurring_run_id"]]
    for old in replaced:
        server.find(server.schedules.recurring_run_service_delete_recurring_run, recurring_run_id=old)
    return made, replaced
