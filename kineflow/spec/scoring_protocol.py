"""How the clips of an evaluation were scored: figures of two evaluations compare only where it is the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ScoringProtocol:
    """What makes a clip's scores, beside the model.

    Attributes:
        words: For people; may be put otherwise in a later release.
        facts: Everything that can change a figure.
    """

    words: str
    facts: Mapping[str, str | int]

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the facts: equal for equal protocols, however they are put."""
        return hashlib.sha256(json.dumps(dict(self.facts), sort_keys=True).encode()).hexdigest()
