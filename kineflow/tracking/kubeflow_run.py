"""The runs that Kubeflow Pipelines' own MLflow plugin makes: where it is on, steps join them and make none beside.

The plugin (KFP 2.17, off by default) makes a run for the whole and one below it for each task. The pod of a task has
``KFP_MLFLOW_CONFIG``, a JSON object, and, where the plugin has ``injectUserEnvVars``, ``MLFLOW_RUN_ID`` and others of
MLflow's own variables.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass

from kineflow.storage.errors import KineflowError
from kineflow.storage.safe_json import parse_json

CONFIG = "KFP_MLFLOW_CONFIG"

_TASK_RUN = "MLFLOW_RUN_ID"
_KUBERNETES = "kubernetes"
_OWN_CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


@dataclass(frozen=True)
class KubeflowRun:
    """Where the plugin has put a pipeline run in MLflow.

    Attributes:
        uri: Of the tracking server.
        experiment_id: That both runs are in.
        parent_id: Of the run of the whole.
        task_id: Of this task's; empty where the plugin does not say.
        auth: How the server is asked: ``none``, ``kubernetes``, ``bearer`` or ``basic-auth``.
        workspace: Of the server; None where it has none.
    """

    uri: str
    experiment_id: str
    parent_id: str
    task_id: str = ""
    auth: str = "none"
    workspace: str | None = None


def kubeflow_run() -> KubeflowRun | None:
    """What the plugin says in the environment; None where it is off.

    Raises:
        KineflowError: It cannot be read.
    """
    text = os.environ.get(CONFIG, "")
    if not text:
        return None
    try:
        config = parse_json(text)
        workspace = str(config.get("workspace") or "")
        return KubeflowRun(
            str(config["endpoint"]),
            str(config["experimentId"]),
            str(config["parentRunId"]),
            os.environ.get(_TASK_RUN, ""),
            str(config.get("authType") or "none"),
            workspace if workspace or config.get("workspacesEnabled") else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise KineflowError(
            f"what Kubeflow's MLflow plugin says cannot be read: {type(error).__name__}",
            where=CONFIG,
            remedy="use the plugin of Kubeflow Pipelines 2.17, or have it turned off",
        ) from None


def use_its_store(environment: MutableMapping[str, str]) -> None:
    """Have MLflow's client ask the server of the plugin, as the plugin does, whatever was said of another.

    Raises:
        KineflowError: What the plugin says cannot be read.
    """
    run = kubeflow_run()
    if run is None:
        return
    environment["MLFLOW_TRACKING_URI"] = run.uri
    environment.pop("MLFLOW_REGISTRY_URI", None)
    if run.workspace is not None:
        environment["MLFLOW_WORKSPACE"] = run.workspace
    if run.auth == _KUBERNETES:
        environment["MLFLOW_TRACKING_AUTH"] = _KUBERNETES if run.workspace is None else f"{_KUBERNETES}-namespaced"
        for name in _OWN_CREDENTIALS:
            environment.pop(name, None)
