"""What a request that went wrong means: a refusal in the server's own words, or no answer that can be trusted."""

from __future__ import annotations

from typing import Any

from kineflow.storage.errors import OUT_OF_SIGHT, KineflowError
from kineflow.storage.safe_json import parse_json
from pipelines.submission.access import TOKEN_PATH_VARIABLE, TOKEN_VARIABLE, Token

UNAUTHORISED = 401
NOT_FOUND = 404
CONFLICT = 409

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_MOST_MESSAGE = 2000


class RefusedError(KineflowError):
    """The server understood, and said no.

    Args:
        status: HTTP status of its answer.
        message: In its own words.
        where: The host.
    """

    def __init__(self, status: int, message: str, where: str) -> None:
        number = f" ({status})" if status else ""
        meaning = _MEANINGS.get(status, "request refused")
        super().__init__(f"{meaning}{number}: {message}", where=where, remedy=_REMEDIES.get(status))
        self.status = status


class CutOffError(KineflowError):
    """No answer, or none that can be read: whether the request took effect is unknown.

    Args:
        reason: What went wrong.
        where: The host.
        wait_sec: What the server asked to wait for, if it did.
    """

    def __init__(self, reason: str, where: str, wait_sec: float = 0.0) -> None:
        super().__init__(
            reason,
            where=where,
            remedy="see whether the host is right and up, then run the same command again",
            exit_code=OUT_OF_SIGHT,
        )
        self.wait_sec = wait_sec


def problem_of(error: Any, host: str, token: Token) -> RefusedError | CutOffError:
    """What an ``ApiException`` of KFP's client means; its own text holds headers, and is shown to nobody.

    Args:
        error: The exception.
        host: Where from.
        token: Hidden in what the server says.
    """
    status = int(error.status or 0)
    message = token.hidden_in(_message_of(error.body) or str(error.reason or "no reason given"))
    if status == 0:  # so KFP's client reports whatever goes wrong with TLS
        last = message.splitlines()[-1]
        if "CERTIFICATE_VERIFY_FAILED" in message:
            return RefusedError(status, last, host)
        return CutOffError(f"no answer from the server ({last})", host)
    if status in _PASSING:
        wait = (error.headers or {}).get("Retry-After", "")
        return CutOffError(f"the server failed ({status}): {message}", host, float(wait) if wait.isdecimal() else 0.0)
    if 300 <= status < 400:
        return RefusedError(UNAUTHORISED, "the server sends us to another page, as for a login", host)
    return RefusedError(status, message, host)


def _message_of(body: Any) -> str:
    """The readable part of an error's body: grpc-gateway's ``message``, the upload server's ``error_message``."""
    text = body if isinstance(body, str) else ""
    try:
        content = parse_json(text)
    except ValueError:
        content = None
    if isinstance(content, dict):
        named = (content.get(key) for key in ("message", "error_message", "error_details", "error"))
        text = next((value for value in named if isinstance(value, str) and value), "")
    elif text.lstrip().startswith("<"):
        text = ""  # a proxy's page
    return text.strip()[:_MOST_MESSAGE]


def reason_of(error: Exception) -> str:
    """What urllib3 says, without the pool's address in front of it."""
    reason = getattr(error, "reason", None) or error
    text = str(reason).rsplit(": ", maxsplit=1)[-1] if isinstance(reason, Exception) else str(reason)
    return f"{type(reason).__name__}: {text}"[:_MOST_MESSAGE]


_MEANINGS = {
    0: "the server's certificate is not trusted",
    400: "the request is not valid",
    401: "not logged in",
    403: "not allowed",
    404: "not there",
    409: "is there already",
}
_REMEDIES = {
    0: "give the file of its authority with --ca-file",
    401: f"give a valid token with --token-file, {TOKEN_PATH_VARIABLE} or {TOKEN_VARIABLE}; "
    "see too that --host is the API's address",
    403: "ask for the right in this namespace, or name another with --namespace",
    404: "check the id, the --namespace and the --host",
}
