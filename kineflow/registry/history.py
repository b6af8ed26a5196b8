"""Every promotion, refusal and rollback of a registered model: who, when, why, by which policy and on which figures.

Each is a run of the MLflow experiment ``promotions``, so that deleting a version or a model takes no history with it. A
run that has not ended is one that is under way, or was cut short (:mod:`kineflow.registry.turns`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from kineflow.registry.aliases import check_name, store_errors
from kineflow.storage.credentials import redact
from kineflow.storage.safe_json import parse_json
from kineflow.tracking.runs import KIND_TAG, MAX_RUN_TAG_CHARS, find_or_create_experiment
from kineflow.tracking.store import connect, tracking_uri

EXPERIMENT = "promotions"
MOST_EVENTS = 1000
"""Of a model that are read, the latest."""

Action = Literal["promotion", "refusal", "rollback"]
State = Literal["done", "cut", "under way"]

_PREFIX = "promotion."
_MODEL, _ACTION = f"{_PREFIX}model", f"{_PREFIX}action"
_MOST_WORDS = 1000
_MOST_REASONS = 12
_STATES: Mapping[str, State] = {"FINISHED": "done", "RUNNING": "under way", "SCHEDULED": "under way"}


@dataclass(frozen=True)
class Event:
    """Something that was decided about a registered model.

    Attributes:
        action: What.
        model: Name of the registered model.
        version: The one that is to be champion, or was refused.
        champion: The champion before; None when there was none.
        previous: What the alias ``previous`` is to be after a rollback; None for nothing.
        by: Who.
        why: In the words of who did it; may be empty.
        reasons: Of the gate.
        policy: The gate and where it was read; empty for a rollback.
        shown: What the version had shown, and where its files lie.
        at: When, ISO 8601 in UTC.
        state: Whether it is done, under way, or was cut short before anything was moved.
        run_id: Of its MLflow run; empty until it is recorded.
        holder: Which process is at it.
        until: Until when, in seconds since 1970, no other may be.
    """

    action: Action
    model: str
    version: str
    champion: str | None = None
    previous: str | None = None
    by: str = ""
    why: str = ""
    reasons: tuple[str, ...] = ()
    policy: Mapping[str, Any] = field(default_factory=dict)
    shown: Mapping[str, Any] = field(default_factory=dict)
    at: str = ""
    state: State = "done"
    run_id: str = ""
    holder: str = ""
    until: float = 0.0

    def plain(self) -> dict[str, Any]:
        """For people and programs: all but what processes need of each other."""
        hidden = ("run_id", "holder", "until")
        return {name: value for name, value in vars(self).items() if name not in hidden} | {
            "reasons": list(self.reasons)
        }


def history(name: str, *, root: Path | None = None) -> list[Event]:
    """What was decided about a registered model, latest first; :data:`MOST_EVENTS` at most.

    Args:
        name: Of the registered model, which may be gone.
        root: The project's folder; the one around when None.

    Raises:
        KineflowError: The name is malformed, or the store cannot be used.
    """
    check_name(name)
    uri = tracking_uri(root)
    client = connect(uri, must_exist=True)
    with store_errors(uri):
        return events_of(client, name)


def events_of(client: Any, name: str, *, under_way: bool = False, moves_only: bool = False) -> list[Event]:
    """As :func:`history`, with a client. Runs that others wrote are left out.

    Args:
        client: Of the store.
        name: Of the registered model.
        under_way: Only what has not ended.
        moves_only: No refusals.
    """
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    query = f"tags.`{_MODEL}` = '{name}'" + (" AND attributes.status = 'RUNNING'" if under_way else "")
    query += f" AND tags.`{_ACTION}` != 'refusal'" if moves_only else ""
    runs = client.search_runs(
        [experiment.experiment_id], query, order_by=["attributes.start_time DESC"], max_results=MOST_EVENTS
    )
    return [event for event in map(_event_of, runs) if event is not None]


def begin(client: Any, uri: str, event: Event) -> Event:
    """Record an event as under way, and give it with its id; call it under :func:`store_lock`."""
    experiment = find_or_create_experiment(client, uri, EXPERIMENT)
    event = replace(event, at=now(), state="under way")
    run = client.create_run(
        experiment,
        start_time=int(time.time() * 1000),
        run_name=f"{event.model} {event.version}: {event.action}",
        tags=_tags_of(event),
    )
    return replace(event, run_id=run.info.run_id)


def describe(client: Any, event: Event) -> None:
    """Record anew what an event is, at once."""
    from mlflow.entities import RunTag

    client.log_batch(event.run_id, tags=[RunTag(key, value) for key, value in _tags_of(event).items()])


def end(client: Any, event: Event, *, nothing_moved: bool = False) -> None:
    """Close what :func:`begin` began."""
    client.set_terminated(event.run_id, "KILLED" if nothing_moved else "FINISHED")


def record(client: Any, uri: str, event: Event) -> None:
    """Record an event that moves nothing; call it under :func:`store_lock`."""
    end(client, begin(client, uri, event))


def now() -> str:
    """ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _tags_of(event: Event) -> dict[str, str]:
    values: dict[str, Any] = {
        **{name: getattr(event, name) or "" for name in ("action", "model", "version", "champion", "previous")},
        "by": redact(event.by)[:_MOST_WORDS],
        "why": redact(event.why)[:_MOST_WORDS],
        "reasons": json.dumps([reason[: _MOST_WORDS // 2] for reason in event.reasons[:_MOST_REASONS]]),
        "policy": json.dumps(event.policy, sort_keys=True),
        "shown": json.dumps(event.shown, sort_keys=True),
        "at": event.at,
        "holder": event.holder,
        "until": f"{event.until:.0f}",
    }
    tags = {f"{_PREFIX}{name}": str(value) for name, value in values.items()}
    # A longer one would be refused by MLflow, or cut and not be read again.
    return {key: text if len(text) <= MAX_RUN_TAG_CHARS else "{}" for key, text in tags.items()} | {
        KIND_TAG: "promotion"
    }


def _event_of(run: Any) -> Event | None:
    tags = {key.removeprefix(_PREFIX): value for key, value in run.data.tags.items() if key.startswith(_PREFIX)}
    try:
        if tags["action"] not in ("promotion", "refusal", "rollback"):
            return None
        reasons, policy, shown = (parse_json(tags[name]) for name in ("reasons", "policy", "shown"))
        return Event(
            tags["action"],
            tags["model"],
            tags["version"],
            tags["champion"] or None,
            tags["previous"] or None,
            tags["by"],
            tags["why"],
            tuple(map(str, reasons)),
            dict(policy),
            dict(shown),
            tags["at"],
            "done" if tags["action"] == "refusal" else _STATES.get(run.info.status, "cut"),  # it moves nothing
            run.info.run_id,
            tags["holder"],
            float(tags["until"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
