"""What the Kubernetes client and Kubeflow's SDK raise, as errors that say whether asking again may help."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kineflow.storage.errors import KineflowError

_PASSING = frozenset({0, 408, 429, 500, 502, 503, 504})  # 0: the client's word for a broken TLS connection
_MOST_MESSAGE = 2000  # characters of the server's own words
_REMEDIES = {
    401: "check the service account that the step runs with",
    403: "give the step's service account the rights named in the documentation of components/launch/trainjob.py",
    404: "install Kubeflow Trainer with its runtimes, or name a runtime that there is",
    422: "correct the cluster section of the parameters",
}


class ApiUnavailableError(Exception):
    """The server does not answer now, or cannot; the same request may do later."""


class AlreadyThereError(Exception):
    """There is an object of that name, or it was changed meanwhile."""


@contextmanager
def translated_api_errors(action: str) -> Iterator[None]:
    """Turn what the client and the SDK raise into the errors of this module, and ``KineflowError`` for a reader."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (ApiException, HTTPError, OSError, RuntimeError) as error:
        raise _translated(_root(error), action) from None


def _translated(error: BaseException, action: str) -> Exception:
    from kubernetes.client import ApiException

    if not isinstance(error, ApiException):
        return ApiUnavailableError(f"{type(error).__name__}: {error}"[:_MOST_MESSAGE])
    message = message_of(error)
    if error.status in _PASSING:
        return ApiUnavailableError(f"{error.status} {message}")
    if error.status == 409:
        return AlreadyThereError(message)
    return KineflowError(f"could not {action}: {error.status} {message}", remedy=_REMEDIES.get(error.status))


def message_of(error: Any) -> str:
    """The server's own words of an ``ApiException``, or else the reason that came with its status."""
    try:
        text = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        text = error.reason
    return str(text)[:_MOST_MESSAGE]


def _root(error: BaseException) -> BaseException:
    """What the SDK was told, beneath its own words."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
