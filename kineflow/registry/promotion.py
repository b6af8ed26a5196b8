"""Promotion and rollback: which registered version is in use."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kineflow.registry.aliases import (
    CANDIDATE,
    CHAMPION,
    CLIPS_TAG,
    DATA_TAG,
    GATE_TAG,
    METRICS_TAG,
    NOT_THERE,
    PREVIOUS,
    aliased,
    check_name,
    store_errors,
)
from kineflow.registry.measured import Measured
from kineflow.registry.policy import Decision, Gate, decide
from kineflow.storage.credentials import mask_uri, redact
from kineflow.storage.errors import KineflowError
from kineflow.storage.safe_json import parse_json
from kineflow.tracking.store import connect, store_lock, tracking_uri

_FROM_TAG = "promoted_from"
_NONE = "none"


@dataclass(frozen=True)
class Promotion:
    """What :func:`promote` decided and did.

    Attributes:
        name: Of the registered model.
        version: The candidate.
        champion: The champion's version before; None when there was none.
        decision: With its reasons.
        applied: Whether the alias was moved.
    """

    name: str
    version: str
    champion: str | None
    decision: Decision
    applied: bool

    @property
    def allowed(self) -> bool:
        """Whether the gate holds."""
        return self.decision.allowed

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, or why not."""
        return self.decision.reasons


@dataclass(frozen=True)
class Rollback:
    """What :func:`rollback` did: the champion's version now, and before."""

    name: str
    version: str
    replaced: str


def promote(
    name: str,
    version: str | None = None,
    *,
    gate: Gate | None = None,
    dry_run: bool = True,
    other_data_allowed: bool = False,
    by: str | None = None,
    root: Path | None = None,
) -> Promotion:
    """Make a version the champion if the gate holds.

    Args:
        name: Of the registered model.
        version: The candidate; the one with the alias ``candidate`` when None.
        gate: What is asked for; the gate it was registered with when None.
        dry_run: Decide only.
        other_data_allowed: Compare with the champion even if it was evaluated on other data.
        by: Who promotes, for the record; the user's name when None.
        root: The project's folder; the working folder when None.

    Raises:
        KineflowError: There is no such model or version, or the store cannot be used.
    """
    check_name(name)
    uri = tracking_uri(root)
    client = connect(uri, must_exist=True)
    with store_errors(uri), store_lock(uri):
        candidate, champion = _version(client, name, version, uri), aliased(client, name, CHAMPION)
        number, before = str(candidate.version), None if champion is None else str(champion.version)
        if number == before:
            decision = Decision(False, (f"version {number} is the champion already",))
            return Promotion(name, number, before, decision, applied=False)
        held = None if champion is None else _evaluation_of(champion)
        measured, gate = _evaluation_of(candidate), gate or _gate_of(candidate)
        decision = decide(measured, held, gate, other_data_allowed=other_data_allowed)
        if decision.allowed and not dry_run:
            _set_champion(client, name, number, before, by=by or _user())
    return Promotion(name, number, before, decision, applied=decision.allowed and not dry_run)


def rollback(name: str, *, by: str | None = None, root: Path | None = None) -> Rollback:
    """Return to the champion before the present one; again, to the one before that.

    Args:
        name: Of the registered model.
        by: Who does it, for the record; the user's name when None.
        root: The project's folder; the working folder when None.

    Raises:
        KineflowError: There is no champion, or none before it, or the store cannot be used.
    """
    check_name(name)
    uri = tracking_uri(root)
    client = connect(uri, must_exist=True)
    with store_errors(uri), store_lock(uri):
        champion, previous = aliased(client, name, CHAMPION), aliased(client, name, PREVIOUS)
        if champion is None or previous is None:
            missing = "no champion" if champion is None else "no champion before the present one"
            raise KineflowError(
                f"model {name!r} has {missing}", where=mask_uri(uri), remedy="promote a version: kineflow promote"
            )
        client.set_model_version_tag(name, champion.version, "rolled_back_at", _now())
        client.set_model_version_tag(name, champion.version, "rolled_back_by", by or _user())
        client.set_registered_model_alias(name, CHAMPION, previous.version)
        older = previous.tags.get(_FROM_TAG, _NONE)
        if older in (_NONE, str(champion.version)):
            client.delete_registered_model_alias(name, PREVIOUS)
        else:
            client.set_registered_model_alias(name, PREVIOUS, older)
    return Rollback(name, str(previous.version), str(champion.version))


def _version(client: Any, name: str, version: str | None, uri: str) -> Any:
    from mlflow.exceptions import MlflowException

    registered = None
    if version is None:
        registered = aliased(client, name, CANDIDATE)
    else:
        try:
            registered = client.get_model_version(name, str(version))
        except MlflowException as error:
            if error.error_code not in NOT_THERE:
                raise
    if registered is None:
        which = f"version {version!r}" if version else f"alias {CANDIDATE!r}"
        raise KineflowError(
            f"no registered model {name!r} with {which}", where=mask_uri(uri), remedy="run the register step first"
        )
    return registered


def _set_champion(client: Any, name: str, version: str, before: str | None, *, by: str) -> None:
    """Tags first: a version that bears the alias always says since when, through whom, and what it replaced."""
    facts = {
        "promoted_at": _now(),
        "promoted_by": redact(by),
        _FROM_TAG: before or _NONE,
        "validation_status": "passed",
    }
    for key, value in facts.items():
        client.set_model_version_tag(name, version, key, value)
    if before is not None:
        client.set_registered_model_alias(name, PREVIOUS, before)
    client.set_registered_model_alias(name, CHAMPION, version)


def _evaluation_of(version: Any) -> Measured:
    try:
        metrics = {str(key): float(value) for key, value in parse_json(version.tags[METRICS_TAG]).items()}
        return Measured(metrics, version.tags[DATA_TAG], int(version.tags.get(CLIPS_TAG, 0)))
    except (KeyError, ValueError, AttributeError, TypeError):
        raise KineflowError(
            f"version {version.version} of {version.name!r} does not say what it has shown",
            remedy="register the model with the register step, which stores its evaluation",
        ) from None


def _gate_of(version: Any) -> Gate:
    try:
        return Gate(**parse_json(version.tags[GATE_TAG]))
    except (KeyError, ValueError, TypeError):
        return Gate()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
