"""What a version has shown, as the registry or the history keeps it: by it a candidate and a champion are compared."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kineflow.registry.aliases import (
    CHAMPION,
    CLIP_SET_TAG,
    CLIPS_TAG,
    DATA_TAG,
    LATENCY_TAG,
    METRICS_TAG,
    OUTCOMES_TAG,
    PROMOTED_TAG,
    PROTOCOL_DIGEST_TAG,
    PROTOCOL_TAG,
    SIZE_TAG,
    VALIDATION_TAG,
    aliased,
)
from kineflow.registry.history import events_of
from kineflow.registry.measured import Measured
from kineflow.registry.outcomes import MAX_OUTCOMES_BYTES, OUTCOMES_FILE, Outcomes
from kineflow.serving.stored_files import StoredVersion, fetch, stored
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of
from kineflow.storage.safe_json import parse_json


@dataclass(frozen=True)
class Standing:
    """A version and what it has shown.

    Attributes:
        version: With its files.
        measured: Its figures.
        holds_alias: Of a champion: whether the alias is there; else it is the last one that was.
    """

    version: StoredVersion
    measured: Measured
    holds_alias: bool = True

    def plain(self) -> dict[str, Any]:
        """What the history keeps, from which :func:`champion_of` makes it again when the version is deleted."""
        return {
            "metrics": self.measured.headline,
            "clips_digest": self.measured.clips_digest,
            "clips": self.measured.clips,
            "protocol": self.measured.protocol,
            "protocol_sha256": self.measured.protocol_digest,
            "source": self.version.source,
            "outcomes": self.version.tags.get(OUTCOMES_TAG, ""),
        }


def standing_of(client: Any, version: Any, store: str, *, holds_alias: bool = True) -> Standing:
    """Of a registered version.

    Raises:
        KineflowError: It does not say what it has shown.
    """
    tags = version.tags
    try:
        metrics = {str(key): float(value) for key, value in parse_json(tags[METRICS_TAG]).items()}
        measured = Measured(
            metrics,
            tags[DATA_TAG],
            int(tags.get(CLIPS_TAG, 0)),
            protocol=tags.get(PROTOCOL_TAG, ""),
            latency_ms=float(tags[LATENCY_TAG]) if LATENCY_TAG in tags else None,
            size_mb=float(tags[SIZE_TAG]) / 1e6 if SIZE_TAG in tags else None,
            protocol_digest=tags.get(PROTOCOL_DIGEST_TAG, ""),
            clip_set=tags.get(CLIP_SET_TAG, ""),
            validation=tags.get(VALIDATION_TAG, ""),
        )
    except (KeyError, ValueError, AttributeError, TypeError):
        raise KineflowError(
            f"version {version.version} of {version.name!r} does not say what it has shown",
            remedy="register the model with the register step, which stores its evaluation",
        ) from None
    return Standing(stored(client, version, store), measured, holds_alias)


def champion_of(client: Any, name: str, store: str) -> Standing | None:
    """The champion; where the alias is gone, the last one there was; None where there never was one.

    Raises:
        KineflowError: It does not say what it has shown.
    """
    champion = aliased(client, name, CHAMPION)
    if champion is not None:
        return standing_of(client, champion, store)
    for event in events_of(client, name, moves_only=True):
        if event.state == "done":
            return _remembered(event.model, event.version, event.shown, store)
    promoted = [each for each in client.search_model_versions(f"name = '{name}'") if each.tags.get(PROMOTED_TAG)]
    latest = max(promoted, key=lambda each: str(each.tags[PROMOTED_TAG]), default=None)  # before there was a history
    return None if latest is None else standing_of(client, latest, store, holds_alias=False)


def outcomes_of_version(standing: Standing) -> Outcomes | str:
    """What it answered to each clip; or why that is not known, in words."""
    digest = standing.version.tags.get(OUTCOMES_TAG)
    if not digest:
        return f"the answers of {standing.version.label} to single clips were not kept; register it again"
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = fetch(standing.version, OUTCOMES_FILE, Path(folder), MAX_OUTCOMES_BYTES)
            if sha256_of(path) != digest:
                return f"the answers of {standing.version.label} to single clips are not those that were registered"
            return Outcomes.load(path)
    except KineflowError as error:
        return f"the answers of {standing.version.label} to single clips cannot be had: {error.problem}"


def _remembered(name: str, number: str, shown: Mapping[str, Any], store: str) -> Standing:
    try:
        metrics = {str(key): float(value) for key, value in shown["metrics"].items()}
        measured = Measured(
            metrics,
            str(shown["clips_digest"]),
            int(shown["clips"]),
            protocol=str(shown["protocol"]),
            protocol_digest=str(shown.get("protocol_sha256", "")),
        )
        version = StoredVersion(name, number, str(shown["source"]), store, {OUTCOMES_TAG: str(shown["outcomes"])})
    except (KeyError, ValueError, AttributeError, TypeError):
        raise KineflowError(
            f"the history does not say what version {number} of {name!r}, the last champion, had shown",
            remedy="compare by hand, and promote with --first",
        ) from None
    return Standing(version, measured, holds_alias=False)
