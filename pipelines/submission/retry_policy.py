"""Whether a server lets failed steps be tried again, which stands in the settings of Argo's controller beside it.

They are read with the user's kubeconfig, where there is one that may; nothing depends on it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

from components.kubernetes.access import NoAccessError, user_account
from kineflow.storage.safe_json import parse_json
from pipelines.submission.pod_logs import DEFAULT_NAMESPACE

SETTINGS = "workflow-controller-configmap"

_NOT_AFTER_FAILURES = ("OnError", "OnTransientError")  # an "error" is one of Kubernetes' own; a step that fails is none
_TIMEOUT_SEC = (3, 5)
_PATIENCE_SEC = 8.0
_MOST_BYTES = 1 << 20


def retry_notices(namespace: str = "") -> tuple[str, ...]:
    """What is to be said of retries; empty where they hold, or where the settings cannot be seen in some seconds.

    Args:
        namespace: Where the server may be, beside the one that the kubeconfig's context names, and ``kubeflow``.
    """
    notices: list[str] = []
    # A kubeconfig may name a program that logs in, and it may wait for a person.
    looking = threading.Thread(target=lambda: notices.extend(_notices(namespace)), name="retries", daemon=True)
    looking.start()
    looking.join(_PATIENCE_SEC)
    return tuple(notices)


def _notices(namespace: str) -> tuple[str, ...]:
    import urllib3
    from kubernetes.client import ApiException

    try:
        with _silent_root_log():
            configuration, own = user_account()
    except (NoAccessError, OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        return ()
    configuration.retries = False
    for place in dict.fromkeys(filter(None, (namespace, own, DEFAULT_NAMESPACE))):
        try:
            policy = _policy_in(_settings(configuration, place))
        except ApiException:  # none there, or no right to see it
            continue
        except (urllib3.exceptions.HTTPError, OSError, ValueError, RecursionError, yaml.YAMLError):
            return ()
        if policy not in _NOT_AFTER_FAILURES:
            return ()
        return (
            f"retries will do nothing: Argo, in the namespace {place} of your kubeconfig's cluster, has the "
            f"retryPolicy {policy}, so that a step which fails is not tried again; docs/cluster.md, section 1, "
            "says what to ask for",
        )
    return ()


@contextmanager
def _silent_root_log() -> Iterator[None]:
    """Keep back what the client says of a program that does not log in: nobody has asked for it here."""
    root, nothing = logging.getLogger(), logging.Filter("nothing")
    root.addFilter(nothing)
    try:
        yield
    finally:
        root.removeFilter(nothing)


def _settings(configuration: Any, namespace: str) -> Mapping[str, Any]:
    from kubernetes import client

    answer = client.CoreV1Api(client.ApiClient(configuration)).read_namespaced_config_map(
        SETTINGS, namespace, _preload_content=False, _request_timeout=_TIMEOUT_SEC
    )
    body = answer.read(_MOST_BYTES)
    answer.release_conn()
    found = parse_json(body)
    data = found.get("data") if isinstance(found, dict) else None
    return data if isinstance(data, dict) else {}


def _policy_in(settings: Mapping[str, Any]) -> str:
    """The policy that is merged into every step; empty where there is none."""
    found: Any = yaml.safe_load(str(settings.get("workflowDefaults") or ""))
    for key in ("spec", "templateDefaults", "retryStrategy", "retryPolicy"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""
