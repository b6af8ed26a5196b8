"""Credentials in addresses: how they are told, and how they are hidden.

A URL can carry a user and a password (``https://user:password@host``) or a signature that stands for them
(``?X-Amz-Signature=…``, ``?sig=…``, ``?token=…``). Parameters are written into ``dvc.lock``, into compiled packages and
into MLflow, so none of them may hold such a URL (:class:`kineflow.storage.config.Params` refuses them all); and what is
printed or recorded goes without.
"""

from __future__ import annotations

import re

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
_SSH_USER = re.compile(r"(?P<scheme>\bssh://)[^/?#\s'\":@]+@")  # logs in with a key


def has_credentials(text: str) -> bool:
    """Whether an address in a text carries a user, a password or a signature; the user of ``ssh://`` is none."""
    text = _SSH_USER.sub(r"\g<scheme>", text)
    return mask_uri(text) != text


def mask_uri(uri: str) -> str:
    """``https://user:password@host/?sig=abc`` becomes ``https://***@host/?sig=***``; anything else stays as it is."""
    return _SIGNED.sub(rf"\g<name>{HIDDEN}", _USERINFO.sub(rf"\g<scheme>{HIDDEN}@", uri))
