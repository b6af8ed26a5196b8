"""Which policy holds for a registered model: one for all of its versions, where a team can review it.

The section ``registration`` of the project that promotes comes first: it is under version control. Elsewhere it is the
tag ``kineflow.policy`` of the registered model, which every run of the step ``register`` writes. A version keeps none:
the one that a policy is to stop may not choose it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kineflow.registry.aliases import MAX_MODEL_TAG_CHARS, POLICY_TAG
from kineflow.registry.policy import Gate
from kineflow.registry.registration_settings import RegistrationSettings
from kineflow.storage.config import parse_params, read_yaml
from kineflow.storage.errors import KineflowError
from kineflow.storage.safe_json import parse_json

GIVEN = "the caller"
OF_THE_MODEL = f"tag {POLICY_TAG} of the registered model"
_SECTION = "registration"


@dataclass(frozen=True)
class Policy:
    """What promoting a model asks for.

    Attributes:
        gate: The policy.
        read_from: Where it was read.
        note: What whoever promotes should know of it; empty for nothing.
        is_news: Whether the registered model's tag has another, or none.
    """

    gate: Gate
    read_from: str
    note: str = ""
    is_news: bool = False

    def plain(self) -> dict[str, Any]:
        """For the record: the gate and where it was read."""
        return {"gate": self.gate.model_dump(mode="json"), "read_from": self.read_from}


def policy_of(name: str, tags: Mapping[str, str], project: Path) -> Policy:
    """The policy of a registered model: the project's where it has one of that name, else the model's tag.

    Args:
        name: Of the registered model.
        tags: Its tags.
        project: Folder whose ``params.yaml`` and ``params/`` are looked at.

    Raises:
        KineflowError: There is none, it cannot be read, or files of the project differ about it.
    """
    found = _of_project(name, project)
    if found is None:
        if POLICY_TAG not in tags:
            raise KineflowError(
                f"no policy says what a champion of {name!r} must show",
                where=project,
                remedy=f"promote in the project whose parameters have the section {_SECTION} of that name, "
                "or run the register step again, which keeps it with the registered model",
            )
        return Policy(_parsed(tags[POLICY_TAG], name), OF_THE_MODEL)
    gate, path = found
    read_from = f"{_SECTION} of {path.relative_to(project)}"
    if _says(tags.get(POLICY_TAG, ""), gate, name):
        return Policy(gate, read_from)
    note = f"the {OF_THE_MODEL} differs from {read_from}, which holds" if POLICY_TAG in tags else ""
    return Policy(gate, read_from, note, is_news=True)


def policy_text(gate: Gate) -> str:
    """A policy as the tag of a registered model.

    Raises:
        KineflowError: It is longer than MLflow takes.
    """
    text = json.dumps(gate.model_dump(mode="json"), sort_keys=True)
    if len(text) > MAX_MODEL_TAG_CHARS:
        raise KineflowError(
            f"a policy of {len(text)} characters; a registered model keeps {MAX_MODEL_TAG_CHARS}",
            where=_SECTION,
            remedy="give fewer floors",
        )
    return text


def _says(text: str, gate: Gate, name: str) -> bool:
    """Whether a tag, which an earlier release may have written with fewer keys, has this policy."""
    try:
        return _parsed(text, name) == gate
    except KineflowError:
        return False


def _parsed(text: str, name: str) -> Gate:
    try:
        return parse_params(Gate, parse_json(text), where=POLICY_TAG)
    except (ValueError, KineflowError) as error:
        problem = error.problem if isinstance(error, KineflowError) else str(error)
        raise KineflowError(
            f"the policy cannot be read: {problem}",
            where=f"tag {POLICY_TAG} of the registered model {name!r}",
            remedy="run the register step again, which writes it anew",
        ) from None


def _of_project(name: str, project: Path) -> tuple[Gate, Path] | None:
    found: list[tuple[Gate, Path]] = []
    for path in _parameter_files(project):
        section = read_yaml(path).get(_SECTION)
        if isinstance(section, Mapping) and section.get("name") == name:
            try:
                found.append((parse_params(RegistrationSettings, section, where=_SECTION).gate, path))
            except KineflowError as error:
                raise KineflowError(
                    error.problem, where=path, remedy="correct the policy; nothing is promoted"
                ) from None
    if other := next((path for gate, path in found if gate != found[0][0]), None):
        raise KineflowError(
            f"{found[0][1].relative_to(project)} and {other.relative_to(project)} ask for different things of {name!r}",
            where=project,
            remedy=f"give both the same section {_SECTION}, or the models different names",
        )
    return found[0] if found else None


def _parameter_files(project: Path) -> list[Path]:
    files = [project / "params.yaml", *sorted((project / "params").rglob("*.y*ml"))]
    return [path for path in files if path.is_file()]
