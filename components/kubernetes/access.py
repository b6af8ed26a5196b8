"""The way to a cluster: as the account of the pod that we run in, or as a user's kubeconfig says."""

from __future__ import annotations

import os
from typing import Any


class NoAccessError(Exception):
    """There is no such way from here, in the client's own words."""


def pod_account() -> Any:
    """The client's configuration for the account of the pod that this process runs in.

    Raises:
        NoAccessError: It runs in none.
    """
    from kubernetes import client, config

    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException as error:
        raise NoAccessError(str(error)) from None
    return configuration


def user_account(kubeconfig: str = "") -> tuple[Any, str]:
    """The client's configuration as a kubeconfig says, and the namespace that its context names, else an empty one.

    Args:
        kubeconfig: Its path; empty for ``KUBECONFIG`` or ``~/.kube/config``.

    Raises:
        NoAccessError: There is no such file, or it names no cluster.
        Exception: Whatever the client raises at a file that is no kubeconfig: OSError, ValueError, TypeError, KeyError,
            AttributeError or YAMLError.
    """
    from kubernetes import client, config

    configuration = client.Configuration()
    chosen = kubeconfig or os.environ.get("KUBECONFIG") or None  # the client read the variable when it was imported
    try:
        config.load_kube_config(chosen, client_configuration=configuration, persist_config=False)
        _, context = config.list_kube_config_contexts(chosen)
    except config.ConfigException as error:
        raise NoAccessError(str(error)) from None
    return configuration, str(context["context"].get("namespace", ""))
