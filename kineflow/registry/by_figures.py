"""A version held against the champion by the figures that both have shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kineflow.registry.aliases import CANDIDATE, NOT_THERE, aliased, store_errors
from kineflow.registry.paired import Paired, paired_gain
from kineflow.registry.policy import Decision, Gate, decide
from kineflow.registry.standing import Standing, champion_of, outcomes_of_version, standing_of
from kineflow.registry.stated_policy import GIVEN, Policy
from kineflow.registry.turns import ROLLED_BACK_TAG
from kineflow.storage.credentials import mask_uri
from kineflow.storage.errors import KineflowError
from kineflow.tracking.store import connect, tracking_uri


@dataclass(frozen=True)
class AgainstChampion:
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
        against = AgainstChampion(client, uri, name, Policy(gate, GIVEN), other_data_allowed=False, first=False)
        champion = against.champion()
        if champion_number(champion) == version:
            return Decision(False, (f"version {version} is the champion already",))
        return against.decide(version_of(client, name, version, uri), champion, asked_by_name=False)


def version_of(client: Any, name: str, version: str | None, uri: str) -> Any:
    """MLflow's version of that number, or the candidate; KineflowError where there is none."""
    registered = aliased(client, name, CANDIDATE) if version is None else numbered(client, name, version)
    if registered is None:
        which = f"version {version!r}" if version else f"alias {CANDIDATE!r}"
        raise KineflowError(
            f"no registered model {name!r} with {which}", where=mask_uri(uri), remedy="run the register step first"
        )
    return registered


def numbered(client: Any, name: str, version: str) -> Any | None:
    """MLflow's version of that number; None where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version(name, str(version))
    except MlflowException as error:
        if error.error_code not in NOT_THERE:
            raise
    return None


def champion_number(standing: Standing | None) -> str | None:
    """The number of a version that holds the alias now."""
    return standing.version.number if standing is not None and standing.holds_alias else None
