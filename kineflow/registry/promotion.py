"""Promotion and rollback: which registered version is in use."""

from __future__ import annotations

import getpass
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kineflow.registry.aliases import (
    CANDIDATE,
    CHAMPION,
    NOT_THERE,
    POLICY_TAG,
    PREVIOUS,
    aliased,
    check_name,
    store_errors,
)
from kineflow.registry.history import Event, record
from kineflow.registry.outcomes import OUTCOMES_FILE
from kineflow.registry.paired import Paired, paired_gain
from kineflow.registry.policy import Decision, Gate, decide
from kineflow.registry.standing import Standing, champion_of, outcomes_of_version, standing_of
from kineflow.registry.stated_policy import GIVEN, Policy, policy_of, policy_text
from kineflow.registry.turns import FROM_TAG, NONE, ROLLED_BACK_TAG, Turn, cut_short, mend, turn
from kineflow.serving.served_files import check_served_files
from kineflow.serving.stored_files import checked_bundle
from kineflow.storage.credentials import mask_uri, redact
from kineflow.storage.errors import KineflowError
from kineflow.storage.project import current_project
from kineflow.tracking.store import connect, store_lock, tracking_uri


@dataclass(frozen=True)
class Promotion:
    """What :func:`promote` decided and did.

    Attributes:
        name: Of the registered model.
        version: The candidate.
        champion: The champion's version before; None when there was none.
        decision: With its reasons.
        applied: Whether the alias was moved.
        policy: By which it was decided.
        notes: What else whoever promotes should know.
    """

    name: str
    version: str
    champion: str | None
    decision: Decision
    applied: bool
    policy: Policy
    notes: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the gate holds."""
        return self.decision.allowed

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, or why not."""
        return self.decision.reasons

    def plain(self) -> dict[str, Any]:
        """For programs."""
        return {
            "model": self.name,
            "version": self.version,
            "champion_before": self.champion,
            "allowed": self.allowed,
            "applied": self.applied,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "policy": self.policy.plain(),
        }


@dataclass(frozen=True)
class Rollback:
    """What :func:`rollback` did: the champion's version now, and before; and what it mended."""

    name: str
    version: str
    replaced: str
    notes: tuple[str, ...] = ()


def promote(
    name: str,
    version: str | None = None,
    *,
    gate: Gate | None = None,
    dry_run: bool = True,
    other_data_allowed: bool = False,
    first: bool = False,
    by: str | None = None,
    why: str = "",
    root: Path | None = None,
) -> Promotion:
    """Make a version the champion if the policy of its model holds and its files are what was registered.

    Args:
        name: Of the registered model.
        version: The candidate; the one with the alias ``candidate`` when None.
        gate: What is asked for; the policy of the registered model when None
            (:mod:`kineflow.registry.stated_policy`).
        dry_run: Decide only; nothing is written.
        other_data_allowed: Compare with a champion that was evaluated on other data, or by another protocol.
        first: Where no version is the champion now, do not compare with the last one that was.
        by: Who promotes, for the record; the user's name when None.
        why: For the record too.
        root: The project's folder; the one around when None.

    Raises:
        KineflowError: There is no such model or version, no policy, the store cannot be used, or others keep the turn.
    """
    check_name(name)
    uri, project = tracking_uri(root), current_project() if root is None else root
    client = connect(uri, must_exist=True)
    with store_errors(uri):
        candidate = _version(client, name, version, uri)
        with store_lock(uri):
            mended = tuple(cut_short(client, uri, name)) if dry_run else mend(client, uri, name)
        policy = (
            policy_of(name, client.get_registered_model(name).tags, project) if gate is None else Policy(gate, GIVEN)
        )
        promoting = _Promoting(client, uri, name, policy, other_data_allowed=other_data_allowed, first=first)
        champion = promoting.champion()
        number, before = str(candidate.version), _number(champion)
        notes = (*mended, *filter(None, (policy.note,)))
        if number == before:
            decision = Decision(False, (f"version {number} is the champion already",))
            return Promotion(name, number, before, decision, applied=False, policy=policy, notes=notes)
        decision = promoting.decide(candidate, champion, asked_by_name=version is not None)
        event = Event(
            "promotion", name, number, before, by=redact(by or _user()), why=why, reasons=decision.reasons,
            policy=policy.plain(), shown=standing_of(client, candidate, uri).plain(),
        )  # fmt: skip
        if dry_run or not decision.allowed:
            if not dry_run:
                with store_lock(uri):
                    record(client, uri, replace(event, action="refusal"))
            return Promotion(name, number, before, decision, applied=False, policy=policy, notes=notes)
        with store_lock(uri), turn(client, uri, event) as mine:
            now = promoting.champion()
            if _number(now) != before:  # while this one was looked at, another was promoted
                before = _number(now)
                decision = (
                    Decision(False, (f"version {number} has become the champion meanwhile",))
                    if before == number
                    else promoting.decide(candidate, now, asked_by_name=version is not None)
                )
            _apply(mine, decision, before)
            if decision.allowed and policy.is_news:
                client.set_registered_model_tag(name, POLICY_TAG, policy_text(policy.gate))
        return Promotion(
            name, number, before, decision, applied=decision.allowed, policy=policy, notes=notes + mine.mended
        )


def preview(name: str, version: str, gate: Gate, *, root: Path | None = None) -> Decision:
    """What a gate says of a version beside the present champion, by figures alone; nothing is written.

    Args:
        name: Of the registered model.
        version: Its number.
        gate: What is asked for.
        root: The project's folder; the one around when None.

    Raises:
        KineflowError: There is no such version, or the store cannot be used.
    """
    uri = tracking_uri(root)
    client = connect(uri, must_exist=True)
    with store_errors(uri):
        promoting = _Promoting(client, uri, name, Policy(gate, GIVEN), other_data_allowed=False, first=False)
        champion = promoting.champion()
        if _number(champion) == version:
            return Decision(False, (f"version {version} is the champion already",))
        return promoting.by_figures(_version(client, name, version, uri), champion, asked_by_name=False)


def rollback(name: str, *, by: str | None = None, why: str = "", root: Path | None = None) -> Rollback:
    """Return to the champion before the present one; again, to the one before that.

    The files of the one that is returned to are looked at first. The one that is left is no candidate any more.

    Args:
        name: Of the registered model.
        by: Who does it, for the record; the user's name when None.
        why: For the record too.
        root: The project's folder; the one around when None.

    Raises:
        KineflowError: There is no champion, or none before it that can be used; the store cannot be used; or others
            keep the turn.
    """
    from kineflow.serving.trial import try_bundle

    check_name(name)
    uri = tracking_uri(root)
    client = connect(uri, must_exist=True)
    with store_errors(uri):
        with store_lock(uri):
            mended = mend(client, uri, name)
        champion, previous = _pair(client, name, uri)
        standing = standing_of(client, previous, uri)
        check_served_files(standing.version, beside=(OUTCOMES_FILE,))
        with checked_bundle(standing.version) as bundle:
            try_bundle(bundle)
        event = Event(
            "rollback", name, str(previous.version), str(champion.version), by=redact(by or _user()), why=why,
            shown=standing.plain(),
        )  # fmt: skip
        with store_lock(uri), turn(client, uri, event) as mine:
            champion, again = _pair(client, name, uri)
            if (str(champion.version), str(again.version)) != (event.champion, event.version):
                raise KineflowError(
                    f"version {champion.version} has become the champion of {name!r} meanwhile",
                    where=mask_uri(uri),
                    remedy=f"see what happened with: kineflow history {name}",
                )
            older = previous.tags.get(FROM_TAG, NONE)
            is_older = older not in (NONE, event.champion) and _is_there(client, name, older)
            mine.carry_out(replace(mine.event, previous=older if is_older else None))
    return Rollback(name, event.version, str(event.champion), mended + mine.mended)


@dataclass(frozen=True)
class _Promoting:
    """What stays the same while candidates are held against champions."""

    client: Any
    uri: str
    name: str
    policy: Policy
    other_data_allowed: bool
    first: bool

    def champion(self) -> Standing | None:
        """The one to compare with, as it is now."""
        found = champion_of(self.client, self.name, self.uri)
        return None if found is not None and self.first and not found.holds_alias else found

    def decide(self, version: Any, champion: Standing | None, *, asked_by_name: bool) -> Decision:
        """By the figures first; when these allow it, by the files."""
        decision = self.by_figures(version, champion, asked_by_name=asked_by_name)
        candidate = standing_of(self.client, version, self.uri)
        return _looked_at(candidate) or decision if decision.allowed else decision

    def by_figures(self, version: Any, champion: Standing | None, *, asked_by_name: bool) -> Decision:
        """By what both have shown."""
        candidate, gate = standing_of(self.client, version, self.uri), self.policy.gate
        faults = [f"version {version.version} has no tag {tag!r}" for tag in gate.lineage if not version.tags.get(tag)]
        if ROLLED_BACK_TAG in version.tags and not asked_by_name:
            faults.append(
                f"version {version.version} was rolled back at {version.tags[ROLLED_BACK_TAG]}: "
                f"to promote it all the same, ask for it with --version {version.version}"
            )
        paired, unpaired = self._paired(candidate, champion)
        decision = decide(
            candidate.measured,
            None if champion is None else champion.measured,
            gate,
            paired=paired,
            unpaired=unpaired,
            other_data_allowed=self.other_data_allowed,
        )
        if champion is not None and not champion.holds_alias:
            words = (
                f"compared with version {champion.version.number}, the last champion, which is not there any more; "
                "--first does without"
            )
            decision = replace(decision, reasons=(*decision.reasons, words))
        if faults:
            decision = Decision(False, (*faults, *(() if decision.allowed else decision.reasons)))
        return decision

    def _paired(self, candidate: Standing, champion: Standing | None) -> tuple[Paired | None, str]:
        if champion is None or self.policy.gate.test == "none":
            return None, ""
        ours, theirs = outcomes_of_version(candidate), outcomes_of_version(champion)
        if isinstance(ours, str) or isinstance(theirs, str):
            return None, ours if isinstance(ours, str) else str(theirs)
        found = paired_gain(ours, theirs, self.policy.gate.primary_metric, self.policy.gate.level)
        return (None, found) if isinstance(found, str) else (found, "")


def _looked_at(candidate: Standing) -> Decision | None:
    """A refusal where the files cannot be used."""
    from kineflow.serving.trial import try_bundle

    try:
        check_served_files(candidate.version, beside=(OUTCOMES_FILE,))
        with checked_bundle(candidate.version) as bundle:
            try_bundle(bundle)
    except KineflowError as error:
        return Decision(False, (f"version {candidate.version.number} cannot be used: {error.problem}",))
    return None


def _apply(mine: Turn, decision: Decision, before: str | None) -> None:
    event = replace(mine.event, champion=before, reasons=decision.reasons)
    if decision.allowed:
        mine.carry_out(event)
    else:
        mine.record(replace(event, action="refusal"))


def _pair(client: Any, name: str, uri: str) -> tuple[Any, Any]:
    champion, previous = aliased(client, name, CHAMPION), aliased(client, name, PREVIOUS)
    if champion is None or previous is None:
        missing = "no champion" if champion is None else "no champion before the present one"
        raise KineflowError(
            f"model {name!r} has {missing}", where=mask_uri(uri), remedy="promote a version: kineflow promote"
        )
    return champion, previous


def _version(client: Any, name: str, version: str | None, uri: str) -> Any:
    registered = aliased(client, name, CANDIDATE) if version is None else _numbered(client, name, version)
    if registered is None:
        which = f"version {version!r}" if version else f"alias {CANDIDATE!r}"
        raise KineflowError(
            f"no registered model {name!r} with {which}", where=mask_uri(uri), remedy="run the register step first"
        )
    return registered


def _numbered(client: Any, name: str, version: str) -> Any | None:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version(name, str(version))
    except MlflowException as error:
        if error.error_code not in NOT_THERE:
            raise
    return None


def _is_there(client: Any, name: str, version: str) -> bool:
    return version.isdecimal() and _numbered(client, name, version) is not None


def _number(standing: Standing | None) -> str | None:
    return standing.version.number if standing is not None and standing.holds_alias else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
