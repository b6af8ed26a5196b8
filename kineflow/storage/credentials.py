"""Credentials in addresses and in the environment: how they are told, and how they are hidden.

A URL can carry a user and a password (``https://user:password@host``) or a signature that stands for them
(``?X-Amz-Signature=…``, ``?sig=…``, ``?token=…``). Parameters are written into ``dvc.lock``, into compiled packages and
into MLflow, so none of them may hold such a URL (:class:`kineflow.storage.config.Params` refuses them all); and what is
printed or recorded goes without.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

HIDDEN = "***"

WHERE_THEY_BELONG = (
    "leave it out, and keep it in the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or "
    "~/.aws/credentials) for S3, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD for MLflow, and on a cluster in "
    "a Kubernetes secret, which is named under secrets; download what only a signed address gives, and name the file"
)

_USERINFO = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^/?#\s'\"]*@")
_SIGNED = re.compile(
    r"(?P<name>[?&;#](?:[\w.-]*(?:signature|credential|token|secret|passw(?:or)?d|api[-_]?key|access[-_]?key(?:id)?)"
    r"|sig|pwd|key|auth|authorization|jwt)=)[^&;#\s'\"]+",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(r"(SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIAL|ACCESS_KEY|API_KEY|PRIVATE_KEY)", re.IGNORECASE)
_SHORTEST_SECRET = 6  # a shorter value ("true", "1") occurs in innocent text
_SSH_USER = re.compile(r"(?P<scheme>\bssh://)[^/?#\s'\":@]+@")  # logs in with a key


def has_credentials(text: str) -> bool:
    """Whether a text carries an address with a user, a password or a signature; the user of ``ssh://`` is none.

    What looks like a signature counts without an address too (``;key=…``): better refused than written down.
    """
    text = _SSH_USER.sub(r"\g<scheme>", text)
    return mask_uri(text) != text


def mask_uri(uri: str) -> str:
    """``https://user:password@host/?sig=abc`` becomes ``https://***@host/?sig=***``; anything else stays as it is."""
    return _SIGNED.sub(rf"\g<name>{HIDDEN}", _USERINFO.sub(rf"\g<scheme>{HIDDEN}@", uri))


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
