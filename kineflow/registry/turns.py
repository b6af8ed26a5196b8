"""One at a time: who moves a model's aliases has the turn, wherever the others are, and what was cut short is mended.

MLflow has no compare-and-swap, and a lock file is of one machine. So whoever wants to move aliases first records it
(:func:`kineflow.registry.history.begin`) and then looks who else has: of two that do so, at least one sees the other,
and withdraws. A turn ends by itself after :data:`TURN_SEC`. What it had begun is then finished by whoever comes next,
if the champion was moved; if not, nothing was.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kineflow.registry.aliases import APPLIED_TAG, CANDIDATE, CHAMPION, PREVIOUS, PROMOTED_TAG, aliased
from kineflow.registry.history import Event, begin, describe, end, events_of
from kineflow.storage.credentials import mask_uri, redact
from kineflow.storage.errors import KineflowError
from kineflow.tracking.store import database_file

TURN_SEC = 60.0
WAIT_SEC = 20.0
FROM_TAG = "promoted_from"
ROLLED_BACK_TAG = "rolled_back_at"
NONE = "none"

_CLOCKS_DIFFER_SEC = 15.0
_ours: set[str] = set()  # holders of turns in this process


@dataclass
class Turn:
    """The right to move a model's aliases.

    Attributes:
        event: What is done with it.
        mended: What was found cut short, in words.
    """

    event: Event
    mended: tuple[str, ...]
    _client: Any
    _ends: float
    has_moved: bool = False
    is_recorded: bool = True

    def record(self, event: Event) -> None:
        """What is done with the turn, known to whoever has to mend it."""
        describe(self._client, event)
        self.event = event

    def carry_out(self, event: Event) -> None:
        """Move the aliases, and see that they are where they are to be.

        Raises:
            KineflowError: The turn is over, or another has moved them.
        """
        if time.monotonic() > self._ends:
            raise KineflowError(
                f"the turn ended after {TURN_SEC:.0f} s, before anything was moved",
                where=f"model {event.model!r}",
                remedy="run the command again",
            )
        self.record(event)
        self.has_moved = True
        _carry_out(self._client, event)
        held = {alias: str(number) for alias, number in self._client.get_registered_model(event.model).aliases.items()}
        wanted = event.champion if event.action == "promotion" else event.previous
        if (held.get(CHAMPION), held.get(PREVIOUS)) != (event.version, wanted or held.get(PREVIOUS)):
            raise KineflowError(
                f"somebody else has moved the aliases meanwhile: {held}",
                where=f"model {event.model!r}",
                remedy=f"see what happened with: kineflow history {event.model}",
            )


@contextmanager
def turn(client: Any, uri: str, event: Event) -> Iterator[Turn]:
    """Have the turn for the block; wait for it :data:`WAIT_SEC` at most. Call it under ``store_lock``.

    What others were cut short in is mended first. When the block raises and nothing was moved, nothing is left of it;
    when something was, the event stays open, and the next command mends it.

    Raises:
        KineflowError: Another keeps the turn, or the store went away.
    """
    from mlflow.exceptions import MlflowException

    gives_up = time.monotonic() + WAIT_SEC
    while True:
        ends = time.monotonic() + TURN_SEC
        holder = f"{_machine()}:{os.getpid()}:{secrets.token_hex(8)}"
        _ours.add(holder)  # before others can see it
        try:
            own = begin(client, uri, replace(event, holder=holder, until=time.time() + TURN_SEC))
            others = [other for other in open_events(client, event.model) if other.run_id != own.run_id]
            live = [other for other in others if not _is_over(other, uri)]
            if live:
                client.delete_run(own.run_id)
        except BaseException:
            _ours.discard(holder)  # what is left of it is mended as any other's
            raise
        if not live:
            break
        _ours.discard(holder)
        if time.monotonic() > gives_up:
            raise KineflowError(
                f"{_words(live[0])} is under way",
                where=f"model {event.model!r}, {mask_uri(uri)}",
                remedy=f"wait until it is done; where it was cut short, it is mended after {TURN_SEC:.0f} s",
            )
        time.sleep(random.uniform(0.1, 0.6))
    mine = Turn(own, (), client, ends)
    try:
        mine.mended = tuple(filter(None, (_mend(client, other) for other in reversed(others))))
        yield mine
        if mine.is_recorded:
            end(client, mine.event)
    except MlflowException as error:
        if not mine.has_moved:
            raise
        raise KineflowError(
            f"the store went away while aliases were moved: whether version {mine.event.version} is the champion of "
            f"{event.model!r} cannot be told from here ({redact(error.message).splitlines()[0][:200]})",
            where=mask_uri(uri),
            remedy="run the command again when it answers: what was begun is named, and finished",
        ) from None
    finally:
        if not mine.has_moved and mine.event.action != "refusal":
            with suppress(Exception):  # nothing was moved, so nothing is left of it
                client.delete_run(own.run_id)
        _ours.discard(holder)


def mend(client: Any, uri: str, name: str) -> tuple[str, ...]:
    """Finish or close what was cut short, and say so; call it under ``store_lock``.

    Raises:
        KineflowError: Another keeps the turn.
    """
    if not cut_short(client, uri, name):
        return ()
    with turn(client, uri, Event("promotion", name, NONE)) as mine:
        mine.is_recorded = False
    return mine.mended


def open_events(client: Any, name: str) -> list[Event]:
    """Promotions and rollbacks of a model that have begun and not ended, the latest first."""
    return events_of(client, name, under_way=True, moves_only=True)


def cut_short(client: Any, uri: str, name: str) -> list[str]:
    """What was cut short and the next promotion or rollback will mend, in words."""
    return [f"{_words(event)} was cut short" for event in open_events(client, name) if _is_over(event, uri)]


def _mend(client: Any, event: Event) -> str:
    """In words what was done; nothing where others have ended it since it was seen."""
    run = client.get_run(event.run_id).info
    if (run.status, run.lifecycle_stage) != ("RUNNING", "active"):
        return ""
    champion = aliased(client, event.model, CHAMPION)
    if champion is not None and str(champion.version) == event.version:
        _carry_out(client, event, champion_moved=True)
        end(client, event)
        return f"{_words(event)} was cut short, and is finished now"
    end(client, event, nothing_moved=True)
    return f"{_words(event)} was cut short before anything was moved"


def _words(event: Event) -> str:
    of = "of" if event.action == "promotion" else "to"
    return f"the {event.action} {of} version {event.version} by {event.by} at {event.at}"


def _carry_out(client: Any, event: Event, *, champion_moved: bool = False) -> None:
    """The champion first: whether it has moved tells whether the rest is still to be done."""
    name = event.model
    if not champion_moved:
        client.set_registered_model_alias(name, CHAMPION, event.version)
    if event.action == "promotion":
        if event.champion is not None:
            client.set_registered_model_alias(name, PREVIOUS, event.champion)
        facts = {
            PROMOTED_TAG: event.at,
            "promoted_by": event.by,
            FROM_TAG: event.champion or NONE,
            "validation_status": "passed",
            APPLIED_TAG: json.dumps(event.policy, sort_keys=True),
        }
        for key, value in facts.items():
            client.set_model_version_tag(name, event.version, key, value)
        client.delete_model_version_tag(name, event.version, ROLLED_BACK_TAG)
        return
    if event.previous is None:
        client.delete_registered_model_alias(name, PREVIOUS)
    else:
        client.set_registered_model_alias(name, PREVIOUS, event.previous)
    candidate = aliased(client, name, CANDIDATE)
    if candidate is not None and str(candidate.version) == event.champion:
        client.delete_registered_model_alias(name, CANDIDATE)
    facts = {ROLLED_BACK_TAG: event.at, "rolled_back_by": event.by, "validation_status": "rolled back"}
    for key, value in facts.items():
        client.set_model_version_tag(name, event.champion, key, value)


def _is_over(event: Event, uri: str) -> bool:
    """Whether nobody is at it any more."""
    if event.holder in _ours:
        return False
    if database_file(uri) is not None:  # whose lock the caller holds
        return True
    machine, process, _ = f"{event.holder}::".split(":", 2)
    if machine and machine == _machine() and process.isdecimal() and not _lives(int(process)):
        return True
    return time.time() > event.until + _CLOCKS_DIFFER_SEC


def _lives(process: int) -> bool:
    if process == os.getpid():
        return False  # and the event is not among ours
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _machine() -> str:
    """A hash that only processes which see each other's numbers share; empty where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return hashlib.sha256(f"{boot}{Path('/proc/self/ns/pid').stat().st_ino}".encode()).hexdigest()[:16]
    except OSError:
        return ""
