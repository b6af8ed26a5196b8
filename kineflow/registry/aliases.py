"""What registering and promoting share: the aliases, the tags that a version bears, and how one is found.

``candidate``
    The version registered last (:mod:`kineflow.registry.registration`).
``champion``
    The version in use, moved by :func:`kineflow.registry.promotion.promote` when a gate holds.
``previous``
    The champion before it, to which :func:`kineflow.registry.promotion.rollback` returns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kineflow.storage.errors import KineflowError
from kineflow.tracking.store import unreachable

CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous"

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"

DATA_TAG = "data.version"
CLIPS_TAG = "data.clips"
METRICS_TAG = "evaluation.metrics"
PROTOCOL_TAG = "evaluation.protocol"
"""In words."""
PROTOCOL_DIGEST_TAG = "evaluation.protocol.sha256"
CLIP_SET_TAG = "data.clip_set"
VALIDATION_TAG = "data.validation"
"""What the checks of the clip set came to: ``green`` or ``accepted``."""
PROMOTED_TAG = "promoted_at"
OUTCOMES_TAG = "evaluation.outcomes.sha256"
SIZE_TAG = "weights.bytes"
LATENCY_TAG = "latency.example_ms"
POLICY_TAG = "kineflow.policy"
"""Of the registered model: what promoting any of its versions asks for."""
APPLIED_TAG = "promotion.policy"
"""Of a version: the policy by which it was promoted, and where that was read."""
MAX_MODEL_TAG_CHARS = 5000
"""Of a registered model's tag in MLflow's database."""
NOT_THERE = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")
"""MLflow's codes for what is missing."""


def check_name(name: str) -> None:
    """Check the name of a registered model.

    Raises:
        KineflowError: It is malformed.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise KineflowError(
            f"a registered model cannot be called {name!r}",
            remedy="use letters, digits, '.', '_' and '-', at most 100, a letter or digit first",
        )


def aliased(client: Any, name: str, alias: str) -> Any | None:
    """Give the version that bears an alias, or None: a missing alias and a missing model have different error codes."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in NOT_THERE:
            return None
        raise


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Turn a store's failure into an error a user can mend."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise unreachable(uri, error) from None
