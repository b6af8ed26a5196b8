"""Text that leaves the process (tags, parameters, logs, error messages) without the credentials that are in it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from kineflow.storage.credentials import HIDDEN, mask_uri

__all__ = ["HIDDEN", "is_secret_name", "mask_uri", "redact"]

_SECRET_NAME = re.compile(r"(SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIAL|ACCESS_KEY|API_KEY|PRIVATE_KEY)", re.IGNORECASE)
_SHORTEST_SECRET = 6  # a shorter value ("true", "1") occurs in innocent text


def is_secret_name(name: str) -> bool:
    """Whether an environment variable of this name holds a secret, such as ``AWS_SECRET_ACCESS_KEY``."""
    return _SECRET_NAME.search(name) is not None


def redact(text: str, environ: Mapping[str, str] | None = None) -> str:
    """Hide users, passwords and signatures in URLs, and the values of environment variables named like a secret.

    Args:
        text: Anything that is about to be printed or stored.
        environ: Where secrets are looked up; the process environment when None.
    """
    for secret in _secrets(os.environ if environ is None else environ):
        text = text.replace(secret, HIDDEN)
    return mask_uri(text)


def _secrets(environ: Mapping[str, str]) -> list[str]:
    """Longest first, so that a secret inside another does not leave the rest of it behind."""
    values = {value for name, value in environ.items() if is_secret_name(name) and len(value) >= _SHORTEST_SECRET}
    return sorted(values, key=len, reverse=True)
