"""The Kubernetes API as a launcher of training jobs sees it: which failures pass, which do not, and what they mean."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kineflow.storage.errors import KineflowError

GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
NAMESPACE = "KINEFLOW_NAMESPACE"

_PASSING = frozenset({0, 408, 429, 500, 502, 503, 504})  # 0: the client's word for a broken TLS connection
_REQUEST_SEC = (10, 60)  # to connect; between two bytes of the answer
_MOST_MESSAGE = 2000  # characters of the server's own words


class ApiUnavailableError(Exception):
    """The server does not answer now, or cannot; the same request may do later."""


class AlreadyThereError(Exception):
    """There is a job of that name, or the job was changed meanwhile."""


class TrainJobs:
    """The TrainJobs of one namespace. Every method raises :class:`ApiUnavailableError` for what passes by itself.

    Args:
        namespace: Empty for this pod's own.

    Raises:
        KineflowError: There is no way to a cluster from here.
    """

    def __init__(self, namespace: str = "") -> None:
        from kubeflow.common.utils import get_default_target_namespace
        from kubernetes import client

        self._configuration = _configuration()
        self._api = client.CustomObjectsApi(client.ApiClient(self._configuration))
        self.core = client.CoreV1Api(client.ApiClient(self._configuration))
        self.namespace = namespace or os.environ.get(NAMESPACE) or get_default_target_namespace().strip()

    def read(self, name: str) -> dict[str, Any] | None:
        """The job as the server holds it; None where there is none."""
        from kubernetes.client import ApiException

        with naming_api_failures(f"read the TrainJob {name}"):
            try:
                job: dict[str, Any] = self._api.get_namespaced_custom_object(
                    GROUP, VERSION, self.namespace, PLURAL, name, _request_timeout=_REQUEST_SEC
                )
            except ApiException as error:
                if error.status == 404:
                    return None
                raise
        return job

    def delete(self, name: str) -> bool:
        """Have the job deleted, with all its pods; whether there was one."""
        from kubernetes.client import ApiException

        with naming_api_failures(f"delete the TrainJob {name}"):
            try:
                self._api.delete_namespaced_custom_object(
                    GROUP, VERSION, self.namespace, PLURAL, name, _request_timeout=_REQUEST_SEC
                )
            except ApiException as error:
                if error.status == 404:
                    return False
                raise
        return True

    def create(self, runtime: str, trainer: Any, options: list[Any], secrets: Mapping[str, tuple[str, ...]]) -> None:
        """Create a job with Kubeflow's SDK.

        Args:
            runtime: Name of its (Cluster)TrainingRuntime.
            trainer: The SDK's ``CustomTrainerContainer``.
            options: Of the SDK.
            secrets: Keys by secret, which become variables of the training container.

        Raises:
            AlreadyThereError: There is one of that name.
            KineflowError: The server refuses it, or there is no such runtime.
        """
        from kubeflow.common.types import KubernetesBackendConfig
        from kubeflow.trainer import TrainerClient

        # It warns, at length, where the version of the control plane cannot be read, which nothing here depends on.
        logging.getLogger("kubeflow").setLevel(logging.ERROR)
        with naming_api_failures(f"create a TrainJob with the runtime {runtime}"):
            sdk = TrainerClient(
                KubernetesBackendConfig(namespace=self.namespace, client_configuration=self._configuration)
            )
            sdk.backend.custom_api = _with_secrets(self._configuration, secrets)
            sdk.train(runtime=runtime, trainer=trainer, options=options)


def conditions(job: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The conditions of a job that hold, by type (``Suspended``, ``Complete``, ``Failed``)."""
    stated = (job.get("status") or {}).get("conditions") or []
    return {condition["type"]: condition for condition in stated if condition.get("status") == "True"}


def read_json(response: Any, most_bytes: int) -> Any:
    """The body of an answer that the client was told not to take in; None where it is longer than ``most_bytes``."""
    body = response.read(most_bytes + 1)
    response.release_conn()
    return json.loads(body) if len(body) <= most_bytes else None


@contextmanager
def naming_api_failures(action: str) -> Iterator[None]:
    """Turn what the client and the SDK raise into the errors of this module, and ``KineflowError`` for a reader."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (ApiException, HTTPError, OSError, RuntimeError) as error:
        raise _named(_root(error), action) from None


def _named(error: BaseException, action: str) -> Exception:
    from kubernetes.client import ApiException

    if not isinstance(error, ApiException):
        return ApiUnavailableError(f"{type(error).__name__}: {error}"[:_MOST_MESSAGE])
    said = _message(error)
    if error.status in _PASSING:
        return ApiUnavailableError(f"{error.status} {said}")
    if error.status == 409:
        return AlreadyThereError(said)
    remedies = {
        401: "check the service account that the step runs with",
        403: "give the step's service account the rights named in the documentation of components/trainjob.py",
        404: "install Kubeflow Trainer with its runtimes, or name a runtime that there is",
        422: "correct the cluster section of the parameters",
    }
    return KineflowError(f"could not {action}: {error.status} {said}", remedy=remedies.get(error.status))


def _root(error: BaseException) -> BaseException:
    """What the SDK was told, beneath its own words."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _message(error: Any) -> str:
    try:
        text = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        text = error.reason
    return str(text)[:_MOST_MESSAGE]


def _configuration() -> Any:
    """How to reach the cluster: from inside as a pod does, else as ``kubectl`` does."""
    from kubernetes import client, config

    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        try:
            # The client has read the variable when it was imported, which may be long ago.
            config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=configuration)
        except config.ConfigException as error:
            raise KineflowError(
                f"no way to a Kubernetes cluster: {error}",
                remedy="run the step on the cluster, or name a kubeconfig in KUBECONFIG",
            ) from None
    configuration.retries = False  # told apart and repeated here, with pauses
    return configuration


def _with_secrets(configuration: Any, secrets: Mapping[str, tuple[str, ...]]) -> Any:
    """The API for custom objects that adds variables from secrets to the TrainJob that the SDK has made.

    The SDK's trainer takes plain values only, and variables of the training container may be set nowhere else in a
    TrainJob: its admission webhook refuses them in runtime patches.
    """
    from kubernetes import client

    class SecretsApi(client.CustomObjectsApi):  # type: ignore[misc]  # the client is untyped
        def create_namespaced_custom_object(self, *args: Any, **options: Any) -> Any:
            body = args[-1]
            body["spec"]["trainer"].setdefault("env", []).extend(
                {"name": key, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}
                for name, keys in sorted(secrets.items())
                for key in keys
            )
            return super().create_namespaced_custom_object(*args, _request_timeout=_REQUEST_SEC, **options)

    return SecretsApi(client.ApiClient(configuration))
