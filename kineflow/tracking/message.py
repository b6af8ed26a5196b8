"""The end of a run, told to people where they talk: a webhook takes ``{"text": "…"}``, as those of chats do."""

from __future__ import annotations

import json
import logging
import os
import urllib.error
import urllib.request
from http.client import HTTPException
from urllib.parse import urlsplit

from kineflow.storage.credentials import redact
from kineflow.tracking.closing import Closed

WEBHOOK = "KINEFLOW_WEBHOOK_SECRET"
"""The variable with the webhook's address, which is a secret itself."""

_PATIENCE_SEC = 10.0
_MOST_CHARS = 3000
_LOG = logging.getLogger(__name__)


def message_of(recipe: str, run_id: str, closed: Closed) -> str:
    """What people are told of a run: how it ended, its candidate, and what the gate says."""
    lines = [f"{recipe}, run {run_id}: {closed}"]
    if closed.registered:
        lines.append(f"{closed.registered} is the candidate; {closed.gate}")
    elif closed.status == "FINISHED":
        lines.append("nothing was registered")
    text = redact("\n".join(lines))
    return text if len(text) <= _MOST_CHARS else f"{text[: _MOST_CHARS - 1]}…"


def tell(text: str) -> bool:
    """Send a message to the webhook of the environment; a run does not fail because nobody listens.

    Returns:
        Whether it was taken; False where there is no webhook, too.
    """
    if not (address := os.environ.get(WEBHOOK, "").strip()):
        return False
    body = json.dumps({"text": text}).encode()
    try:
        if urlsplit(address).scheme not in ("http", "https"):
            _LOG.warning("no message was sent: %s holds no http(s) address", WEBHOOK)
            return False
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=_PATIENCE_SEC):
            return True
    except urllib.error.HTTPError as error:
        _LOG.warning("no message was sent: the webhook answers %d", error.code)
    except (OSError, ValueError, HTTPException) as error:  # its text may hold the address
        _LOG.warning("no message was sent: %s", type(error).__name__)
    return False
